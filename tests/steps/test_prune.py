"""prune, as a recipe runs it, on tiny models with their corpora."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification

from compress.anatomy.base import structure_of
from compress.core.artifact import ArtifactWriter
from compress.core.errors import FaultsError, InputError
from compress.core.options import faults_of
from compress.corpora.corpus import write_splits
from compress.importance.magnitude import Magnitude
from compress.pipeline.recipe import parse_recipe
from compress.pipeline.run import check, run
from compress.prune.api import prune_model
from compress.prune.heads import Heads
from compress.prune.latency import Timing
from compress.prune.target import Target
from compress.runtime.student import Student
from compress.steps.base import STEPS, Context
from compress.steps.compare import Opened
from compress.steps.forms import open_float
from compress.steps.timing import BenchTimer
from tests.prune import words
from tests.quantize.forms import Ears, corpus_of, model_of, named, rows_of, run_step, student_of, tokenizer_of

PAIRS = [("bert", "classify"), ("distilbert", "tag"), ("bert", "embed")]
MORE = [("roberta", "regress"), ("bert", "mask"), ("bert", "answer"), ("roberta", "multilabel"), ("mpnet", "classify"),
        ("albert", "pair"), ("deberta-v2", "classify"), ("electra", "classify")]  # fmt: skip
HALF = [{"heads": {"ratio": 0.5}}, {"ffn": {"ratio": 0.5}}]


def step(**options: Any) -> Any:
    """A step over `$model` and `$corpus`."""
    return STEPS.get("prune").model_validate({"model": "$model", "corpus": "$corpus", "samples": 16, **options})


def made(folder: Path, family: str, task: str, **options: Any) -> tuple[Path, dict[str, Any], Ears]:
    """The step's artifact, its manifest, and what was said."""
    ears = Ears()
    inputs = {"model": student_of(folder / "model", family, task), "corpus": corpus_of(folder / "corpus", task)}
    out = run_step(step(**options), folder / "out", ears, **inputs)
    return out, json.loads((out / "manifest.json").read_text()), ears


@pytest.mark.parametrize(("family", "task"), [*PAIRS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)])
def test_a_pruned_model_is_a_student(tmp_path: Path, family: str, task: str) -> None:
    """A pruned folder that an app cannot open, or whose manifest says other numbers than its weights."""
    out, manifest, ears = made(tmp_path, family, task, what=HALF, tune=True)
    student = Student.load(out, engine="torch")
    student.verify()
    facts, counts = manifest["about"]["pruned"], manifest["measured"]["parameters"]
    assert facts["heads+ffn"]["neurons"]["after"] == [32] and facts["heads+ffn"]["heads"]["after"] == [2]
    assert counts["after"]["total"] == facts["parameters"]["after"] < counts["before"]["total"]
    assert manifest["about"]["parameters"] == counts["after"]
    assert facts["heads+ffn"]["proof"]["difference"]["float64"] < 1e-10
    assert set(manifest["measured"]["before"]) == {"dev"} and "retained" in manifest["measured"]
    assert manifest["measured"]["size"]["after"] < manifest["measured"]["size"]["before"]
    assert not ears.warnings and manifest["about"]["trained_head"]
    assert manifest["about"]["left"] == "2 of 4 heads, 32 of 64 neurons"


def test_two_words_for_tuned_masks_are_one_key() -> None:
    """`true` written out as `masks`, which would time, prune and train everything below once more."""
    true, masks, outputs = (step(what=HALF, tune=tune).model_dump() for tune in (True, "masks", "outputs"))
    assert true == masks != outputs


def test_a_stock_shape_opens_without_us(tmp_path: Path) -> None:
    """A uniform cut that only this library can open although the stock class could."""
    out, manifest, _ = made(tmp_path, "bert", "classify", what=[{"ffn": {"ratio": 0.5}}], spread="uniform")
    assert json.loads((out / "config.json").read_text())["model_type"] == "bert"
    assert manifest["about"]["architecture"]["ffn"] == 32
    assert AutoModelForSequenceClassification.from_pretrained(out).config.intermediate_size == 32


