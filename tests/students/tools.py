"""A tokenizer for tiny models, and student folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compress.train.folder import save_student

TASKS: dict[str, dict[str, Any]] = {
    "classify": {"classify": {"text": "text", "text_pair": None, "label": "label"}},
    "tag": {"tag": {"tokens": "tokens", "tags": "tags"}},
    "mask": {"mask": {"text": "text", "share": 0.15}},
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text": "w3 w20 w1"}, {"text": "w9"}],
    "tag": [{"tokens": ["w3", "w20", "w1"]}, {"tokens": ["w9"]}],
    "mask": [{"text": "w3 w20 w1"}, {"text": "w9"}],
}


def tokenizer_for(model: PreTrainedModel, words: int = 45) -> PreTrainedTokenizerFast:
    """Whole words `w0`, `w1`, ... and BERT's special tokens, the padding where the model has it."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special.insert(int(model.config.pad_token_id), "[PAD]")
    ids = {word: place for place, word in enumerate([*special, *(f"w{number}" for number in range(words))])}
    made = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
    )  # fmt: skip
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=20, **{f"{name}_token": token for name, token in names.items()}
    )


def saved(model: PreTrainedModel, head: str, folder: Path, tokenizer: Any = None) -> dict[str, Any]:
    """Save as a step does, which loads it again and compares; returns the manifest's facts."""
    names = [] if head == "mask" else [str(model.config.id2label[index]) for index in range(model.config.num_labels)]
    return save_student(
        model, tokenizer or tokenizer_for(model), folder, task=TASKS[head], labels=names, max_length=12,
        golden_rows=ROWS[head],
    )  # fmt: skip
