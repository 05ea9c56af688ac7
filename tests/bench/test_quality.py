"""What is made of a subject's outputs: scores, the paired test, calibration, slices and flips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from compress.bench.inside import outputs
from compress.bench.inside.state import State
from compress.bench.isolation import RequestError
from compress.bench.probes import quality as probe
from compress.bench.quality.answers import Answers, answers_of, columns_of, gold_of
from compress.bench.quality.calibration import calibration
from compress.bench.quality.draws import weights
from compress.bench.quality.flips import flips
from compress.bench.quality.paired import agreement, bootstrap_p, mcnemar, paired
from compress.bench.quality.scored import Scored, scored
from compress.bench.quality.slices import slices
from compress.core.errors import JobError
from compress.runtime.student import Student
from compress.tasks.base import Task
from compress.tasks.classify import Classify
from compress.tasks.regress import Regress
from compress.tasks.tag import Tag
from tests.bench.helpers import ROWS, make_model

ONE = np.zeros(1, dtype=np.int64)
CHANCE = np.random.default_rng(7)


def classified(rows: list[dict[str, Any]], said: list[int], classes: int = 2, sure: float = 4.0) -> Scored:
    """A subject that says these labels, each with the same certainty."""
    values = [np.where(np.arange(classes) == label, sure, 0.0).astype(np.float32)[None] for label in said]
    answers = Answers(values, [ONE] * len(rows), [gold_of(row, ONE) for row in rows])
    return scored(Classify(), rows, answers, [f"label {index}" for index in range(classes)], 5)


def tagged(rows: list[dict[str, Any]], noise: float, cut: int, classes: int) -> Answers:
    """A tagger that is often right and sees at most `cut` words."""
    seen = [np.arange(min(len(row["tags"]), cut)) for row in rows]
    values = [CHANCE.normal(scale=noise, size=(len(words), classes)) for words in seen]
    for row, words, one in zip(rows, seen, values, strict=True):
        one[words, np.array(row["tags"])[words]] += 2
    found = [one.astype(np.float32) for one in values]
    return Answers(found, seen, [gold_of(row, words) for row, words in zip(rows, seen, strict=True)])


def case(name: str) -> tuple[Task, list[dict[str, Any]], Answers, list[str]]:
    """A task with 40 rows, outputs for them, and the labels."""
    if name == "classify":
        rows: list[dict[str, Any]] = [{"text": "x", "label": int(CHANCE.integers(0, 3))} for _ in range(40)]
        found = [CHANCE.normal(size=(1, 3)).astype(np.float32) for _ in rows]
        return Classify(), rows, Answers(found, [ONE] * 40, [gold_of(row, ONE) for row in rows]), ["a", "b", "c"]
    if name == "regress":
        rows = [{"text": "x", "score": float(CHANCE.integers(0, 5))} for _ in range(40)]
        found = [np.array([[row["score"] + CHANCE.normal()]], dtype=np.float32) for row in rows]
        return Regress(), rows, Answers(found, [ONE] * 40, [gold_of(row, ONE) for row in rows]), []
    labels = ["O", "B-X", "I-X", "B-Y", "I-Y"] if name == "spans" else ["noun", "verb", "other"]
    sizes = CHANCE.integers(1, 9, 40)
    rows = [{"tokens": ["w"] * size, "tags": CHANCE.integers(0, len(labels), size).tolist()} for size in sizes]
    return Tag(), rows, tagged(rows, 1.5, 6, len(labels)), labels


def test_columns_follow_the_label_names() -> None:
    """MNLI models differ in label order: scored by position they get 10 %."""
    assert columns_of(["a", "b"], ["a", "b"]) == (None, "")
    assert columns_of(["b", "c", "a"], ["a", "b", "c"]) == ([2, 0, 1], "")
    assert columns_of(["LABEL_0", "LABEL_1"], ["a", "b"]) == (None, "")
    assert columns_of(["a", "x"], ["a", "b"])[1] == "its labels (a, x) are not the corpus's (a, b)"


def test_tagged_words_are_judged_at_their_first_token_and_cut_words_count_as_wrong(tmp_path: Path) -> None:
    """Scoring every sub-token, or leaving out cut words, gives numbers that nobody else gets."""
    words, places = outputs.first_tokens([None, 0, 0, 1, 2, None])
    assert words.tolist() == [0, 1, 2] and places.tolist() == [1, 3, 4]
    row = {"tokens": ["a", "b", "c", "d"], "tags": [0, 1, 0, 1]}
    values = np.array([[2, 0], [0, 2], [0, 2]], dtype=np.float32)
    np.savez(tmp_path / "out.npz", values=values, counts=np.array([3]), words=words, rows=np.array([0]))
    answers = answers_of([tmp_path / "out.npz"], None, [row])
    assert answers.truth[0].tolist() == [[0, 2], [1, 0], [0, 0]]
    assert Tag().score(answers.outputs[0], answers.truth[0], ["x", "y"])["accuracy"] == 2 / 4
    found = scored(Tag(), [row], answers, ["x", "y"], 5)
    assert found.units is not None and found.units.said.tolist() == [0, 1, 1, -1]
    assert "accuracy" in found.forms and found.scores["cut"] == 1 / 4


@pytest.mark.parametrize("name", ["classify", "spans", "words", "regress"])
def test_fast_draws_are_the_tasks_own_scores(name: str) -> None:
    """A bootstrap of a metric that only looks like the task's would put a wrong interval around the right value."""
    task, rows, answers, labels = case(name)
    found = scored(task, rows, answers, labels, 5)
    assert set(found.forms) == set(found.scores), "every metric of our own tasks must be drawn fast"
    counts = next(weights(len(rows)))[:10]
    for draw, taken in enumerate(counts.astype(int)):
        chosen = np.repeat(np.arange(len(rows)), taken)
        truth = np.concatenate([answers.truth[row] for row in chosen])
        own = task.score(np.concatenate([answers.outputs[row] for row in chosen]), truth, labels)
        for metric, form in found.forms.items():
            assert form(counts[draw : draw + 1])[0] == pytest.approx(own[metric], abs=1e-9), metric
            assert found.draws[metric][draw] == pytest.approx(own[metric], abs=1e-9)


