"""Tiny random models of every family and task, with tokenizers trained on a few sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from compress.core.artifact import ArtifactWriter
from compress.train.folder import save_student

TEXTS = [
    "The film is not bad, but it isn't good either.",
    "Wir sehen uns im Café; it was fun!!  Really...",
    "She said that 12 of 30 plots work (more or less).",
    "naïve plots — and a happy end 😀",
    "good",
]
TASKS: dict[str, dict[str, Any]] = {
    "classify": {"classify": {"text": "text", "text_pair": None, "label": "label"}},
    "pairs": {"classify": {"text": "text", "text_pair": "other", "label": "label"}},
    "regress": {"regress": {"text": "text", "text_pair": None, "target": "score"}},
    "tag": {"tag": {"tokens": "tokens", "tags": "tags"}},
    "mask": {"mask": {"text": "text", "share": 0.15}},
    "multilabel": {"multilabel": {"text": "text", "text_pair": None, "labels": "labels", "separator": None}},
    "answer": {
        "answer": {"question": "question", "context": "context", "answers": "answers", "stride": 128, "longest": 8}
    },
    "embed": {"embed": {"text": "text", "text_pair": "other", "pooling": "mean", "normalize": True}},
}
LABELS = {
    "classify": ["bad", "good", "fair"],
    "pairs": ["no", "yes"],
    "tag": ["O", "B-PER", "I-PER"],
    "multilabel": ["fun", "long", "sad"],
}
HEADS = {"tag": "ForTokenClassification", "mask": "ForMaskedLM", "answer": "ForQuestionAnswering", "embed": "Model"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text": text} for text in TEXTS],
    "pairs": [{"text": text, "text_pair": other} for text, other in zip(TEXTS, reversed(TEXTS), strict=True)],
    "regress": [{"text": text} for text in TEXTS],
    "tag": [{"tokens": text.split()} for text in TEXTS],
    "mask": [{"text": text} for text in TEXTS],
    "multilabel": [{"text": text} for text in TEXTS],
    "answer": [{"question": "was it good?", "context": f"{text} {other}"} for text in TEXTS for other in TEXTS[:2]],
    "embed": [{"text": text, "text_pair": other} for text, other in zip(TEXTS, reversed(TEXTS), strict=True)],
}


def word_piece(size: int = 200) -> Any:
    """A BERT tokenizer trained on TEXTS."""
    bare = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bare.normalizer, bare.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    bare.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special))
    return transformers.BertTokenizer(vocab=bare.get_vocab())


def byte_pairs(size: int = 320) -> Any:
    """A RoBERTa tokenizer trained on TEXTS."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bare.train_from_iterator(TEXTS, trainer)
    merges = json.loads(bare.to_str())["model"]["merges"]
    return transformers.RobertaTokenizer(vocab=bare.get_vocab(), merges=[tuple(pair) for pair in merges])


def model_of(family: str, task: str, tokenizer: Any, labels: Sequence[str] = (), layers: int = 2) -> Any:
    """A random `bert`, `roberta` or `distilbert` of width 32 under the task's head."""
    torch.manual_seed(7)
    name = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert"}[family]
    shape = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "max_position_embeddings": 66}
    if family == "distilbert":
        shape |= {"n_layers": layers, "dim": 32, "n_heads": 4, "hidden_dim": 64}
    else:
        shape |= {"num_hidden_layers": layers, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    if family == "roberta":
        shape["type_vocab_size"] = 1
    config = getattr(transformers, f"{name}Config")(**shape)
    config.num_labels = 2 if task in ("mask", "answer") else len(labels) or 1
    model = getattr(transformers, name + HEADS.get(task, "ForSequenceClassification"))(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)  # far enough from zero that a mistake shows
    return model.eval()


def save(folder: Path, family: str, task: str, tokenizer: Any = None, max_length: int = 24) -> Path:
    """A whole artifact (with manifest) of a tiny model; `task` is a name of TASKS."""
    tokenizer = tokenizer or (byte_pairs() if family == "roberta" else word_piece())
    labels = LABELS.get(task, [])
    model = model_of(family, task, tokenizer, labels)
    writer = ArtifactWriter(folder)
    about = save_student(
        model, tokenizer, writer.open(), task=TASKS[task], labels=labels, max_length=max_length, golden_rows=ROWS[task]
    )
    return writer.commit({"kind": "Model", "step": "test", "key": "0", "about": about, "measured": {}})
