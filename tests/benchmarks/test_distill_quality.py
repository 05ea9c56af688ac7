"""The benchmark of five tasks: its recipes are valid, and one seed is no claim."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from benchmarks import record as record_module
from benchmarks.distill_quality import STUDENTS, TASKS, arguments, claims, folder, recipe_of, rows_of, table
from benchmarks.distill_words import write_words
from compress.pipeline.recipe import parse_recipe


def ran(options: argparse.Namespace, name: str, seed: int, **scores: float) -> None:
    """What the models of a task and seed leave behind."""
    for step in ("teacher", *STUDENTS):
        at = folder(name, seed, options) / step
        at.mkdir(parents=True)
        score = scores.get(step.replace("-", "_"), 0.8)
        measured = {TASKS[name]["split"]: {TASKS[name]["metric"]: score}}
        (at / "manifest.json").write_text(json.dumps({"measured": measured, "environment": {}}))


def options_of(tmp_path: Path) -> argparse.Namespace:
    return arguments(["--data", str(tmp_path), "--body", str(tmp_path), "--out", str(tmp_path / "runs")])


@pytest.mark.parametrize("name", TASKS)
def test_the_recipe_is_valid(name: str, tmp_path: Path) -> None:
    """Prevents a benchmark that breaks at its first step, hours after it was started."""
    text = yaml.safe_dump(recipe_of(name, tmp_path, str(tmp_path), tmp_path / "words.jsonl"), sort_keys=False)
    assert len(parse_recipe(text).steps) == 3 + ("more" in TASKS[name]) + len(STUDENTS)


def test_sentences_are_cut_as_the_tagged_corpus_is(tmp_path: Path) -> None:
    """Prevents words that the tagged corpus never has, whose tags the teacher can only guess."""
    for name in ("mrpc", "squad", "stsb", "novels"):
        (tmp_path / name).mkdir()
    text = "It's the U.S. that doesn't lose $1,234.5 -- yet."
    pair = {"text_a": text, "text_b": text}
    (tmp_path / "mrpc" / "train.jsonl").write_text(json.dumps(pair) + "\n")
    context = "A dog that barks . Two short . Do n't they bark at night ?"
    articles = [{"paragraphs": [{"context": context}]}]
    (tmp_path / "squad" / "train.json").write_text(json.dumps({"data": articles}))
    other = {"text_a": "A dog that barks.", "text_b": "A cat that doesn't bark."}
    (tmp_path / "stsb" / "train.jsonl").write_text(json.dumps(other) + "\n")
    (tmp_path / "novels" / "one.txt").write_text("Chapter 1\n\nIt rained\nthat day. “It did!”\n\nNo. It did n't rain.")
    out = tmp_path / "out" / "words.jsonl"
    found = [json.loads(line)["tokens"] for line in write_words(tmp_path, out).read_text().splitlines()]
    assert found[0] == ["It", "'s", "the", "U.S.", "that", "does", "n't", "lose", "$", "1,234.5", "--", "yet", "."]
    assert [" ".join(words) for words in found[1:3]] == ["A dog that barks .", "Do n't they bark at night ?"]
    told = {" ".join(words) for words in found[3:]}
    assert told == {"A cat that does n't bark .", "It rained that day .", "“ It did ! ”", "It did n't rain ."}
    before = out.stat().st_mtime_ns
    assert write_words(tmp_path, out).stat().st_mtime_ns == before


def test_one_seed_is_no_claim(tmp_path: Path) -> None:
    """Prevents a share of the teacher that is met by one lucky seed, and tasks not run that nobody counts."""
    options = options_of(tmp_path)
    for name in TASKS:
        ran(options, name, 1, half=0.84, half_alone=0.4, two=0.82, two_alone=0.4)
    made = claims(rows_of(options))
    assert [one["name"] for one in made if one["met"]] == []
    assert made[0]["value"] == 1 and made[1]["value"] is None
    assert made[1]["name"] == "sst2, half: share of the teacher (one seed: see the rows)"
    for name in TASKS:
        for seed in (2, 3):
            ran(options, name, seed, half=0.84, half_alone=0.4, two=0.82, two_alone=0.4)
    assert all(one["met"] for one in claims(rows_of(options)))
    assert table("sst2", options)[1]["kept"] == 105.0


def test_a_task_that_was_not_run_is_short(tmp_path: Path) -> None:
    """Prevents four good tasks that hide the fifth, and a gain or share the wrong way round."""
    options = options_of(tmp_path)
    for seed in (1, 2, 3):
        ran(options, "mrpc", seed, half=0.6, half_alone=0.64, two=0.4, two_alone=0.2)
    made = {one["name"]: one for one in claims(rows_of(options))}
    assert (made["seeds"]["value"], made["seeds"]["met"]) == (0, False)
    assert made["squad, two: share of the teacher (not run)"]["met"] is False
    assert made["mrpc, half: share of the teacher"]["value"] == pytest.approx(75)
    assert made["mrpc, half: above the same without a teacher"]["value"] == pytest.approx(-4)
    assert made["mrpc, two: above the same without a teacher"]["met"] is True


def test_tasks_that_ran_elsewhere_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a run of one task that throws away what was measured of the others, or calls it its own."""
    monkeypatch.setattr(record_module, "RESULTS", tmp_path)
    options = options_of(tmp_path)
    for seed in (1, 2, 3):
        ran(options, "mrpc", seed, half=0.84)
        ran(options, "stsb", seed, half=0.7)
    rows = rows_of(options)
    record_module.record("quality", [1, 2, 3], rows, claims(rows), {"git_commit": "old"})
    elsewhere = arguments(["--data", str(tmp_path), "--body", str(tmp_path), "--out", str(tmp_path / "others")])
    for seed in (1, 2):
        ran(elsewhere, "stsb", seed, half=0.8)
        ran(elsewhere, "conll2000", seed, half=0.6)
    merged = record_module.with_earlier("quality", rows_of(elsewhere), "task", list(TASKS))
    halves = [row for row in merged if row["model"] == "half"]
    assert [(row["task"], row["score"], row["seeds"], "earlier" in row) for row in halves] == [
        ("mrpc", 84.0, [1, 2, 3], True), ("stsb", 80.0, [1, 2], False), ("conll2000", 60.0, [1, 2], False),
    ]  # fmt: skip
    assert merged[0]["earlier"]["commit"] == "old"
    assert {one["name"]: one["met"] for one in claims(merged)}["mrpc, half: share of the teacher"]
    record_module.record("quality", [1, 2], merged, claims(merged), {"git_commit": "new"})
    again = record_module.with_earlier("quality", [], "task", list(TASKS))
    assert [row["earlier"]["commit"] for row in again if row["model"] == "half"] == ["old", "new", "new"]