def test_the_vocabulary_and_what_it_does_to_dev(tmp_path: Path) -> None:
    """A cut vocabulary whose unknown words nobody is told of, or a folder with the tokenizer that it had before."""
    folder = tmp_path / "body"
    tokenizer = words.tokenizer("bert", folder)
    tokenizer.save_pretrained(folder)
    words.model("bert", len(tokenizer), AutoModelForSequenceClassification).save_pretrained(folder)
    labelled = [{"text": row[0], "label": number % 2} for number, row in enumerate(words.texts(1, 12))]
    unseen = {"text": " ".join(words.words(99, 12)), "label": 0}
    writer = ArtifactWriter(tmp_path / "corpus")
    counted = write_splits(writer.open(), {"train": labelled, "dev": [*labelled, unseen]})
    about = {"task": named("classify"), "labels": ["LABEL_0", "LABEL_1"], "rows": counted, "slices": False}
    corpus = writer.commit({"kind": "Corpus", "key": "k", "about": about})
    prune = STEPS.get("prune").model_validate({"model": "$model", "corpus": "$corpus", "what": ["vocab"]})
    out = run_step(prune, tmp_path / "out", Ears(), model=folder, corpus=corpus)
    manifest = json.loads((out / "manifest.json").read_text())
    told = manifest["measured"]["coverage"]
    assert told["texts"] == 13 and 0.5 < told["covered_texts"] < 1 and told["resplit_share"] > 0
    rows = manifest["about"]["pruned"]["vocab"]["rows"]
    assert rows[1] < rows[0] == len(tokenizer)
    assert manifest["about"]["architecture"]["vocabulary"] == rows[1]
    assert Student.load(out, engine="torch").verify().difference < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_recipe_prunes_decoders_with_a_head_for_classes(family: str, tmp_path: Path) -> None:
    """A ValueError of transformers where a folder names its padding in the tokenizer and not in the config."""
    folder = tmp_path / "body"
    tokenizer = words.tokenizer(family, folder)
    model = words.model(family, len(tokenizer), AutoModelForSequenceClassification)
    model.config.pad_token_id = None
    model.config.id2label, model.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    corpus = corpus_of(tmp_path / "corpus", "classify")
    out = run_step(step(what=[*HALF, "vocab"]), tmp_path / "out", Ears(), model=folder, corpus=corpus)
    assert json.loads((out / "config.json").read_text())["pad_token_id"] == tokenizer.pad_token_id
    Student.load(out, engine="torch").verify()
    if family == "t5":  # a traceback of torch.export
        export = STEPS.get("export").model_validate({"model": "$model", "corpus": "$corpus", "format": "onnx"})
        with pytest.raises(InputError, match="a t5 has an encoder and a decoder"):
            run_step(export, tmp_path / "onnx", Ears(), model=out, corpus=corpus)


def test_a_body_without_a_head_is_pruned_by_what_needs_none(tmp_path: Path) -> None:
    """A pretrained body that must be fine-tuned before it can be made smaller, or that is scored by a random head."""
    folder = tmp_path / "body"
    model_of("bert", "embed").save_pretrained(folder)
    tokenizer_of("bert").save_pretrained(folder)
    corpus = corpus_of(tmp_path / "corpus", "classify")
    out = run_step(step(what=HALF, by="magnitude"), tmp_path / "out", Ears(), model=folder, corpus=corpus)
    manifest = json.loads((out / "manifest.json").read_text())
    assert not manifest["about"]["trained_head"] and "dev" not in manifest["measured"]
    with pytest.raises(InputError, match=r"no head trained for this task; take .*`magnitude`"):
        run_step(step(what=HALF), tmp_path / "two", Ears(), model=folder, corpus=corpus)


