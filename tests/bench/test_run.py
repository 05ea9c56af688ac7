"""A whole benchmark of models made by hand, with the accidents that subjects have."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from compress.bench import isolation
from compress.bench.options import BenchOptions
from compress.bench.probes import quality
from compress.bench.run import bench_models
from compress.core.errors import InputError, JobError
from tests.bench.helpers import make_corpus, make_model

ODD = (sys.executable, str(Path(__file__).with_name("odd_subject.py")))
QUICK: dict[str, Any] = {
    "batch_sizes": [1, 2], "lengths": [8, 999], "seconds": 0.02, "rounds": 3, "threads": 1, "processes": 2,
}  # fmt: skip
SHORT: list[Any] = [
    {"load": {"starts": 1}}, {"throughput": {"largest": 4}},
    "memory", "latency", "energy", "size", "compute", "quality", "fits",
]  # fmt: skip


@pytest.fixture(scope="module")
def measures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Four healthy subjects and five that have accidents, in one benchmark."""
    root = tmp_path_factory.mktemp("bench")
    names = ["teacher", "crash", "wrong", "hang", "full", "greedy", "swapped", "strange", "damaged"]
    for name in names:
        labels = {"swapped": ("good", "bad"), "strange": ("up", "down")}.get(name, ("bad", "good"))
        make_model(root / name, labels, -1.0 if name in ("wrong", "swapped") else 1.0)
    whole = (root / "damaged" / "model.onnx").read_bytes()
    (root / "damaged" / "model.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "DRAWS", 10)
        return bench_models(
            [str(root / name) for name in names],
            make_corpus(root / "corpus"),
            BenchOptions(**QUICK, probes=SHORT, timeout=8.0),
            command=ODD,
        )


def _subject(measures: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in measures["subjects"] if one["name"] == name)


def test_one_accident_does_not_stop_the_others(measures: dict[str, Any]) -> None:
    """A crash or a hang of one subject must be reported as such while the rest is measured."""
    statuses = {one["name"]: one["status"] for one in measures["subjects"]}
    assert statuses == {"crash": "failed", "hang": "timeout", "damaged": "failed"} | dict.fromkeys(
        ("teacher", "wrong", "full", "greedy", "swapped", "strange"), "ok"
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


def test_a_process_that_memory_kills_is_started_again(measures: dict[str, Any]) -> None:
    """A batch that the kernel ends the process for is one blank cell; the other cells and the quality are there."""
    greedy = _subject(measures, "greedy")
    lines = {(line["mix"], line["batch"]): line for line in greedy["latency"]}
    assert lines["corpus", 1]["p50"]["value"] > 0 and lines["grid", 1]["p50"]["value"] > 0
    assert lines["corpus", 2]["p50"]["why"].startswith("out of memory: its process was ended by SIGKILL")
    assert greedy["quality"]["values"]["accuracy"]["value"] == 1.0


def test_latency_is_of_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ratio of two processes, one of which happens to lie better in memory for as long as it lives."""
    seen: list[int] = []
    start = isolation.Worker.__init__

    def counted(self: isolation.Worker, *given: Any, **options: Any) -> None:
        start(self, *given, **options)
        seen.append(self.pid)

    monkeypatch.setattr(isolation.Worker, "__init__", counted)
    make_model(tmp_path / "one", ("bad", "good"), 1.0)
    options = BenchOptions(**{**QUICK, "batch_sizes": [1], "lengths": [], "processes": 3}, probes=["latency"])
    found = bench_models([str(tmp_path / "one")], make_corpus(tmp_path / "corpus"), options)
    assert len(set(seen)) == 3
    assert len(found["subjects"][0]["latency"][0]["rounds"]) >= 3


def test_the_search_for_the_best_batch(measures: dict[str, Any]) -> None:
    """The rate must come with its batch size, its ratio and why no larger batch was tried."""
    found = _subject(measures, "wrong")["throughput"]
    assert found["batch"] in (1, 2, 4) and found["rate"]["value"] > 0 and found["ended"]
    assert found["ratio"]["value"] > 0 and found["ratio"]["verdict"]
    assert [line["batch"] for line in found["sweep"]] == [1, 2, 4]
    assert _subject(measures, "teacher")["throughput"]["ratio"]["verdict"] == "REFERENCE"
    for name in ("full", "greedy"):
        found = _subject(measures, name)["throughput"]
        assert found["batch"] == 1 and found["ended"] == "out of memory" and found["rate"]["value"] > 0
        assert [(line["batch"], line["rate"]["value"] is None) for line in found["sweep"]] == [(1, False), (2, True)]
    assert _subject(measures, "crash")["throughput"]["rate"]["why"] == "the subject failed"


def test_a_cold_start_holds_its_imports_and_its_loading(measures: dict[str, Any]) -> None:
    """A start that leaves out the interpreter is not what an app waits for."""
    load = _subject(measures, "teacher")["load"]
    assert 0 < load["baseline_start"]["value"] < load["cold_start"]["value"]
    assert len(load["cold_start"]["samples"]) == 1
    assert _subject(measures, "hang")["load"]["cold_start"]["why"] == "the subject timeout"


def test_the_memory_bill_adds_up_and_the_timeline_has_every_stage(measures: dict[str, Any]) -> None:
    """A bill that does not sum to the peak hides a part."""
    memory = _subject(measures, "teacher")["memory"]
    assert sum(part["value"] for part in memory["bill"].values()) == memory["peak"]["value"]
    assert memory["bill"]["imports"] == memory["baseline"]
    seconds = [point[0] for point in memory["timeline"]]
    assert seconds == sorted(seconds) and all(point[1] > 0 for point in memory["timeline"])
    assert list(dict.fromkeys(point[2] for point in memory["timeline"])) == ["imports", "load", "answer"]


def test_the_work_of_a_text_is_counted(measures: dict[str, Any]) -> None:
    """The lookup is no arithmetic; the one product is 2 x 2 for each text."""
    compute = _subject(measures, "teacher")["compute"]
    assert compute["flops"]["value"] == 2 * 2 * 2 and compute["int8_share"]["value"] == 0.0
    assert compute["embedding_share"]["value"] == pytest.approx(22 / 26, rel=1e-5)
    assert compute["zeros_share"]["value"] == pytest.approx(22 / 26, rel=1e-5)


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
    assert measures["environment"]["bound_to"] == []  # one thread is left free
    assert teacher["latency"][0]["ratio"]["value"] == 1.0


def test_memory_limits_are_tried(tmp_path: Path) -> None:
    """A limit that is never enforced always fits."""
    options = BenchOptions(**QUICK, fits=["2GB", "8MB"], probes=["fits"])
    found = bench_models([str(make_model(tmp_path / "model"))], make_corpus(tmp_path / "corpus"), options)
    small, large = found["subjects"][0]["fits"]
    assert (small["limit_bytes"], large["limit_bytes"]) == (8_000_000, 2_000_000_000)
    assert small["fits"] is False and large["fits"] is True
    assert "private memory" in small["why"] or "the kernel ended it" in small["why"]


def test_nothing_left_is_a_failed_job(tmp_path: Path) -> None:
    """A benchmark of which nothing came must not look finished."""
    folder = make_model(tmp_path / "killed")
    with pytest.raises(JobError, match="SIGKILL"):
        bench_models([str(folder)], make_corpus(tmp_path / "corpus"), BenchOptions(**QUICK), command=ODD)


def test_what_can_be_seen_beforehand_is_refused(tmp_path: Path) -> None:
    """Minutes of measuring must not be spent before a misspelt path is found."""
    model, corpus = str(make_model(tmp_path / "model")), make_corpus(tmp_path / "corpus", [])
    with pytest.raises(ValidationError, match="expected an amount such as 256MB"):
        BenchOptions(fits=["256 elephants"])
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
