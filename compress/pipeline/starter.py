"""A first recipe for somebody's data: columns, labels and splits are looked at, the rest is the recommended path."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.options import Choice
from compress.corpora.files import FileSource
from compress.corpora.sources.base import SOURCES

LOOKED_AT = 2000
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
PAIRS = (
    ("text", "text_pair"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"),
    ("question", "sentence"), ("question", "passage"), ("query", "document"), ("query", "passage"),
    ("text_a", "text_b"), ("anchor", "positive"), ("query", "positive"),
)  # fmt: skip
LABELS = ("label", "labels", "class", "category", "target", "intent", "sentiment", "gold_label", "y")
SCORES = ("score", "similarity", "rating", "label", "target", "y")
TEXTS = ("text", "sentence", "review", "content", "body", "message", "comment", "utterance", "question", "title")
WORDS = ("tokens", "words", "sentence")
TAGS = ("tags", "ner_tags", "pos_tags", "labels", "label")
LOSS = {
    "classify": "{logits_kl: {temperature: 2}}",
    "multilabel": "logits_bce",
    "regress": "logits_mse",
    "tag": "{logits_kl: {temperature: 2}}",
    "answer": "{logits_kl: {temperature: 2}}",
    "embed": "{hidden_mse: {map: last}}, embedding_cosine",
}
LENGTHS = {"answer": 384}  # tokens; 128 for every other task
AUTO = "auto"
SEPARATORS = ("|", ";", ",")
MOST_LABELS = 200

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Seen:
    """What a look at the data told: how to read it, its splits, and rows of the train split."""

    source: str
    splits: tuple[str, ...]
    columns: list[str]
    rows: Rows


def starter_recipe(data: Path, task: str, teacher: str, name: str) -> tuple[str, list[str]]:
    """The text of a commented recipe for `data` (a file, or a folder with train, dev and test files), and notes on
    what was guessed. Raises InputError when the data cannot be read or no column fits the task."""
    task = detected(data) if task == AUTO else task
    lines, notes = prepare_options(data, task)
    safe = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    filled = TEMPLATE.format(
        name=safe if safe[:1].isalpha() else f"run-{safe}" if safe else "my-run",
        data=data, teacher=_quoted(teacher), prepare="\n".join(lines), loss=LOSS[task],
        length=LENGTHS.get(task, 128),
    )  # fmt: skip
    return filled, notes


def prepare_options(data: Path, task: str) -> tuple[list[str], list[str]]:
    """The YAML lines of a `prepare` step that fits `data`, and notes on what was guessed."""
    task = detected(data) if task == AUTO else task
    if task not in LOSS:
        raise InputError(f"--task {task}: expected one of {', '.join(LOSS)}")
    seen = look(data)
    columns = MAPPINGS[task](seen)
    mapping = ", ".join(f"{field}: {_value(column)}" for field, column in columns.items())
    notes = [
        f"{data}: splits {', '.join(seen.splits)}; columns {', '.join(seen.columns)}",
        f"task: {task} {{{mapping}}}",
    ]
    lines = [f"      source: {{{seen.source}}}", f"      task: {{{task}: {{{mapping}}}}}"]
    lines += _label_lines(seen, str(columns["label"]), notes) if task == "classify" else []
    if "dev" not in seen.splits:
        lines.append("      dev_share: 0.1                   # there is no dev file: a tenth of train is set aside")
        notes.append("no dev split was found: a tenth of train will be used")
    return lines, notes


def detected(data: Path) -> str:
    """The task that the columns leave no doubt about (answers in a context, words with tags, lists of labels), else
    classify."""
    seen = look(data)
    if {"question", "context", "answers"} <= set(seen.columns):
        return "answer"
    lists = [column for column in seen.columns if isinstance(seen.rows[0][column], list)]
    if len(lists) > 1 and any(name in lists for name in WORDS) and any(name in lists for name in TAGS):
        return "tag"
    return "multilabel" if len(lists) == 1 and lists[0].lower() in LABELS else "classify"


def look(data: Path) -> Seen:
    """Find the format, the splits and the first rows of a file or folder."""
    if not data.exists():
        raise InputError(f"--data {data}: no such file or folder")
    files = [data] if data.is_file() else sorted(path for path in data.iterdir() if path.is_file())
    kind = next((FORMATS[path.suffix] for path in files if path.suffix in FORMATS), None)
    if kind is None:
        raise InputError(f"--data {data}: expected {', '.join(FORMATS)} files, found none")
    if kind == "jsonl" and any(path.suffix == ".json" and _is_squad(path) for path in files):
        kind = "squad"
    options = {"train": str(data)} if data.is_file() else {"path": str(data)}
    if kind == "squad":
        options["unanswered"] = "drop"  # version 2 has such questions, which this task cannot learn from
    source = Choice(SOURCES).parse({kind: options})
    assert isinstance(source, FileSource)
    places = source.located()
    if "train" not in places:
        raise InputError(f"--data {data}: expected a train file among {', '.join(sorted(places)) or 'the files'}")
    table = source.read(places["train"][0])
    rows = [dict(row) for row in table.select(range(min(LOOKED_AT, len(table))))]
    if not rows:
        raise InputError(f"{places['train'][0]}: no rows")
    written = ", ".join(f"{key}: {_quoted(value)}" for key, value in options.items())
    return Seen(f"{kind}: {{{written}}}", tuple(places), list(table.column_names), rows)


def _classify(seen: Seen) -> dict[str, str]:
    label = _named(seen, LABELS) or _few_values(seen)
    if label is None:
        raise InputError(f"no column looks like a label (columns: {', '.join(seen.columns)}); write the recipe by hand")
    return {**_texts(seen, label), "label": label}


def _regress(seen: Seen) -> dict[str, str]:
    numbers = [c for c in seen.columns if all(isinstance(row[c], (int, float)) for row in seen.rows)]
    score = next((name for name in SCORES if name in numbers), numbers[0] if numbers else None)
    if score is None:
        raise InputError(f"no column holds only numbers (columns: {', '.join(seen.columns)}); regress needs a score")
    return {**_texts(seen, score), "target": score}


def _tag(seen: Seen) -> dict[str, str]:
    lists = [c for c in seen.columns if isinstance(seen.rows[0][c], list)]
    tokens = next((name for name in WORDS if name in lists), None)
    tags = next((name for name in TAGS if name in lists and name != tokens), None)
    if tokens is None or tags is None:
        raise InputError(
            f"expected a column of words ({', '.join(WORDS)}) and one of tags ({', '.join(TAGS)}), each a list; "
            f"came {', '.join(seen.columns)}"
        )
    return {"tokens": tokens, "tags": tags}


def _multilabel(seen: Seen) -> dict[str, Any]:
    lists = [c for c in seen.columns if all(isinstance(row[c], list) for row in seen.rows)]
    label = next((c for c in seen.columns if c.lower() in LABELS and c in lists), lists[0] if lists else None)
    if label is not None:
        return {**_texts(seen, label), "labels": label}
    label = _named(seen, LABELS)
    separator = next((one for one in SEPARATORS if label and any(one in str(row[label]) for row in seen.rows)), None)
    if label is None or separator is None:
        raise InputError(
            f"no column holds lists of labels, or labels with one of {' '.join(SEPARATORS)} between them (columns: "
            f"{', '.join(seen.columns)}); multilabel needs one"
        )
    return {**_texts(seen, label), "labels": label, "separator": separator}


def _answer(seen: Seen) -> dict[str, Any]:
    lacking = [name for name in ("question", "context", "answers") if name not in seen.columns]
    if lacking:
        raise InputError(f"expected the columns question, context and answers; came {', '.join(seen.columns)}")
    return {}


def _embed(seen: Seen) -> dict[str, Any]:
    numbers = [c for c in seen.columns if all(isinstance(row[c], (int, float)) for row in seen.rows)]
    target = next((name for name in SCORES if name in numbers), None)
    found: dict[str, Any] = _texts(seen, target or "")
    if "text_pair" not in found:
        texts = [c for c in seen.columns if all(isinstance(row[c], str) for row in seen.rows)]
        raise InputError(
            f"embed needs two columns of texts with usual names ({PAIRS[0]}, ...); came {', '.join(texts)}"
        )
    if target is not None:
        values = [float(row[target]) for row in seen.rows]
        found |= {"target": target, "lowest": min(0, math.floor(min(values))), "highest": math.ceil(max(values))}
    return found


MAPPINGS: dict[str, Callable[[Seen], Mapping[str, Any]]] = {
    "classify": _classify,
    "multilabel": _multilabel,
    "regress": _regress,
    "tag": _tag,
    "answer": _answer,
    "embed": _embed,
}


def _texts(seen: Seen, taken: str) -> dict[str, str]:
    """The column of the text, or the two of a pair: by a usual name, else the one with the longest texts."""
    texts = [c for c in seen.columns if c != taken and all(isinstance(row[c], str) for row in seen.rows)]
    for first, second in PAIRS:
        if first in texts and second in texts:
            return {"text": first, "text_pair": second}
    if not texts:
        raise InputError(f"no column holds only text (columns: {', '.join(seen.columns)}); write the recipe by hand")
    longest = max(texts, key=lambda column: sum(len(row[column]) for row in seen.rows))
    return {"text": next((name for name in TEXTS if name in texts), longest)}


def _named(seen: Seen, names: Sequence[str]) -> str | None:
    lowered = {column.lower(): column for column in seen.columns}
    return next((lowered[name] for name in names if name in lowered), None)


def _few_values(seen: Seen) -> str | None:
    """The column with the fewest different values, from 2 to `MOST_LABELS` and far fewer than rows."""
    counts = {c: len({str(row[c]) for row in seen.rows}) for c in seen.columns}
    fitting = [c for c, count in counts.items() if 2 <= count <= min(MOST_LABELS, max(2, len(seen.rows) // 3))]
    return min(fitting, key=lambda column: counts[column], default=None)


def _label_lines(seen: Seen, label: str, notes: list[str]) -> list[str]:
    if any(isinstance(row[label], (list, dict)) for row in seen.rows):
        raise InputError(f"column {label!r} holds lists, not one label a row; for words with tags use --task tag")
    values = sorted({row[label] for row in seen.rows if row[label] is not None}, key=lambda v: (str(type(v)), v))
    shown = ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
    notes.append(f"labels seen: {shown}")
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        names = ", ".join(f"{value}: {_quoted(f'label-{value}')}" for value in values)
        return [f"      label_names: {{{names}}}   # your names for the numbers"]
    return [f"      # labels seen: {shown}"]


def _is_squad(path: Path) -> bool:
    """Whether a file begins as SQuAD's documents do."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        start = stream.read(2000)
    return start.lstrip().startswith("{") and '"paragraphs"' in start


