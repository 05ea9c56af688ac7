"""Running with fake verbs: skipping, failing, adopting, recovering."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from compress.core.artifact import MANIFEST, read_manifest, verify
from compress.core.errors import FaultsError, InputError, JobError
from compress.core.reporter import Reporter
from compress.pipeline.recipe import Recipe, parse_recipe
from compress.pipeline.run import plan_on_disk, run
from compress.pipeline.store import Store
from tests.fakes import Cook, Grow

pytestmark = pytest.mark.usefixtures("fake_verbs")

TEXT = """\
steps:
  corpus: {grow: {text: leek}}
  dish: {cook: {corpus: $corpus}}
  scale: {weigh: {models: [$dish]}}
"""


class Listening(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def recipe(*overrides: str, text: str = TEXT) -> Recipe:
    return parse_recipe(text, Path("r.yaml"), overrides)


def snapshot(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ran(out: Path, given: Recipe) -> list[str]:
    listening = Listening()
    run(given, out, listening)
    return [note for note in listening.notes if not note.endswith("done before")]


def test_every_step_becomes_a_whole_artifact(tmp_path: Path) -> None:
    """What a step read, was told and measured is in its manifest."""
    store = run(recipe("seed=5"), tmp_path / "runs" / "soup")
    manifest = verify(store.folder("dish"), "Model")
    corpus = verify(store.folder("corpus"), "Corpus")
    assert manifest["inputs"] == {"corpus": corpus["key"]}
    assert (manifest["verb"], manifest["version"], manifest["step"], manifest["seed"]) == ("cook", 3, "dish", 5)
    assert corpus["options"]["text"] == "leek"
    assert (corpus["about"], corpus["measured"]) == ({"text": "leek"}, {"length": 4})
    assert set(corpus["files"]) == {"text.txt", "deep/more.txt"}
    assert (store.folder("dish") / "dish.txt").read_text() == "LEEK 5"


def test_finished_steps_are_skipped_and_a_change_runs_what_follows(tmp_path: Path) -> None:
    """The second run of a recipe must do nothing, the changed one only what the change reaches."""
    out = tmp_path / "soup"
    assert ran(out, recipe()) == ["corpus: grow", "dish: cook", "scale: weigh"]
    before = snapshot(out)
    assert ran(out, recipe()) == []
    assert snapshot(out) == before
    assert ran(out, recipe("steps.corpus.grow.threads=3")) == []
    assert ran(out, recipe("steps.dish.cook.seed=3")) == ["dish: cook", "scale: weigh"]
    assert ran(out, recipe("steps.dish.cook.seed=3")) == []


def test_until_stops_after_its_step_and_must_exist(tmp_path: Path) -> None:
    """A misspelt --until would run everything."""
    run(recipe(), tmp_path / "soup", until="dish")
    assert not (tmp_path / "soup" / "scale").exists()
    with pytest.raises(InputError, match="no step 'dihs'; did you mean \"dish\""):
        run(recipe(), tmp_path / "soup", until="dihs")


def test_preflight_faults_come_before_anything_is_spent(tmp_path: Path) -> None:
    """A missing file seen after an hour of training is an hour lost; all faults come at once, in file:line."""
    text = TEXT + "  more: {grow: {fault: there is no file b}}\n"
    with pytest.raises(FaultsError) as caught:
        run(recipe("steps.corpus.grow.fault=there is no file a", text=text), tmp_path / "soup")
    assert str(caught.value).split("\n") == [
        "r.yaml:2: steps.corpus.grow.text: there is no file a",
        "r.yaml:5: steps.more.grow.text: there is no file b",
    ]
    assert not (tmp_path / "soup").exists()


def test_a_failed_step_leaves_the_former_artifact_untouched(tmp_path: Path) -> None:
    """A failing retry must not cost yesterday's result; its work folder stays so that it can go on."""
    out = tmp_path / "soup"
    run(recipe(), out)
    before = snapshot(out)
    with pytest.raises(JobError) as caught:
        run(recipe("steps.corpus.grow.text=peas", "steps.corpus.grow.fails=the loss is NaN"), out)
    assert str(caught.value) == "r.yaml:2: steps.corpus.grow: the loss is NaN"
    after = snapshot(out)
    assert {name: after[name] for name in before} == before
    assert [name for name in after if name not in before] == [
        name for name in after if name.startswith(".work/corpus-")
    ]
    assert not (out / ".partial-corpus").exists()
    run(recipe("steps.corpus.grow.text=peas"), out)
    assert not list(out.glob(".work/*"))
    assert (out / "corpus" / "text.txt").read_text().startswith("peas")