def test_a_metric_of_another_package_is_drawn_through_its_own_scorer() -> None:
    """A task whose `f1` means something else must not get the interval of ours."""

    class Odd(Classify):
        def score(self, logits: np.ndarray, labels: np.ndarray, names: Any) -> dict[str, float]:
            return {"accuracy": float((logits.argmax(-1) == labels).mean()), "f1": 0.25}

    _, rows, answers, labels = case("classify")
    found = scored(Odd(), rows, answers, labels, 7)
    assert set(found.forms) == {"accuracy"} and found.draws["f1"].tolist() == [0.25] * 7


def test_mcnemar_is_the_exact_binomial_test() -> None:
    """The chi-square form of few flips gives p below what the data can show."""
    for gained, lost in ((0, 10), (3, 9), (50, 20), (1, 0)):
        assert mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost).pvalue)
    assert mcnemar(0, 0) == 1.0 and mcnemar(5, 5) == 1.0


def test_pairs_are_compared_on_the_same_rows() -> None:
    """Unpaired, a drop of three points on 200 rows cannot be told from none; paired it can."""
    rows = [{"text": "x", "label": index % 2} for index in range(200)]
    teacher = classified(rows, [row["label"] if index % 10 else 1 - row["label"] for index, row in enumerate(rows)])
    student = classified(rows, [row["label"] if index % 10 > 1 else 1 - row["label"] for index, row in enumerate(rows)])
    found = paired("accuracy", student, teacher, one_per_row=True)
    assert found["test"] == "mcnemar" and (found["gained"], found["lost"]) == (0, 20)
    assert found["p"] == pytest.approx(2**-19, rel=1e-3)
    low, high = found["drop"]["interval"]
    assert found["drop"]["value"] == pytest.approx(0.1) and 0.05 < low < 0.1 < high < 0.15
    assert agreement(student, teacher)["value"] == pytest.approx(0.9)
    same = paired("accuracy", teacher, teacher, one_per_row=True)
    assert same["p"] == 1.0 and same["drop"]["interval"] == [0.0, 0.0]


