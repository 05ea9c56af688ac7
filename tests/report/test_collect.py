"""Collecting a run: from measures, from manifests alone, and from damaged folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.report.collect import collect
from compress.report.subjects import dominated
from compress.report.verdict import headline, verdict
from tests.report.made_up import SHAPES, measure, measures, subject, write_run, write_step


def judged(*subjects: dict[str, Any]) -> str:
    """The verdict over some subjects."""
    filled = [{**one, "step": None, "architecture": None} for one in subjects]
    return verdict({"subjects": filled, "headline": headline(filled)})


def test_a_benched_run(tmp_path: Path) -> None:
    """The report must speak of the fastest student that is good enough, not of the fastest one (tiny keeps 92 %)."""
    report = collect(write_run(tmp_path / "run"))
    assert (
        report["verdict"]
        == "int8: 98.7 % of the teacher's accuracy [97.8, 99.7], 12.0× faster [11.6, 12.3], 5.6× smaller"
    )
    assert [one["name"] for one in report["subjects"]] == ["teacher", "student", "int8", "tiny"]
    assert report["subjects"][2]["architecture"]["layers"] == 3
    assert report["subjects"][1]["latency"][0]["p50"]["samples"], "raw samples must be kept"
    assert list(report["curves"]) == ["teacher", "student", "tiny"]


def test_steps_stand_after_what_they_read(tmp_path: Path) -> None:
    """A lineage sorted by name would show the student before the teacher that it was made from."""
    names = [step["name"] for step in collect(write_run(tmp_path / "run"))["steps"]]
    assert names[0] == "corpus" and names[-1] == "speed"
    assert names.index("teacher") < names.index("student") < names.index("int8")


def test_an_input_that_was_made_again_is_seen(tmp_path: Path) -> None:
    """A student of last week's teacher must not pass for one of today's."""
    run = write_run(tmp_path / "run")
    write_step(run, "teacher", "teach", "Model", ("corpus",), key="f" * 64)
    steps = {step["name"]: step["outdated"] for step in collect(run)["steps"]}
    assert steps["student"] and not steps["teacher"] and not steps["int8"]


def test_a_run_without_bench(tmp_path: Path) -> None:
    """Without a bench step the dev metrics and sizes of the manifests are still a report."""
    report = collect(write_run(tmp_path / "run", bench=False))
    assert report["verdict"].startswith("int8: 98.7 % of the teacher's accuracy")
    teacher = report["subjects"][0]
    assert teacher["reference"] and teacher["quality"]["split"] == "dev" and teacher["size"]["total"]["value"] > 0


def test_one_model_alone(tmp_path: Path) -> None:
    """A run of a single model has nothing to compare, and must say so instead of failing."""
    write_step(tmp_path / "run", "only", "teach", "Model", measured={"dev": {"accuracy": 0.91}})
    assert collect(tmp_path / "run")["verdict"] == "only: 91.0 % accuracy on dev; nothing to compare it with"


def test_a_models_own_metric_is_used_for_regression(tmp_path: Path) -> None:
    """A correlation of 0.83 printed as 83.0 % would be read as accuracy."""
    write_step(tmp_path / "run", "only", "teach", "Model", measured={"dev": {"spearman": 0.831, "mse": 0.2}})
    assert collect(tmp_path / "run")["verdict"].startswith("only: spearman = 0.831 on dev")


def test_a_corpus_alone(tmp_path: Path) -> None:
    """`compress run --until corpus` prints a report too."""
    write_step(tmp_path / "run", "corpus", "prepare", "Corpus")
    assert collect(tmp_path / "run")["verdict"] == "no model was measured yet"


def test_signals_are_a_step_and_no_subject(tmp_path: Path) -> None:
    """A labelled corpus stands in the lineage with its size, and is not compared with models."""
    run = write_run(tmp_path / "run", bench=False)
    about = {"keeps": "logits, hidden 3", "stored_rows": 67349, "kept": {"hidden": [3]}}
    write_step(run, "labelled", "label", "Signals", ("corpus", "teacher"), about=about, measured={"rows": 67349})
    report = collect(run)
    (step,) = [step for step in report["steps"] if step["name"] == "labelled"]
    assert step["kind"] == "Signals" and step["facts"] == {"keeps": "logits, hidden 3", "stored_rows": 67349}
    assert "labelled" not in [subject["name"] for subject in report["subjects"]]


def test_a_measures_folder_and_a_bare_file(tmp_path: Path) -> None:
    """`compress report` on the bench step's folder, or on what `compress bench` wrote."""
    run = write_run(tmp_path / "run")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "measures.json").write_text(json.dumps(measures(subject("teacher"), subject("int8"))))
    assert collect(run / "speed")["verdict"] == collect(tmp_path / "bare")["verdict"]


def test_failed_subjects_stay_in(tmp_path: Path) -> None:
    """A subject that crashed must be seen as such; left out, the others look like all there was."""
    broken = subject("int8", status="failed", error="its process was ended by SIGKILL", latency=[], quality=None,
                     size={}, size_ratio=None, memory={}, load={}, parameters=None)  # fmt: skip
    write_step(
        tmp_path, "speed", "bench", "Measures", measures=measures(subject("teacher"), broken, subject("student"))
    )
    report = collect(tmp_path)
    assert [one["status"] for one in report["subjects"]] == ["ok", "failed", "ok"]
    assert report["verdict"].startswith("student: 98.9 %")


def test_verdicts_that_cannot_be_told() -> None:
    """A ratio whose interval holds 1 must not be sold as a speed-up."""

    def with_ratio(value: float, interval: list[float], word: str) -> str:
        changed = subject("student")
        changed["latency"][0]["ratio"] = {"value": value, "interval": interval, "verdict": word}
        return judged(subject("teacher"), changed)

    assert "as fast" in with_ratio(1.01, [0.99, 1.03], "SAME")
    assert "whether faster cannot be told [0.90, 1.20]" in with_ratio(1.05, [0.9, 1.2], "CANNOT TELL")
    assert "2.00× slower [1.90, 2.11]" in with_ratio(0.5, [0.4739, 0.5263], "SLOWER")


def test_a_student_below_the_bar_is_named_all_the_same() -> None:
    """When no student is good enough the report shows the best one, not none."""
    assert judged(subject("teacher"), subject("tiny")).startswith("tiny: 92.1 % of the teacher's accuracy")


def test_retained_may_be_absent() -> None:
    """A reference without a score gives no ratio; the sentence must survive that."""
    quality = {**subject("student")["quality"], "retained": measure(None, "ratio", why="the reference has no score")}
    assert "share of the teacher's accuracy not known" in judged(
        subject("teacher"), subject("student", quality=quality)
    )


def test_dominated_points() -> None:
    """Of two equal points neither beats the other: both would be grey and the front empty."""
    assert dominated([(1, 90), (1, 90), (2, 95), (3, 95), (0.5, 80)]) == [False, False, False, True, False]
    assert len(SHAPES) == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read"), ("[]", "not a measures file"), ('{"subjects": [], "schema": 9}', "has schema 9")],
)
def test_unreadable_measures(tmp_path: Path, content: str, words: str) -> None:
    """A damaged measures file must be named, not end in a KeyError."""
    (tmp_path / "measures.json").write_text(content)
    with pytest.raises(InputError, match=words):
        collect(tmp_path)


def test_nothing_to_report(tmp_path: Path) -> None:
    """A wrong folder must be told from an empty report."""
    with pytest.raises(InputError, match="holds no finished step"):
        collect(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        collect(tmp_path / "absent")
