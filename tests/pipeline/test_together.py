"""Several processes in one recipe: the leader writes, the others wait, help with what trains, and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from compress.core.artifact import read_manifest
from compress.core.errors import FaultsError, JobError
from compress.core.options import CorpusRef
from compress.core.processes import Crew, Place, this_process
from compress.pipeline import run as pipeline
from compress.pipeline.recipe import Recipe, parse_recipe
from compress.steps.base import STEPS, Context, Step
from tests.fakes import VERBS
from tests.pipeline.test_run import Listening, snapshot

TEXT = """\
steps:
  corpus: {grow: {text: leek}}
  team: {drill: {corpus: $corpus}}
  dish: {cook: {corpus: $corpus, base: $team}}
"""


class Drill(Step):
    """A step that every process runs."""

    kind: ClassVar[str] = "Model"
    together: ClassVar[bool] = True
    registered_name: ClassVar[str] = "drill"
    ran: ClassVar[list[tuple[bool, Path, Path]]] = []

    corpus: CorpusRef
    fails: str = ""

    def run(self, context: Context) -> None:
        self.ran.append((context.leads, context.out, context.work))
        assert (context.folder(self.corpus) / "text.txt").read_text()
        if self.fails:
            raise JobError(self.fails)
        (context.out / "dish.txt").write_text("drilled")


class Heard(Crew):
    """A crew of two in one process: what the leader says is kept, what a helper hears is given."""

    def __init__(self, rank: int, words: list[float]) -> None:
        super().__init__(Place(rank, 2, rank))
        self.words = words
        self.left = False

    def told(self, value: float) -> float:
        if self.leads:
            self.words.append(value)
            return value
        return self.words.pop(0)

    def leave(self) -> None:
        self.left = True


@pytest.fixture(autouse=True)
def drill(fake_verbs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb `drill`, which nobody has run yet."""
    monkeypatch.setattr(STEPS, "_methods", {**VERBS, "drill": Drill})
    monkeypatch.setattr(Drill, "ran", [])


def recipe(*overrides: str) -> Recipe:
    """The recipe of this file."""
    return parse_recipe(TEXT, Path("r.yaml"), overrides)


def play(crew: Heard, out: Path, monkeypatch: pytest.MonkeyPatch, given: Recipe, said: Listening) -> None:
    """One process's run."""
    monkeypatch.setattr(pipeline, "_crew", lambda: crew)
    pipeline.run(given, out, said)


def test_the_leader_writes_and_a_helper_only_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that write one folder: the slower one's half-written files stand where the whole ones were."""
    out, said = tmp_path / "runs" / "r", Listening()
    leader = Heard(0, [])
    play(leader, out, monkeypatch, recipe(), said)
    assert leader.words == [False, True, False] and leader.left
    stored = snapshot(out)
    helper = Heard(1, list(leader.words))
    (out / "dish" / "manifest.json").rename(out / "dish" / "kept")  # what a helper does not read it does not touch
    monkeypatch.setattr(pipeline.Store, "lock", pytest.fail)
    play(helper, out, monkeypatch, recipe(), silent := Listening())
    (out / "dish" / "kept").rename(out / "dish" / "manifest.json")
    assert helper.words == [] and helper.left and silent.notes == []
    assert snapshot(out) == stored
    (led, place, work), (helped, other, same) = Drill.ran
    assert (led, helped) == (True, False) and place != other and work == same
    assert not other.exists()
    assert read_manifest(out / "team")["kind"] == "Model"


def test_what_the_leader_does_alone_sees_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training, or the child of a measurement, that takes itself for one of two would wait for the other."""
    worlds = []
    for verb in (VERBS["grow"], Drill):
        real = verb.run

        def looking(self: Step, context: Context, real: Callable[..., None] = real) -> None:
            worlds.append(this_process().world)
            real(self, context)

        monkeypatch.setattr(verb, "run", looking)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    play(Heard(0, []), tmp_path / "runs" / "r", monkeypatch, recipe(), Listening())
    assert worlds == [1, 2] and this_process().world == 2


def test_what_is_done_needs_no_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that trains alone, since the leader found the step done, waits for ever."""
    out = tmp_path / "runs" / "r"
    play(Heard(0, []), out, monkeypatch, recipe(), Listening())
    again = Heard(0, [])
    play(again, out, monkeypatch, recipe(), Listening())
    assert again.words == [False, False, False]
    adopted = Heard(0, [])
    play(adopted, tmp_path / "runs" / "other", monkeypatch, recipe(), Listening())
    assert adopted.words == [False, False, False]
    assert len(Drill.ran) == 1


def test_until_ends_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that waits for a step that the leader never reaches."""
    monkeypatch.setattr(pipeline, "_crew", lambda: leader)
    leader = Heard(0, [])
    pipeline.run(recipe(), tmp_path / "runs" / "r", until="team")
    helper = Heard(1, list(leader.words))
    monkeypatch.setattr(pipeline, "_crew", lambda: helper)
    pipeline.run(recipe(), tmp_path / "runs" / "r", until="team")
    assert leader.words == [False, True] and helper.words == []


def test_an_error_in_a_helper_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of one process that does not say in which step."""
    out = tmp_path / "runs" / "r"
    play(Heard(0, []), out, monkeypatch, recipe(), Listening())
    given = recipe("steps.team.drill.fails=no room")
    with pytest.raises((JobError, FaultsError), match=r"steps\.team\.drill: no room"):
        play(Heard(1, [False, True, False]), out, monkeypatch, given, Listening())
