"""Tiny float students of every family and task, with their corpora, and steps run on them as a recipe does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from compress.core.artifact import ArtifactWriter
from compress.core.reporter import Reporter
from compress.corpora.corpus import write_splits
from compress.steps.base import Context, Step
from compress.train.folder import save_student

WORDS = [f"word{number}" for number in range(120)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LONGEST = 32
TASKS: dict[str, dict[str, Any]] = {
    "classify": {"text": "text", "text_pair": None, "label": "label"},
    "pair": {"text": "text", "text_pair": "text_pair", "label": "label"},
    "regress": {"text": "text", "text_pair": None, "target": "score"},
    "tag": {"tokens": "tokens", "tags": "tags"},
    "mask": {"text": "text", "share": 0.3},
    "multilabel": {"text": "text", "text_pair": None, "labels": "labels", "separator": None},
    "answer": {"question": "question", "context": "context", "answers": "answers", "stride": 4, "longest": 3},
    "embed": {
        "text": "text", "text_pair": "text_pair", "target": "score", "lowest": 0.0, "highest": 1.0,
        "pooling": "mean", "normalize": True, "temperature": 0.05,
    },
}  # fmt: skip
LABELS = {
    "classify": ["bad", "good"],
    "pair": ["no", "yes", "perhaps"],
    "tag": ["O", "B-X", "I-X"],
    "multilabel": ["a", "b", "c"],
}
OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "albert": (AlbertConfig, {"embedding_size": 16}),
    "electra": (ElectraConfig, {"embedding_size": 16}),
    "mpnet": (MPNetConfig, {"max_position_embeddings": LONGEST + 2}),
    "deberta-v2": (DebertaV2Config, {"relative_attention": True, "pos_att_type": ["p2c"], "share_att_key": True}),
}


class Ears(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Keep a warning."""
        self.warnings.append(text)


def model_of(family: str, task: str, layers: int = 1) -> PreTrainedModel:
    """A random model with weights large enough for its outputs to differ from text to text."""
    vocabulary, heads = len(SPECIAL) + len(WORDS), 2 if task == "answer" else len(LABELS.get(task, [0]))
    shape = {"num_hidden_layers": layers, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    common = {"vocab_size": vocabulary, "pad_token_id": 0, "initializer_range": 0.15, "num_labels": heads}
    if family == "distilbert":
        config: Any = DistilBertConfig(
            n_layers=layers, dim=32, n_heads=4, hidden_dim=64, max_position_embeddings=LONGEST, **common
        )
    elif family == "roberta":
        config = RobertaConfig(**shape, max_position_embeddings=LONGEST + 1, type_vocab_size=1, **common)
    elif family in OTHERS:
        kind, own = OTHERS[family]
        config = kind(**{**shape, "max_position_embeddings": LONGEST, **common, **own})
    else:
        config = BertConfig(**shape, max_position_embeddings=LONGEST, **common)
    kinds: dict[str, Any] = {
        "tag": AutoModelForTokenClassification,
        "mask": AutoModelForMaskedLM,
        "answer": AutoModelForQuestionAnswering,
        "embed": AutoModel,
    }
    torch.manual_seed(3)
    model: PreTrainedModel = kinds.get(task, AutoModelForSequenceClassification).from_config(config)
    model.eval()
    return model


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """Whole words, in the frame of BERT."""
    words = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate([*SPECIAL, *WORDS])}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if family == "bert" else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_input_names=inputs,
        model_max_length=LONGEST,
        **{f"{name}_token": token for name, token in names.items()},
    )


def rows_of(task: str, count: int = 40) -> list[dict[str, Any]]:
    """Rows of 1 to 20 words with random labels."""
    draw = random.Random(5)
    made = []
    for _ in range(count):
        words = draw.choices(WORDS, k=draw.randint(1, 20))
        text = " ".join(words)
        label = draw.randrange(len(LABELS.get(task, [0])))
        made.append(
            {
                "classify": {"text": text, "label": label},
                "pair": {"text": text, "text_pair": " ".join(draw.choices(WORDS, k=3)), "label": label},
                "regress": {"text": text, "score": draw.random()},
                "tag": {"tokens": words, "tags": [draw.choice((0, 0, 1)) for _ in words]},
                "mask": {"text": text},
                "multilabel": {"text": text, "labels": [int(draw.random() < 0.4) for _ in range(3)]},
                "answer": {
                    "question": " ".join(draw.choices(WORDS, k=2)),
                    "context": text,
                    "answers": [{"text": words[-1], "answer_start": len(text) - len(words[-1])}],
                },
                "embed": {"text": text, "text_pair": " ".join(draw.choices(WORDS, k=5)), "score": draw.random()},
            }[task]
        )
    return made


def corpus_of(folder: Path, task: str) -> Path:
    """A Corpus artifact for the task."""
    writer = ArtifactWriter(folder)
    rows = write_splits(writer.open(), {"train": rows_of(task), "dev": rows_of(task)})
    about = {"task": named(task), "labels": LABELS.get(task, []), "rows": rows, "slices": False}
    return writer.commit({"kind": "Corpus", "key": "k", "about": about})


def student_of(folder: Path, family: str, task: str) -> Path:
    """A float student artifact for the task."""
    writer = ArtifactWriter(folder)
    about = save_student(
        model_of(family, task), tokenizer_of(family), writer.open(), task=named(task),
        labels=LABELS.get(task, []), max_length=24, golden_rows=rows_of(task)[:3],
    )  # fmt: skip
    return writer.commit({"kind": "Model", "key": "m", "about": about, "measured": {}})


def named(task: str) -> dict[str, Any]:
    """The task as a corpus names it."""
    return {"classify" if task == "pair" else task: TASKS[task]}


def run_step(step: Step, out: Path, reporter: Reporter, *, seed: int = 7, **inputs: Path) -> Path:
    """Run a step the way the pipeline does and write its artifact."""
    writer = ArtifactWriter(out)
    folders = {f"${name}": folder for name, folder in inputs.items()}
    context = Context(out.name, folders, writer.open(), out.parent / f"{out.name}-work", seed, reporter)
    step.run(context)
    manifest = {"kind": step.kind, "key": "q", "about": context.about, "measured": context.measured}
    return writer.commit(manifest)