def test_words_and_numbers_are_tested_by_the_paired_bootstrap() -> None:
    """Words of one text are not independent: McNemar over words would call noise significant."""
    for name in ("spans", "regress"):
        task, rows, answers, labels = case(name)
        mine = scored(task, rows, answers, labels, 5)
        found = paired(task.metric, mine, mine, one_per_row=False)
        assert found["test"] == "bootstrap" and found["p"] == 1.0 and ("lost" in found) == (name == "spans")
    assert agreement(mine, mine)["value"] is None
    assert bootstrap_p(np.linspace(0.1, 1, 99)) == pytest.approx(0.02)


def test_calibration() -> None:
    """A subject that is sure of everything and right half of the time is off by half, and the interval holds that."""
    rows = [{"text": "x", "label": index % 2} for index in range(300)]
    boastful = classified(rows, [0] * 300, sure=20.0)
    assert boastful.units is not None
    found = calibration(boastful.units, 300)
    assert found["ece"]["value"] == pytest.approx(0.5, abs=0.01) and len(found["bins"]) == 15
    assert found["ece"]["interval"][0] <= found["ece"]["value"] <= found["ece"]["interval"][1]
    three_of_four = [row["label"] if i % 4 else 1 - row["label"] for i, row in enumerate(rows)]
    honest = classified(rows, three_of_four, sure=float(np.log(3)))
    assert honest.units is not None
    assert calibration(honest.units, 300)["ece"]["value"] < 0.02, "sure and right at 75 %"
    assert sum(count for *_, count in found["bins"]) == 300


def test_the_slice_that_lost_most_comes_first() -> None:
    """A student that fails on negations alone looks fine on average; the corpus's tag must bring it to the top."""
    rows = [
        {"text": "w " * (1 + index % 30), "label": index % 2, "slice": "negation" if index % 5 == 0 else "plain"}
        for index in range(300)
    ]
    right = [row["label"] for row in rows]
    wrong = [1 - row["label"] if row["slice"] == "negation" else row["label"] for row in rows]
    teacher, student = classified(rows, right), classified(rows, wrong)
    found = slices("accuracy", rows, ["no", "yes"], student, teacher)
    assert (found[0]["by"], found[0]["slice"], found[0]["rows"]) == ("tag", "negation", 60)
    assert found[0]["drop"]["value"] == 1.0 and found[0]["reference"] == 1.0 and found[0]["value"]["value"] == 0.0
    assert {line["by"] for line in found} == {"tag", "label", "length"}
    assert [line["slice"] for line in found if line["by"] == "length" and "short" in line["slice"]] == [
        "short (1-10 words)"
    ]
    assert [line["drop"]["value"] for line in found] == sorted((line["drop"]["value"] for line in found), reverse=True)
    few = slices("accuracy", rows[:8], ["no", "yes"], classified(rows[:8], right[:8]), classified(rows[:8], right[:8]))
    assert few == [], "of eight rows nothing can be said"


def test_tags_and_numbers_have_slices_too() -> None:
    """An F1 over a slice must be that slice's F1, not the mean of its rows' F1."""
    task, rows, answers, labels = case("words")
    mine = scored(task, rows, answers, labels, 5)
    found = {line["slice"]: line for line in slices("f1", rows, labels, mine, mine)}
    verbs = [(tag, said) for row, out in zip(rows, answers.outputs, strict=True)
             for tag, said in zip(row["tags"], [*out.argmax(-1), *[-1] * 9], strict=False) if tag == 1]  # fmt: skip
    assert found["verb"]["value"]["value"] == pytest.approx(np.mean([tag == said for tag, said in verbs]), abs=1e-5)
    task, rows, answers, labels = case("regress")
    mine = scored(task, rows, answers, labels, 5)
    assert slices("spearman", rows, labels, mine, mine) == [], "texts of one length are one slice"


def test_flips_are_the_examples() -> None:
    """A drop of three points says nothing about what went wrong; twenty texts do."""
    rows = [{"text": f"text {index} " + "long " * 100, "text_pair": "pair", "label": 0} for index in range(60)]
    teacher = classified(rows, [0] * 50 + [1] * 10)
    student = classified(rows, [1] * 40 + [0] * 20)
    found = flips(rows, ["no", "yes"], student, teacher)
    assert len(found) == 20 and [line["kind"] for line in found] == ["lost"] * 15 + ["gained"] * 5
    assert (found[0]["label"], found[0]["reference"], found[0]["subject"]) == ("no", "no", "yes")
    assert found[0]["text"].startswith("text ") and len(found[0]["text"]) == 300
    assert flips(rows, ["no", "yes"], teacher, teacher) == []


