"""A model of a few hundred numbers, made by hand in ONNX, and a corpus for it: no torch, no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from compress.core.artifact import ArtifactWriter
from compress.corpora.corpus import write_splits

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "the", "was", "plot"]
ROWS = [
    {"text": "a good film", "label": 1},
    {"text": "the plot was bad", "label": 0},
    {"text": "good", "label": 1},
    {"text": "bad film", "label": 0},
    {"text": "the film was good , the plot was good", "label": 1},
    {"text": "a bad bad plot", "label": 0},
]


def make_model(folder: Path, labels: tuple[str, ...] = ("bad", "good"), sign: float = 1.0) -> Path:
    """A bag-of-words classifier: "good" counts for the second label, "bad" for the first. sign -1 says the opposite."""
    folder.mkdir(parents=True)
    table = np.zeros((len(WORDS), 2), dtype=np.float32)
    table[4], table[5] = (0, sign), (sign, 0)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["bert.embeddings.word_embeddings.weight", "input_ids"], ["vectors"]),
            helper.make_node("ReduceSum", ["vectors", "axes"], ["total"], keepdims=0),
            helper.make_node("MatMul", ["total", "classifier.weight"], ["logits"]),
        ],
        "bag",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])],
        [
            numpy_helper.from_array(table, "bert.embeddings.word_embeddings.weight"),
            numpy_helper.from_array(np.array([1]), "axes"),
            numpy_helper.from_array(np.eye(2, dtype=np.float32), "classifier.weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "max_position_embeddings": 32,
        "id2label": dict(enumerate(labels)),
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    settings = {"model_input_names": ["input_ids", "attention_mask"], "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_corpus(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """A classify corpus with a dev split."""
    writer = ArtifactWriter(folder)
    out = writer.open()
    counts = write_splits(out, {"train": ROWS, "dev": ROWS if rows is None else rows})
    about = {"task": {"classify": {}}, "labels": ["bad", "good"], "rows": counts, "slices": False}
    return writer.commit({"kind": "Corpus", "key": "k", "about": about})