def test_a_full_disk_is_a_failed_job_with_the_steps_place(tmp_path: Path) -> None:
    """An OSError traceback hides which step failed and what is left."""
    with pytest.raises(
        JobError, match=r"r.yaml:2: steps.corpus.grow: .*No space left on device.*holds what was finished"
    ):
        run(recipe("steps.corpus.grow.fails=disk"), tmp_path / "soup")


def test_an_input_error_inside_a_step_gets_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`the map is past the depth` alone does not say in which of three distillations."""

    def refuse(self: Cook, context: object) -> None:
        raise InputError("the map is past the depth")

    monkeypatch.setattr(Cook, "run", refuse)
    with pytest.raises(InputError, match=r"^r.yaml:3: steps.dish.cook: the map is past the depth$"):
        run(recipe(), tmp_path / "soup")


def test_an_interrupt_abandons_only_the_step_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C keeps the finished steps and the checkpoints, and leaves no half artifact."""

    def interrupt(self: Cook, context: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "soup"
    monkeypatch.setattr(Cook, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(recipe(), out)
    assert sorted(path.name for path in out.iterdir()) == [".lock", ".work", "corpus"]
    assert list((out / ".work").glob("dish-*"))
    monkeypatch.undo()


@pytest.mark.parametrize("step", ["corpus", "scale"])
def test_a_damaged_artifact_is_never_used_and_never_skipped(tmp_path: Path, step: str) -> None:
    """A flipped bit in a finished step would go on into every later result."""
    out = tmp_path / "soup"
    run(recipe(), out)
    file = next(path for path in (out / step).iterdir() if path.suffix == ".txt")
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(InputError, match="does not match its recorded SHA-256"):
        run(recipe(), out)


def test_a_damaged_manifest_runs_its_step_again(tmp_path: Path) -> None:
    """Without a readable key nothing is known of the folder; the step is run, not skipped."""
    out = tmp_path / "soup"
    run(recipe(), out)
    (out / "scale" / MANIFEST).write_text("{")
    assert ran(out, recipe()) == ["scale: weigh"]
    verify(out / "scale")


def test_an_artifact_of_a_sibling_run_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three recipes over one teacher must train it once."""
    run(recipe(), tmp_path / "one")
    monkeypatch.setattr(Grow, "run", lambda self, context: pytest.fail("ran again"))
    notes = ran(tmp_path / "two", recipe("steps.dish.cook.seed=4"))
    assert notes[0] == f"corpus: taken from {tmp_path / 'one' / 'corpus'}, which has the same key"
    assert notes[1:] == ["dish: cook", "scale: weigh"]
    manifest = verify(tmp_path / "two" / "corpus")
    assert manifest["key"] == read_manifest(tmp_path / "one" / "corpus")["key"]
    assert manifest["about"] == {"text": "leek"}


def test_the_same_step_under_two_names_is_run_once(tmp_path: Path) -> None:
    """Variants of a recipe that begin with the same general stage must not pay for it again and again."""
    twice = TEXT.replace("  scale:", "  again: {grow: {text: leek}}\n  scale:")
    notes = ran(tmp_path / "soup", recipe(text=twice))
    taken = f"again: taken from {tmp_path / 'soup' / 'corpus'}, which has the same key"
    assert notes == ["corpus: grow", "dish: cook", taken, "scale: weigh"]
    assert verify(tmp_path / "soup" / "again")["about"] == {"text": "leek"}


def test_what_is_taken_says_what_it_comes_from(tmp_path: Path) -> None:
    """Prevents a step that is called outdated when something changes that it never read."""
    text = """\
steps:
  one: {grow: {text: leek}}
  two: {grow: {text: leek}}
  first: {cook: {corpus: $one}}
  second: {cook: {corpus: $two}}
"""
    run(recipe(text=text), tmp_path / "soup")
    assert list(read_manifest(tmp_path / "soup" / "second")["inputs"]) == ["two"]
    assert read_manifest(tmp_path / "soup" / "second")["step"] == "second"


def test_what_is_measured_twice_is_measured_twice(tmp_path: Path) -> None:
    """Prevents a repeated benchmark that is a copy of the first, and one that shows another step's names."""
    text = TEXT + "  other: {cook: {corpus: $corpus}}\n  again: {weigh: {models: [$dish]}}\n"
    text += "  named: {weigh: {models: [$other]}}\n"
    notes = ran(tmp_path / "soup", recipe(text=text))
    assert notes[-3:] == [
        f"other: taken from {tmp_path / 'soup' / 'dish'}, which has the same key", "again: weigh", "named: weigh"
    ]  # fmt: skip
    keys = {step.name: step.key for step in plan_on_disk(recipe(text=text))}
    assert keys["scale"] == keys["again"] != keys["named"]


def test_of_several_copies_a_whole_one_is_taken(tmp_path: Path) -> None:
    """Prevents a training that is paid for again because the first folder that has it is damaged."""
    for name in ("one", "two"):
        run(recipe(), tmp_path / name)
    for name in ("text.txt", "deep/more.txt"):
        (tmp_path / "two" / "corpus" / name).unlink()
    (tmp_path / "two" / "corpus" / "text.txt").write_text("leek 13")
    (tmp_path / "two" / "corpus" / "deep" / "more.txt").write_text("more")
    (tmp_path / "one" / "corpus" / "text.txt").write_text("pool 13")
    notes = ran(tmp_path / "three", recipe())
    assert notes[0] == f"corpus: taken from {tmp_path / 'two' / 'corpus'}, which has the same key"


def test_a_damaged_sibling_is_not_taken(tmp_path: Path) -> None:
    """A stranger's broken folder must neither spoil nor stop this run."""
    run(recipe(), tmp_path / "one")
    (tmp_path / "one" / "corpus" / "text.txt").write_text("pool 13")
    listening = Listening()
    run(recipe(), tmp_path / "two", listening)
    assert "is damaged, so it is not taken" in listening.warnings[0]
    assert (tmp_path / "two" / "corpus" / "text.txt").read_text() == "leek 13"


def test_a_crash_between_the_renames_of_a_finished_step(tmp_path: Path) -> None:
    """The former artifact lies aside under a hidden name; the next run brings it back instead of working again."""
    out = tmp_path / "soup"
    run(recipe(), out)
    (out / "dish").rename(out / ".old-dish")
    assert ran(out, recipe()) == []
    verify(out / "dish")


def test_looking_at_the_state_changes_nothing(tmp_path: Path) -> None:
    """`compress plan` beside a running step must not move its folders."""
    out = tmp_path / "soup"
    store = run(recipe(), out)
    (out / "dish").rename(out / ".old-dish")
    before = snapshot(out)
    states = [store.state(planned.name, planned.key) for planned in plan_on_disk(recipe())]
    assert states == ["done", "new", "done"]
    assert store.state("corpus", "another key") == "stale"
    assert snapshot(out) == before


def test_two_runs_in_one_folder_are_kept_apart(tmp_path: Path) -> None:
    """Two processes writing one artifact would mix their files."""
    store = Store(tmp_path / "soup")
    with store.lock(), pytest.raises(JobError, match="another run works in this folder"):
        run(recipe(), tmp_path / "soup")
    run(recipe(), tmp_path / "soup")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A file where the folder should be is an input error with a way out."""
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "soup"):
        with pytest.raises(InputError, match=r"cannot be written .*--out"):
            run(recipe(), out)
    assert (tmp_path / "file").read_text() == "mine"


def test_work_of_another_key_is_another_folder(tmp_path: Path) -> None:
    """A checkpoint of other options must never be resumed."""
    store = Store(tmp_path)
    assert store.work("a", "1" * 64) != store.work("a", "2" * 64)
    for name, key in (("a", "1" * 64), ("a", "2" * 64), ("a-b", "1" * 64)):
        store.work(name, key).mkdir(parents=True)
    store.finish("a", "1" * 64)
    assert [path.name for path in (tmp_path / ".work").iterdir()] == [store.work("a-b", "1" * 64).name]


def test_a_foreign_manifest_nearby_does_no_harm(tmp_path: Path) -> None:
    """Many programs write a manifest.json; one beside the run must not stop it."""
    for name, text in (("app", '{"key": 3, "files": {}}'), ("list", "[]"), ("bad", "{")):
        (tmp_path / "browser" / name).mkdir(parents=True)
        (tmp_path / "browser" / name / MANIFEST).write_text(text)
    assert len(ran(tmp_path / "soup", recipe())) == 3
    assert json.loads((tmp_path / "browser" / "app" / MANIFEST).read_text())["key"] == 3