def test_seeds_draw_the_rows_and_nothing_else(tmp_path: Path) -> None:
    """A prune that is another one each time it runs, whose seed is read by nobody, or that draws what reads no rows."""
    model, corpus = student_of(tmp_path / "model", "bert", "classify"), corpus_of(tmp_path / "corpus", "classify")

    def weights(name: str, by: str, seed: int) -> bytes:
        asked = step(what=HALF, by=by, samples=4, seed=seed)
        out = run_step(asked, tmp_path / name, Ears(), seed=seed, model=model, corpus=corpus)
        return (out / "model.safetensors").read_bytes()

    one = weights("one", "fisher", 1)
    assert one == weights("again", "fisher", 1)
    assert one != weights("two", "fisher", 2)
    assert weights("three", "magnitude", 1) == weights("four", "magnitude", 2)


def test_size_counts_the_weights_file_alone(tmp_path: Path) -> None:
    """Zeros alone make no file smaller: scores that a training left beside it (movement) counted as weights."""
    model, corpus = student_of(tmp_path / "model", "bert", "classify"), corpus_of(tmp_path / "corpus", "classify")
    writer = ArtifactWriter(tmp_path / "trained")
    folder = writer.open()
    for path in model.iterdir():
        if path.name != "manifest.json":
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "movement.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    trained = writer.commit({**json.loads((model / "manifest.json").read_text()), "measured": {}})
    half = step(what=[{"weights": {"pattern": "2:4"}}], by="magnitude")
    out = run_step(half, tmp_path / "out", Ears(), model=trained, corpus=corpus)
    size = json.loads((out / "manifest.json").read_text())["measured"]["size"]
    assert size["before"] == size["after"] == (out / "model.safetensors").stat().st_size


@pytest.mark.parametrize("engine", ["onnx", "openvino", "torch"])
def test_models_are_timed_beside_a_reference(tmp_path: Path, engine: str) -> None:
    """Times of the wrong model or engine, and a work folder that fills with weights."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    opened = opened_for(tmp_path)
    target = Target(speedup=1.5, engine=engine, length=8, seconds=0.02, threads=1)
    timer = BenchTimer(target, opened, opened, tmp_path / "work", Ears())
    loaded = opened.loaded
    small = prune_model(loaded.model, loaded.tokenizer, [Heads(ratio=0.5)], Magnitude())
    timings = timer([loaded.model, small.model], loaded.tokenizer)
    assert len(timings) == 2 and all(0.2 < one.ratio < 5 and one.milliseconds > 0 for one in timings)
    assert [path.name for path in (tmp_path / "work" / "timing").iterdir()] == ["reference"]


def opened_for(folder: Path) -> Opened:
    """An opened model with its corpus."""
    model, corpus = student_of(folder / "model", "bert", "classify"), corpus_of(folder / "corpus", "classify")
    context = Context("prune", {"$model": model, "$corpus": corpus}, folder, folder, 7)
    return open_float(context, "$model", "$corpus")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"what": []}, "at least 1 item"),
        ({"what": [{"heads": {}}]}, "heads: how much goes"),
        ({"what": [{"heads": {"ratio": 1.5}}]}, "less than 1"),
        ({"what": [{"heads": {"ratio": 0.5, "ratios": [0.5]}}]}, "came both"),
        ({"what": [{"ffn": {"ratios": [0.0, 0.0]}}]}, "nothing would go"),
        ({"what": [{"heds": {"ratio": 0.5}}]}, 'did you mean "heads"'),
        ({"what": HALF, "by": "similarity"}, "similarity cannot score heads"),
        ({"what": HALF, "of": "$model"}, "of: is what a `target` is relative to"),
        ({"what": HALF, "target": {"parameters": 0.5}}, "nothing is left for it to decide"),
        ({"what": ["vocab"]}, "samples: are what a criterion looks at"),
        ({"what": [{"depth": {"keep": [1]}}], "by": "magnitude"}, "by: ranks parts, and nothing in `what` is chosen"),
        ({"what": [{"depth": {"ratio": 0.5}}], "by": "hessian"}, "by: ranks parts, and nothing in `what` is chosen"),
        ({"what": [{"depth": {"ratio": 0.5}}], "spread": "uniform"}, "spread: says how heads and neurons"),
        ({"what": ["vocab"], "multiple": 4}, "multiple: rounds counts"),
        ({"what": [{"depth": {"keep": [2, 1]}}]}, "ascending, each once (layers stay in the order in which they run)"),
        ({"what": [{"heads": {}}], "target": {}}, "expected one of parameters, size, latency and speedup"),
    ],
)
def test_what_a_recipe_cannot_ask(options: dict[str, Any], words: str) -> None:
    """A senseless recipe that is found out after the teacher was trained."""
    with pytest.raises(ValidationError) as caught:
        step(**options)
    assert words in " ".join(map(str, faults_of(caught.value, STEPS.get("prune"))))


RECIPE = """\
steps:
  corpus: {prepare: {source: {reviews: {rows: 200, seed: 1}}, task: {classify: {}}}}
  teacher: {teach: {corpus: $corpus, model: some/body}}
