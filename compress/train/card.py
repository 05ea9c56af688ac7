"""The model card of a student folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PIPELINES = {
    "classify": "text-classification",
    "regress": "text-classification",
    "tag": "token-classification",
    "mask": "fill-mask",
    "multilabel": "text-classification",
    "embed": "sentence-similarity",
}
_EXAMPLES: dict[str, list[Any]] = {
    "tag": [["Some", "words"]],
    "answer": [{"question": "Who wrote it?", "context": "It was written by Ann."}],
}


def write_card(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `README.md`: what the model does, its shape and size, its labels, how to use and check it."""
    (folder / "README.md").write_text(card(about), encoding="utf-8")


def card(about: Mapping[str, Any]) -> str:
    """The card's text, made from a manifest's `about` alone."""
    (task,) = about["task"]
    engine, facts = next(iter(about["engine"].items()))
    pipeline = _PIPELINES.get(task, "")
    head = [
        "---",
        "library_name: transformers",
        *([f"pipeline_tag: {pipeline}"] if pipeline else []),
        "tags: [stillroom]",
    ]
    shape, counts = about.get("architecture", {}), about.get("parameters", {})
    lines = [
        *head,
        "---",
        "",
        f"# A {about.get('family', 'transformer')} model for the task `{task}`",
        "",
        "Made by [Stillroom](https://pypi.org/project/stillroom/). `manifest.json` beside this file tells the recipe "
        "step, data and machine that it came from, and what was measured.",
        "",
        "| | |",
        "|---|---|",
        f"| shape | {', '.join(f'{name} {value:,}' for name, value in shape.items())} |",
        f"| parameters | {', '.join(f'{name} {value:,}' for name, value in counts.items())} |",
        f"| engine | {engine}, {facts.get('dtype', 'float32')} |",
        f"| longest input | {about['max_length']} tokens |",
    ]
    if about.get("labels"):
        lines.append(f"| labels | {', '.join(f'`{name}`' for name in about['labels'])} |")
    return "\n".join(
        [*lines, "", *_usage(task, facts.get("file") == "model.safetensors", pipeline, bool(about.get("uneven"))), ""]
    )


def _usage(task: str, stock: bool, pipeline: str, uneven: bool) -> list[str]:
    teach = ["import compress  # lets transformers open models of uneven shapes"] if uneven else []
    example = json.dumps(_EXAMPLES.get(task, ["Some text."]))
    lines = ["```python", "from compress import Student", "", 'student = Student.load("this/folder")']
    lines += [
        f"student.{'embed' if task == 'embed' else 'predict'}({example})",
        "student.verify()  # hashes and golden outputs",
        "```",
    ]
    if stock and task == "embed":
        lines += ["", "sentence-transformers opens the folder too.", "", "```python", *teach]
        lines += ["from sentence_transformers import SentenceTransformer", ""]
        lines += ['SentenceTransformer("this/folder").encode(["Some text."])', "```"]
    elif stock and pipeline:
        lines += [
            "",
            "transformers opens the folder too:" if uneven else "It is a stock transformers folder too:",
            "",
            "```python",
            *teach,
            "from transformers import pipeline",
            "",
        ]
        lines += [f'pipeline("{pipeline}", "this/folder")', "```"]
    return lines
