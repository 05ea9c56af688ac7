"""The bench step: options, preflight, artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from compress.bench.probes import quality
from compress.core.options import identity, refs
from compress.steps.base import Context
from compress.steps.bench import Bench
from tests.bench.helpers import make_corpus, make_model


def _bench(**options: Any) -> Bench:
    return Bench.model_validate({"models": ["$teacher", "$int8"], "corpus": "$corpus", **options})


def test_it_writes_measures_and_the_main_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report reads measures.json, and a script the manifest: both must be there after a run."""
    monkeypatch.setattr(quality, "DRAWS", 5)
    inputs = {
        "$teacher": make_model(tmp_path / "one"),
        "$int8": make_model(tmp_path / "two"),
        "$corpus": make_corpus(tmp_path / "corpus"),
    }
    out = tmp_path / "out"
    out.mkdir()
    context = Context("speed", inputs, out, tmp_path / "work", 13)
    _bench(batch_sizes=[1], lengths=[], seconds=0.02, rounds=3, threads=1).run(context)
    measures = json.loads((out / "measures.json").read_text())
    assert [one["name"] for one in measures["subjects"]] == ["teacher", "int8"]
    assert measures["reference"] == "teacher" and measures["corpus"]["split"] == "dev"
    assert context.measured["int8"]["quality"] == 1.0 and context.measured["int8"]["ratio"] > 0


def test_models_and_corpus_are_references() -> None:
    """A model that the plan does not see as an input would be measured stale."""
    assert [value for _, value, _ in refs(_bench())] == ["$teacher", "$int8", "$corpus"]


def test_a_step_may_carry_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step measured by two engines in one recipe: the engine must reach the harness and not hide the step."""
    step = _bench(models=["$teacher", "$teacher@onnx"])
    assert [mark.step(value) for _, value, mark in refs(step)] == ["teacher", "teacher", "corpus"]
    monkeypatch.setattr(quality, "DRAWS", 5)
    inputs = {"$teacher": make_model(tmp_path / "one"), "$corpus": make_corpus(tmp_path / "corpus")}
    (tmp_path / "out").mkdir()
    context = Context("speed", inputs, tmp_path / "out", tmp_path / "work", 13)
    options = step.model_copy(update={"batch_sizes": [1], "lengths": [], "seconds": 0.02, "rounds": 3, "threads": 1})
    options.run(context)
    assert list(context.measured) == ["teacher", "teacher@onnx"]
    with pytest.raises(ValidationError, match='did you mean "torch:bf16"'):
        _bench(models=["$teacher", "$teacher@torch:bf61"])


def test_the_key_holds_what_decides_the_numbers() -> None:
    """Another time budget gives other intervals; another patience with hung processes does not."""
    assert identity(_bench(seconds=2.0)) != identity(_bench())
    assert identity(_bench(timeout=9.0)) == identity(_bench())


def test_a_model_from_outside_is_read_for_the_key(tmp_path: Path) -> None:
    """Another model under the same path must not be reported with the old numbers."""
    folder = make_model(tmp_path / "model")
    assert _bench(models=["$teacher", str(folder), "some/hub-model"]).files() == [folder]


def test_faults_are_seen_before_anything_is_spent(tmp_path: Path) -> None:
    """A path that is not there must not surface after an hour of training."""
    faults = _bench(models=["$teacher", str(tmp_path / "missing")], engine={"student": "onnx"}).preflight()
    assert [fault.path for fault in faults] == ["engine", "models[1]"]
    assert _bench(engine={"int8": "onnx"}).preflight() == []


@pytest.mark.parametrize(
    "options",
    [{"models": []}, {"batch_sizes": [0]}, {"batch_sizes": []}, {"lengths": [1]}, {"seconds": 0.0}, {"rounds": 1},
     {"device": "tpu"}, {"probes": ["latencyy"]}, {"threads": 0}, {"engine": "onxx"},
     {"engine": {"int8": "torch:bf61"}},
     {"fits": ["256MB"], "probes": ["latency"]}, {"probes": [{"throughput": {"largest": 4096}}]}],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    """A batch of zero or no rounds at all would fail in the middle of the measuring."""
    with pytest.raises(ValidationError):
        _bench(**options)
