"""Data that does not fit the tasks multilabel, answer and embed."""

from __future__ import annotations

from typing import Any

from tests.bad_input.scene import RUN, Case, Change, both, data, edit, rows

TRAIN = "data/train.jsonl"
ELSEWHERE = f"{RUN} --out runs/other"  # for data that is sound by itself, so that the first step is done


def task(written: str) -> Change:
    """Another task in the recipe."""
    return edit("classify: {text: text, label: label}", written)


def asked(train: int = 30, **change: Any) -> Change:
    """Questions over the rows of the scene; the first row of train is changed."""

    def row(one: dict[str, Any]) -> dict[str, Any]:
        answers = [{"text": one["text"].split()[1], "answer_start": 4}]
        return {"question": "what was it?", "context": one["text"], "answers": answers}

    made = [row(one) for one in rows(train)]
    return both(
        task("answer: {}"), data([{**made[0], **change}, *made[1:]]), data([row(one) for one in rows(8)], "dev")
    )


CASES = [
    Case(
        "labels that are no list",
        RUN,
        (f"{TRAIN}: row 1: column 'label': expected a list of labels, came str 'good'", "`separator`", "classify"),
        task("multilabel: {text: text, labels: label}"),
    ),
    Case(
        "a blank label among others",
        RUN,
        (f"{TRAIN}: row 1: 'labels' is blank at position 2",),
        both(
            task("multilabel: {text: text}"),
            data([{"text": f"row {n}", "labels": ["a", " "] if n == 0 else ["b"]} for n in range(9)]),
            data([{"text": "row", "labels": ["b"]}], "dev"),
        ),
    ),
    Case(
        "a label set of dev that train lacks",
        RUN,
        ("data/dev.jsonl: row 1: the label 'bb' is not a label of train", 'did you mean "b"?'),
        both(
            task("multilabel: {text: text}"),
            data([{"text": f"row {n}", "labels": ["a", "b"][: n % 3]} for n in range(30)]),
            data([{"text": "row", "labels": ["bb"]}], "dev"),
        ),
    ),
    Case(
        "an answer that does not stand there",
        RUN,
        (f"{TRAIN}: row 1", "'film' does not stand at character 3 of the context", "Mend or remove this row"),
        asked(answers=[{"text": "film", "answer_start": 3}]),
    ),
    Case("an empty context", RUN, (f"{TRAIN}: row 1: 'context' is blank",), asked(context=" ")),
    Case("answers that are null", RUN, (f"{TRAIN}: row 1: 'answers' is missing (null)",), asked(answers=None)),
    Case(
        "a question longer than max_length",
        ELSEWHERE,
        ("row 1: the question has", "with max_length 16", "Raise max_length, or shorten the question"),
        asked(question="what was it? " * 9),
    ),
    Case(
        "a pooling that does not exist",
        RUN,
        ("recipe.yaml:7: steps.corpus.prepare.task.embed.pooling", "'mean', 'cls' or 'max'"),
        task("embed: {text: text, text_pair: label, pooling: median}"),
    ),
    Case(
        "texts to embed that are not there",
        RUN,
        (f"{TRAIN}: no column 'sentence'", "it has: label, score, text"),
        task("embed: {text: sentence}"),
    ),
    Case(
        "a teacher of embeddings from single texts",
        ELSEWHERE,
        ("single texts, from which nothing can be learnt", "text_pair"),
        task("embed: {text: text}"),
    ),
    Case(
        "a column of queries that is not there",
        RUN,
        (f"{TRAIN}: no column 'query'", "it has: label, score, text"),
        task("regress: {text: text, target: score, group: query}"),
    ),
    Case(
        "scores whose scale is not said",
        RUN,
        ("steps.corpus.prepare.task.embed", "highest: say which number in `target`"),
        task("embed: {text: text, text_pair: label, target: score}"),
    ),
    Case(
        "a score past its scale",
        RUN,
        (f"{TRAIN}: row 16: column 'score': 2.14286 is not between lowest (0) and highest (2)", "Mend or remove"),
        task("embed: {text: text, text_pair: label, target: score, highest: 2}"),
    ),
]