"""


def test_an_order_that_makes_no_sense_is_seen_in_the_recipe() -> None:
    """An int8 model that is to be pruned, found out after everything above it was paid for."""
    with pytest.raises(
        FaultsError, match=r"steps.small.prune.model: \$int8 is already in an engine's own form .*come last"
    ):
        parse_recipe(
            RECIPE + "  int8: {quantize: {model: $teacher, corpus: $corpus, method: torch}}\n"
            "  small: {prune: {model: $int8, corpus: $corpus, what: [{heads: {ratio: 0.5}}]}}\n"
        )
    recipe = parse_recipe(
        RECIPE + "  small: {prune: {model: no/such/folder, of: ./nowhere, corpus: $corpus, what: [{heads: {}}], "
        "target: {speedup: 2.0}}}\n"
    )
    found = [fault.path for fault in check(recipe) if "small" in fault.path]
    assert found == ["steps.small.prune.model", "steps.small.prune.of"]


def test_timing_does_not_enter_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A step that runs again because the clock said something else, or that does not when another speed is asked."""
    rows = [{**row, "label": ["bad", "good"][row["label"]]} for row in rows_of("classify", 60)]
    (tmp_path / "data").mkdir()
    for split, part in (("train", rows[:40]), ("dev", rows[40:])):
        (tmp_path / "data" / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part))
    model = student_of(tmp_path / "model", "bert", "classify")
    asked: list[int] = []

    def clock(*given: Any) -> Any:
        def timed(models: Sequence[Any], tokenizer: Any) -> list[Timing]:
            asked.append(len(models))
            return [timing(one, 1 + len(asked) / 1000) for one in models]

        return timed

    def made(speedup: float) -> dict[str, Any]:
        recipe = parse_recipe(TIMED.format(data=tmp_path / "data", model=model, speedup=speedup))
        folder = run(recipe, tmp_path / "run").folder("small")
        return dict(json.loads((folder / "manifest.json").read_text()))

    monkeypatch.setattr("compress.steps.prune.BenchTimer", clock)
    one, count = made(1.5), len(asked)
    assert count and one == made(1.5) and len(asked) == count
    assert made(1.6)["key"] != one["key"] and len(asked) > count
    again = made(1.5)  # on a clock that has gone on
    assert again["key"] == one["key"] and again["about"]["pruned"] != one["about"]["pruned"]


TIMED = """\
steps:
  corpus: {{prepare: {{source: {{jsonl: {{path: {data}}}}}, task: {{classify: {{}}}}, labels: [bad, good]}}}}
  small:
    prune: {{model: {model}, corpus: $corpus, what: [{{heads: {{}}}}, {{ffn: {{}}}}], target: {{speedup: {speedup}}}}}
"""


def timing(model: Any, factor: float) -> Timing:
    """By formula: 5.2 ms of a layer with 4 heads and 64 neurons."""
    structure = structure_of(model)
    heads = sum(block.heads for block in structure.attention_blocks(model))
    neurons = sum(block.neurons for block in structure.ffn_blocks(model))
    milliseconds = (1 + 0.25 * heads + 0.05 * neurons) * factor
    return Timing(milliseconds, 5.2 / milliseconds, None)