def test_a_flipped_word_is_named() -> None:
    """Of a tagged sentence one must see which word it was."""
    rows = [{"tokens": ["Ada", "left", "Rome"], "tags": [1, 0, 1]}]
    right, wrong = (
        Answers([np.eye(2, dtype=np.float32)[said]], [np.arange(3)], [gold_of(rows[0], np.arange(3))])
        for said in ([1, 0, 1], [1, 0, 0])
    )
    labels = ["other", "name"]
    teacher, student = (scored(Tag(), rows, answers, labels, 5) for answers in (right, wrong))
    (line,) = flips(rows, labels, student, teacher)
    assert line["word"] == "Rome" and line["text"] == "Ada left Rome"
    assert (line["label"], line["subject"]) == ("name", "other")


def test_outputs_are_those_of_timed_predict_requests(tmp_path: Path) -> None:
    """Outputs of another session, batch or padding than the timed one may be other outputs (int8 scales by batch)."""
    student = Student.load(make_model(tmp_path / "model"), threads=1)
    seen: list[tuple[int, ...]] = []
    run = student.engine.run
    student.engine.run = lambda batch: (seen.append(batch["input_ids"].shape), run(batch))[1]  # type: ignore[method-assign]
    state = State(rows=[row["text"] for row in ROWS], loaded=student)
    made = outputs.answer(state, [[4, 0], [2, 1], [5, 3]], str(tmp_path / "out.npz"))
    assert len(made["durations"]) == 3 and min(made["durations"]) > 0
    assert seen == [(2, 11), (2, 6), (2, 6)], "one padded batch for each request, to its longest text"
    answers = answers_of([tmp_path / "out.npz"], None, ROWS)
    predicted = [student.labels.index(one.label) for one in student.predict(state.rows)]  # type: ignore[union-attr]
    assert [int(one.argmax(-1)[0]) for one in answers.outputs] == predicted == [row["label"] for row in ROWS]


def test_int8_is_scored_as_an_app_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scored in batches, an int8 student pays for its neighbours, which no app that calls `predict` does."""
    student = Student.load(make_model(tmp_path / "model"), threads=1)
    seen: list[int] = []
    run = student.engine.run
    student.engine.run = lambda batch: (seen.append(len(batch["input_ids"])), run(batch))[1]  # type: ignore[method-assign]
    state = State(rows=[row["text"] for row in ROWS], loaded=student)
    for mixes, together, expected in ((True, False, [1, 1]), (True, True, [2]), (False, False, [2])):
        monkeypatch.setattr(type(student.engine), "mixes_rows", mixes)
        seen.clear()
        outputs.answer(state, [[4, 0]], str(tmp_path / "out.npz"), together=together)
        assert seen == expected


class Stub:
    """A subject that cannot answer more than `most` texts at once."""

    name, ok = "stub", True

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, [0]
        self.private: dict[str, Any] = {"files": []}

    def call(self, function: str, allow: float = 0.0, **given: Any) -> dict[str, list[float]]:
        if max(map(len, given["rows"])) > self.most:
            raise RequestError("out of memory")
        self.asked = [len(one) for one in given["rows"]]
        return {"durations": [0.1] * len(given["rows"])}


def test_requests_that_do_not_fit_are_halved(tmp_path: Path) -> None:
    """A batch that is too large for one subject must not leave it without a score, nor end the benchmark."""
    desk: Any = type("Desk", (), {"work": tmp_path})()
    stub: Any = Stub(most=2)
    durations = probe._answer(desk, stub, [[0, 1, 2, 3, 4], [5]], True)
    assert sum(stub.asked) == 6 and max(stub.asked) <= 2 and len(stub.asked) == len(durations)
    assert len(stub.private["files"]) == 1, "what was asked in vain left nothing behind"
    with pytest.raises(RequestError):
        probe._answer(desk, Stub(most=0), [[0, 1]], True)  # type: ignore[arg-type]


def test_nan_is_told_apart_from_a_score() -> None:
    """A model that gives NaN must be named as such: argmax of NaN is the first label, and half of them are right."""
    _, rows, answers, labels = case("classify")
    answers.outputs[3][0, 0] = np.nan
    with pytest.raises(JobError, match="NaN"):
        scored(Classify(), rows, answers, labels, 5)
