"""A whole benchmark of models made by hand, with the accidents that subjects have."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from compress.bench.options import BenchOptions
from compress.bench.probes import quality
from compress.bench.run import bench_models
from compress.core.errors import InputError, JobError
from tests.bench.helpers import make_corpus, make_model

ODD = (sys.executable, str(Path(__file__).with_name("odd_subject.py")))
QUICK: dict[str, Any] = {"batch_sizes": [1, 2], "lengths": [8, 999], "seconds": 0.02, "rounds": 3, "threads": 1}


@pytest.fixture(scope="module")
def measures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three healthy subjects and three that have accidents, in one benchmark."""
    root = tmp_path_factory.mktemp("bench")
    names = ["teacher", "crash", "wrong", "hang", "full", "swapped", "strange"]
    for name in names:
        labels = {"swapped": ("good", "bad"), "strange": ("up", "down")}.get(name, ("bad", "good"))
        make_model(root / name, labels, -1.0 if name in ("wrong", "swapped") else 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "DRAWS", 10)
        return bench_models(
            [str(root / name) for name in names],
            make_corpus(root / "corpus"),
            BenchOptions(**QUICK, timeout=8.0),
            command=ODD,
        )


def _subject(measures: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in measures["subjects"] if one["name"] == name)


def test_one_accident_does_not_stop_the_others(measures: dict[str, Any]) -> None:
    """A crash or a hang of one subject must be reported as such while the rest is measured."""
    statuses = {one["name"]: one["status"] for one in measures["subjects"]}
    assert statuses == {"crash": "failed", "hang": "timeout"} | dict.fromkeys(
        ("teacher", "wrong", "full", "swapped", "strange"), "ok"
    )
    assert "the weights bite" in _subject(measures, "crash")["error"]
    assert "no answer within 8 s" in _subject(measures, "hang")["error"]
    assert _subject(measures, "crash")["memory"]["own"]["why"] == "the subject failed"


def test_a_cell_that_does_not_fit_is_blank_and_the_subject_goes_on(measures: dict[str, Any]) -> None:
    """Out of memory at one batch size must not cost the numbers of the others."""
    lines = {(line["batch"], line["length"]): line for line in _subject(measures, "full")["latency"]}
    assert lines[1, None]["p50"]["value"] > 0
    assert lines[2, None]["p50"]["value"] is None and "out of memory" in lines[2, None]["p50"]["why"]
    assert lines[2, None]["ratio"]["verdict"] == "CANNOT TELL"


def test_the_grid_is_cut_to_what_the_models_take(measures: dict[str, Any]) -> None:
    """A length past `max_length` would be cut silently and reported under the wrong number."""
    cells = [(line["mix"], line["batch"], line["length"]) for line in _subject(measures, "teacher")["latency"]]
    assert cells[:2] == [("corpus", 1, None), ("corpus", 2, None)]
    assert cells[2:] == [("grid", batch, length) for batch in (1, 2) for length in (8, 32)]


def test_padding_is_counted_where_there_is_some(measures: dict[str, Any]) -> None:
    """Full masks hide what padding costs on real text."""
    lines = _subject(measures, "teacher")["latency"]
    assert lines[0]["padding_share"] == 0.0
    assert 0 < lines[1]["padding_share"] < 1
    assert all(line["padding_share"] == 0.0 for line in lines[2:])


def test_a_percentile_without_the_samples_is_blank(measures: dict[str, Any]) -> None:
    """Three rounds of a few texts bound no 90th percentile, and the reason must be said."""
    ninety = [line["p90"] for one in measures["subjects"] for line in one["latency"]]
    assert all(p["value"] is not None or "do not bound" in p["why"] or "memory" in p["why"] for p in ninety)


def test_quality_is_scored_in_the_label_order_of_the_corpus(measures: dict[str, Any]) -> None:
    """A model with the labels the other way round must not be scored as if its columns were the corpus's."""
    quality = {one["name"]: one["quality"] for one in measures["subjects"]}
    assert quality["teacher"]["values"]["accuracy"]["value"] == 1.0
    assert quality["wrong"]["values"]["accuracy"]["value"] == 0.0
    assert quality["wrong"]["retained"]["value"] == 0.0
    assert quality["swapped"]["values"]["accuracy"]["value"] == 1.0
    assert quality["teacher"]["retained"] == {"value": 1.0, "unit": "ratio", "interval": [1.0, 1.0], "n": 6}
    assert "are not the corpus's" in quality["strange"]["values"]["accuracy"]["why"]


def test_the_baseline_of_an_onnx_subject_holds_no_torch(measures: dict[str, Any]) -> None:
    """Torch counted into everyone's memory hides what leaving torch saves."""
    subject = _subject(measures, "teacher")
    assert subject["imports"] == ["onnxruntime"]
    memory = subject["memory"]
    assert memory["baseline"]["value"] < memory["after_load"]["value"] <= memory["peak"]["value"]
    assert memory["own"]["value"] == memory["peak"]["value"] - memory["baseline"]["value"]


def test_sizes_add_up(measures: dict[str, Any]) -> None:
    """A split that does not sum to the total has lost or doubled a part."""
    size = {name: part["value"] for name, part in _subject(measures, "teacher")["size"].items()}
    assert size["embeddings"] == 11 * 2 * 4 and size["head"] == 2 * 2 * 4 and size["encoder"] == 0
    assert size["tokenizer"] > 0 and size["other"] > 0
    assert size.pop("total") == sum(size.values())
    assert _subject(measures, "teacher")["size_ratio"] == 1.0
    assert _subject(measures, "teacher")["parameters"]["value"] == 11 * 2 + 2 * 2


def test_the_result_is_plain_json_with_its_machine(measures: dict[str, Any]) -> None:
    """NaN or numpy numbers would make a file that nothing reads."""
    again = json.loads(json.dumps(measures, allow_nan=False))
    assert again == measures
    assert measures["reference"] == "teacher" and measures["environment"]["cores"] >= 1
    teacher = _subject(measures, "teacher")
    assert teacher["threads"] == 1 and teacher["affinity"] and teacher["device"] == "cpu"
    assert teacher["latency"][0]["ratio"]["value"] == 1.0


def test_nothing_left_is_a_failed_job(tmp_path: Path) -> None:
    """A benchmark of which nothing came must not look finished."""
    folder = make_model(tmp_path / "killed")
    with pytest.raises(JobError, match="SIGKILL"):
        bench_models([str(folder)], make_corpus(tmp_path / "corpus"), BenchOptions(**QUICK), command=ODD)


def test_what_can_be_seen_beforehand_is_refused(tmp_path: Path) -> None:
    """Minutes of measuring must not be spent before a misspelt path is found."""
    model, corpus = str(make_model(tmp_path / "model")), make_corpus(tmp_path / "corpus", [])
    with pytest.raises(InputError, match="no such folder"):
        bench_models([str(tmp_path / "missing")], corpus)
    with pytest.raises(InputError, match="has no form for the engine torch"):
        bench_models([model], corpus, BenchOptions(engine="torch"))
    with pytest.raises(InputError, match="'modle' is none of the models"):
        bench_models([model], corpus, BenchOptions(engine={"modle": "onnx"}))
    with pytest.raises(InputError, match="split is empty"):
        bench_models([model], corpus)
    with pytest.raises(InputError, match="cuda"):
        bench_models([model], make_corpus(tmp_path / "full"), BenchOptions(device="cuda"))
