"""Models of known shapes with random weights, on the generated corpus: nothing is downloaded, nothing is trained.

Speed, size and memory depend on the shape, the engine and the number format; what the weights say matters to quality
only, which these models do not have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VOCABULARY = 30_522  # rows of the real tables; the tokenizer of the small corpus uses the first of them
POSITIONS = 512
LONGEST = 128  # tokens that a text may have
SEED = 13


@dataclass(frozen=True)
class Shape:
    """An architecture in numbers. family: `bert` or `distilbert`."""

    name: str
    family: str
    layers: int
    width: int
    heads: int
    ffn: int

    def config(self) -> Any:
        """The transformers config, with two labels."""
        from transformers import BertConfig, DistilBertConfig

        common: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "num_labels": 2}
        if self.family == "distilbert":
            return DistilBertConfig(
                n_layers=self.layers, dim=self.width, n_heads=self.heads, hidden_dim=self.ffn, **common
            )
        return BertConfig(
            num_hidden_layers=self.layers, hidden_size=self.width, num_attention_heads=self.heads,
            intermediate_size=self.ffn, **common,
        )  # fmt: skip


def make_corpus(out: Path) -> Path:
    """A small Corpus artifact of generated reviews, made once."""
    return run_steps(out, CORPUS)["corpus"]


CORPUS = """
  corpus:
    prepare:
      source: {reviews: {rows: 1000, seed: 13}}
      task: {classify: {text: text, label: label}}
"""


def run_steps(out: Path, steps: str) -> dict[str, Path]:
    """Run the steps of a recipe into `out`, skipping those that are done; the folder of each by name."""
    from compress.pipeline.recipe import parse_recipe
    from compress.pipeline.run import run

    recipe = parse_recipe(f"name: shapes\nseed: {SEED}\nsteps:{steps}")
    store = run(recipe, out)
    return {name: store.folder(name) for name in recipe.steps}


def make_model(shape: Shape, folder: Path, corpus: Path) -> Path:
    """A float32 student folder of this shape with random weights and a WordPiece tokenizer of the corpus, made once."""
    from transformers import AutoModelForSequenceClassification, set_seed

    from compress.core.artifact import MANIFEST, ArtifactWriter
    from compress.corpora.corpus import Corpus
    from compress.corpora.running_text import corpus_texts
    from compress.corpora.tokenizers.wordpiece import WordPiece
    from compress.train.folder import save_student

    if (folder / MANIFEST).is_file():
        return folder
    opened = Corpus.open(corpus)
    tokenizer = WordPiece().train(corpus_texts(opened), LONGEST)
    set_seed(SEED)
    model = AutoModelForSequenceClassification.from_config(shape.config())
    writer = ArtifactWriter(folder)
    rows = [{"text": row["text"]} for row in opened.texts("dev")[:4]]
    about = save_student(
        model, tokenizer, writer.open(), task=opened.task, labels=opened.labels, max_length=LONGEST, golden_rows=rows
    )
    return writer.commit({"kind": "Model", "step": "random", "key": shape.name, "about": about, "measured": {}})


def yaml_text(path: Path) -> str:
    """A path as a YAML string."""
    return json.dumps(str(path))