def _value(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else f"{value:g}"


def _quoted(text: str) -> str:
    """Text as YAML takes it inside braces: plain when that is safe, else quoted."""
    plain = text.isidentifier() and text.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    return text if plain else json.dumps(text, ensure_ascii=False)


TEMPLATE = """\
# A student for {data}, with the proof.
#
# Check:    compress check THIS_FILE      every fault at once, nothing is spent
# Run:      compress run THIS_FILE        finished steps are skipped, an interrupted run goes on
# Options:  compress explain step distill (or: loss logits_kl, student tinybert, ...)
name: {name}
seed: 13

steps:
  # The texts: read, checked, and split. The paths are relative to where the command is run.
  corpus:
    prepare:
{prepare}

  # The teacher: fine-tuned in full; the weights with the best dev metric are kept.
  teacher:
    teach:
      corpus: $corpus
      model: {teacher}
      epochs: 3                        # more for less than 5,000 rows
      batch_size: 32
      learning_rate: 3.0e-5
      max_length: {length}                  # tokens; the rest is cut off

  # The student: half of the teacher's layers, trained towards its outputs.
  # Smaller and from other shapes: student: {{tinybert: {{layers: 4, width: 312, heads: 12, ffn: 1200}}}}
  student:
    distill:
      corpus: $corpus
      teacher: $teacher
      student: {{distilbert: {{layers: half, map: uniform}}}}
      losses: [{loss}]
      epochs: 3
      batch_size: 32
      learning_rate: 1.0e-4            # a student bears more than a teacher

  # Eight bits for weights and embeddings: about a quarter of the size, for onnxruntime.
  int8:
    quantize:
      model: $student
      corpus: $corpus
      method: {{onnx: {{scheme: dynamic}}}}

  # The proof: quality, latency, size and memory of each, the first one is the reference.
  speed:
    bench:
      models: [$teacher, $student, $int8]
      corpus: $corpus
"""
