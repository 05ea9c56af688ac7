"""Wrong data."""

from __future__ import annotations

from tests.bad_input.scene import RUN, Case, both, cell, data, edit, put, remove, rows

REGRESS = edit("classify: {text: text, label: label}", "regress: {text: text, target: score}")
TRAIN = "data/train.jsonl"

CASES = [
    Case(
        "a data folder that is not there",
        f"{RUN} --set steps.corpus.prepare.source.jsonl.path=dta",
        ("recipe.yaml:6", "dta: no such folder", "train.jsonl"),
    ),
    Case("no train file", RUN, ("recipe.yaml:6", "data: no train file", "came dev.jsonl", "train:"), remove(TRAIN)),
    Case("no dev file", RUN, ("recipe.yaml:6", "no dev split", "dev_share: 0.1"), remove("data/dev.jsonl")),
    Case(
        "a named file that is not there",
        f"{RUN} --set steps.corpus.prepare.source.jsonl.test=data/tst.jsonl",
        ("recipe.yaml:6", "data/tst.jsonl: no such file"),
    ),
    Case(
        "a missing column",
        RUN,
        ("recipe.yaml:6", f"{TRAIN}: no column 'txt'", 'did you mean "text"?', "label, score"),
        edit("{text: text,", "{text: txt,"),
    ),
    Case(
        "a column that dev lacks",
        RUN,
        ("data/dev.jsonl", "no column 'label'"),
        data([{"text": "fine"}, {"text": "dull"}], "dev"),
    ),
    Case(
        "a misspelt column of the task",
        RUN,
        ("recipe.yaml:7: steps.corpus.prepare.task.classify.lable", 'did you mean "label"?'),
        edit("label: label}", "lable: label}"),
    ),
    Case("an empty train file", RUN, (TRAIN, "empty", "one JSON object per line"), put(TRAIN, "")),
    Case("an empty dev file", RUN, ("data/dev.jsonl", "empty"), put("data/dev.jsonl", "\n\n")),
    Case(
        "one class only",
        RUN,
        (TRAIN, "every row has the label 'good'", "at least two labels"),
        data([row for row in rows(40) if row["label"] == "good"]),
    ),
    Case(
        "a label of dev that train lacks",
        RUN,
        ("data/dev.jsonl: row 3", "'goood' is not a label of train", 'did you mean "good"?', "label_names"),
        cell(2, "label", "goood", "dev"),
    ),
    Case("labels of two types", RUN, (f"{TRAIN}: row 5", "int", "one type"), cell(4, "label", 1)),
    Case(
        "a label that the recipe does not list",
        f'{RUN} --set "steps.corpus.prepare.labels=[good, neutral]"',
        (f"{TRAIN}: row 2", "'bad' is not in the recipe's `labels`", "good, neutral"),
    ),
    Case(
        "a label listed twice",
        f'{RUN} --set "steps.corpus.prepare.labels=[good, bad, good]"',
        ("recipe.yaml:5", "labels: good stands twice"),
    ),
    Case(
        "a row without a label",
        RUN,
        (f"{TRAIN}: row 6: 'label' is missing", "Mend or remove this row"),
        cell(5, "label", None),
    ),
    Case(
        "a row without a text",
        RUN,
        (f"{TRAIN}: row 1: 'text' is missing"[:40], "Mend or remove"),
        cell(0, "text", None),
    ),
    Case("a blank text", RUN, (f"{TRAIN}: row 9", "'text'", "Mend or remove"), cell(8, "text", "   ")),
    Case("a number for a text", RUN, (f"{TRAIN}: row 2", "'text'", "int"), cell(1, "text", 12)),
    Case(
        "NaN for a score",
        RUN,
        (f"{TRAIN}: row 3: 'score' is NaN", "Mend or remove"),
        both(REGRESS, cell(2, "score", float("nan"))),
    ),
    Case(
        "infinity for a score",
        RUN,
        ("data/dev.jsonl: row 2: 'score' is infinite", "Mend or remove"),
        both(REGRESS, cell(1, "score", float("inf"), "dev")),
    ),
    Case("a text for a score", RUN, (f"{TRAIN}: row 4", "'score'"), both(REGRESS, cell(3, "score", "high"))),
    Case(
        "scores taken for labels",
        f"{RUN} --set steps.corpus.prepare.task.classify.label=score",
        (TRAIN, "160 different labels in 160 rows", "is this the label column?", "regress"),
    ),
    Case(
        "texts taken for labels",
        f"{RUN} --set steps.corpus.prepare.task.classify.label=text",
        (TRAIN, "different labels in 64 rows", "is this the label column?"),
        data([{"text": f"row {number}", "label": "x"} for number in range(64)]),
    ),
    Case(
        "a fraction for a label",
        f"{RUN} --set steps.corpus.prepare.task.classify.label=score",
        (f"{TRAIN}: row 1", "0.5 is a fraction", "regress"),
        data([{"text": f"row {number}", "score": number % 4 / 2} for number in range(1, 40)]),
    ),
    Case(
        "half a surrogate pair in a text",
        RUN,
        (f"{TRAIN}: row 2: column 'text'", "not valid Unicode", "mend or remove"),
        cell(1, "text", "a\ud800"),
    ),
    Case(
        "a label past 64 bits",
        RUN,
        (f"{TRAIN}: row 1: column 'label'", "past 64 bits", "write it as a text"),
        data([{"text": f"row {number}", "label": 10**30 + number % 2} for number in range(40)]),
    ),
    Case(
        "a number of thousands of digits",
        RUN,
        (f"{TRAIN}:1: JSON that cannot be read", "digits"),
        put(TRAIN, '{"text": "a", "label": ' + "9" * 5000 + "}\n"),
    ),
    Case(
        "a label name for no label",
        f'{RUN} --set "steps.corpus.prepare.label_names={{goood: fine}}"',
        ("recipe.yaml:5", "label_names: 'goood' is no label of the data", 'did you mean "good"?', "remove it"),
    ),
    Case("a broken line of JSON", RUN, (f"{TRAIN}:2: not JSON", "column 2"), put(TRAIN, '{"text": "a"}\n{text: b}\n')),
    Case("a JSON array", RUN, (f"{TRAIN}:1", "one object per line"), put(TRAIN, '[{"text": "a", "label": "b"}]')),
    Case(
        "a line that is no object", RUN, (f"{TRAIN}:1: expected an object {{...}}, came str",), put(TRAIN, '"text"\n')
    ),
    Case(
        "data that is not UTF-8",
        RUN,
        (f"{TRAIN}:2: not UTF-8 text", "iconv -t utf-8"),
        put(TRAIN, b'{"text": "a", "label": "b"}\n{"text": "\xe4", "label": "c"}\n'),
    ),
    Case(
        "a ragged CSV",
        RUN,
        ("data/train.csv:3: 1 cells where the header has 2", "put quotes"),
        both(
            edit("jsonl:", "csv:"),
            put("data/train.csv", "text,label\na,b\nc\n"),
            put("data/dev.csv", "text,label\na,b\n"),
        ),
    ),
    Case(
        "a column twice in a CSV",
        RUN,
        ("data/train.csv:1", "'text' twice", "rename one"),
        both(
            edit("jsonl:", "csv:"), put("data/train.csv", "text,text\na,b\n"), put("data/dev.csv", "text,label\na,b\n")
        ),
    ),
    Case(
        "a parquet file that is none",
        RUN,
        ("data/train.parquet",),
        both(edit("jsonl:", "parquet:"), put("data/train.parquet", "PAR1"), put("data/dev.parquet", "PAR1")),
    ),
]
