"""Every recipe of configs/smoke runs whole, and a second run does nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from compress.core.artifact import verify
from compress.core.reporter import Reporter
from compress.pipeline.recipe import load_recipe
from compress.pipeline.run import run
from compress.report.render import make_report
from compress.runtime.student import Student

ROOT = Path(__file__).resolve().parents[2]
SMOKE = [
    pytest.param(path, id=path.stem, marks=() if path.stem.startswith("classify") else pytest.mark.slow)
    for path in sorted((ROOT / "configs" / "smoke").glob("*.yaml"))
]
TEXT = (
    "Anna visits Paris with Bob in spring and likes Rome the old town has many small streets where people walk to eat "
    "soup or drink wine under tall trees until dark"
)
WORDS = tuple(TEXT.split())
NAMES = {"Anna": "B-PER", "Bob": "B-PER", "Paris": "B-LOC", "Rome": "B-LOC"}


class Notes(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)


def data_for(name: str, folder: Path) -> Path:
    """Rows that the recipe's task can be run on."""
    draw = random.Random(5)
    splits = (("train", 96), ("dev", 32), *([("unlabeled", 32)] if name.startswith("rank") else []))
    for split, count in splits:
        rows = []
        for number in range(count):
            words = draw.choices(WORDS, k=4) + draw.choices(list(NAMES), k=2)
            if name.startswith("tag"):
                rows.append({"tokens": words, "tags": [NAMES.get(word, "O") for word in words]})
            elif name.startswith("multilabel"):
                rows.append({"text": " ".join(words), "labels": sorted({word for word in words if word in NAMES})})
            elif name.startswith("answer"):
                rows.append(question(words + draw.choices(WORDS[4:], k=draw.choice((4, 24)))))
            elif name.startswith("rank"):
                rows.append(candidate(split, number // 4, number % 4, draw))
            else:
                other = draw.choices(WORDS, k=6)
                score = 5.0 * len(set(words) & set(other)) / 6
                rows.append({"text_a": " ".join(words), "text_b": " ".join(other), "score": score})
        folder.mkdir(exist_ok=True)
        if name.startswith("answer"):
            (folder / f"{split}.json").write_text(json.dumps({"data": [{"title": "", "paragraphs": rows}]}))
            continue
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def candidate(split: str, query: int, worth: int, draw: random.Random) -> dict[str, Any]:
    """A passage that is worth as much as it has names, and the query that it competes for."""
    words = draw.choices(list(NAMES), k=worth) + draw.sample([word for word in WORDS if word not in NAMES], k=5)
    draw.shuffle(words)
    row = {"query": f"who likes {WORDS[query % 12]}", "passage": " ".join(words), "query_id": f"{split}-{query}"}
    return row if split == "unlabeled" else {**row, "score": worth}


def question(words: list[str]) -> dict[str, Any]:
    """A paragraph of SQuAD that asks for the first person or place in it."""
    context = " ".join(words)
    name = next(word for word in words if word in NAMES)
    answers = [{"text": name, "answer_start": context.index(name)}]
    return {"context": context, "qas": [{"id": context[:9], "question": "who or where?", "answers": answers}]}


@pytest.mark.parametrize("path", SMOKE)
def test_smoke_recipe(path: Path, tmp_path: Path) -> None:
    """Prevents a verb, a task or a family that works alone and not in a recipe; and work that is done twice."""
    data = data_for(path.stem, tmp_path / "data")
    overrides = [f"settings.data={data}"] if "settings:" in path.read_text() else []
    recipe = load_recipe(path, overrides)
    store = run(recipe, tmp_path / "run")
    for name, step in recipe.steps.items():
        manifest = verify(store.folder(name), step.kind)
        assert manifest["step"] == name
        if step.kind == "Model" and manifest["about"].get("trained_head", True):
            student = Student.load(store.folder(name))
            student.verify()
    again = Notes()
    run(recipe, tmp_path / "run", again)
    assert len(again.said) == len(recipe.steps) and all("done before" in said for said in again.said)
    made = make_report(tmp_path / "run")
    assert all(Path(place).stat().st_size for place in made.values())
