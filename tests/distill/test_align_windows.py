"""Rows that a task reads in windows, with scores over tokens, as extractive answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.trace import Trace
from compress.distill.align import OWN, Interpreter
from compress.distill.pooling import LOWEST
from compress.distill.teacher import Teacher
from compress.tasks.base import Features
from compress.tasks.batch import pad
from compress.tasks.classify import Classify
from compress.tasks.features import collator
from tests.distill.tokens import byte_pieces, word_pieces


class Windows(Classify):
    """Questions with contexts in windows of `max_length`; outputs `[b, 2]`, labels a start and an end token."""

    registered_name: ClassVar[str] = "windows"
    output: ClassVar[str] = "span"
    token_level: ClassVar[bool] = True

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        tokenizer(list(rows["text"]), add_special_tokens=False)  # a look that the features do not come from
        encoded = tokenizer(
            list(rows["text"]), list(rows["text_pair"]), truncation="only_second", max_length=max_length,
            return_overflowing_tokens=True,
        )  # fmt: skip
        return {"input_ids": encoded["input_ids"], "labels": [[3, 4] for _ in encoded["input_ids"]]}

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        batch = pad(features, pad_id)
        labels = torch.tensor([row["labels"] for row in features])
        return {**batch, "outputs": torch.ones(len(features), 2, dtype=torch.bool), "labels": labels}


class Said(Teacher):
    """Says these logits `[b, 2, t]` of any batch."""

    depth, width = 1, 4

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def want(self, wanted: Wanted) -> None:
        """Anything."""

    def trace(self, batch: Mapping[str, Tensor]) -> Trace:
        return Trace(mask=batch["attention_mask"].bool(), logits=self.logits, outputs=batch["outputs"])

    def close(self) -> None:
        """Nothing to let go."""


def test_windows_meet_the_teachers_window_of_the_same_text() -> None:
    """Prevents a window of the student beside the teacher's of another part, and scores of tokens beside each other."""
    mine, theirs = word_pieces(), byte_pieces()
    rows = [{"text": "a", "text_pair": "the cafe was lovely the world"}, {"text": "b", "text_pair": "stop"}]
    interpreter = Interpreter(Windows(), mine, theirs, 16)
    wanted = Wanted(logits=True)
    assert interpreter.compares_tokens(wanted)
    features = interpreter.paired(rows, 7, wanted)
    # [CLS] a [SEP] and three words a window: "the cafe was", "lovely the world"; then the second row.
    assert [mine.decode(one["input_ids"]) for one in features] == [
        "[CLS] a [SEP] the cafe was [SEP]", "[CLS] a [SEP] lovely the world [SEP]", "[CLS] b [SEP] stop [SEP]",
    ]  # fmt: skip
    told = [theirs.decode(one[OWN]["row"]["input_ids"]) for one in features]
    assert told[0].startswith("<s> a</s></s> the cafe") and "lovely" in told[1] and "stop" in told[2]
    batch = interpreter.pairing(collator(Windows(), 0))(features, torch.Generator())
    logits = torch.zeros(*batch[f"{OWN}input_ids"].shape)[:, None].repeat(1, 2, 1)
    teacher = interpreter.teacher(Said(logits))
    student = Trace(
        mask=batch["attention_mask"].bool(), logits=torch.zeros(3, 2, 7), outputs=batch["outputs"],
        labels=batch["labels"],
    )  # fmt: skip
    one, two = teacher.align(student, batch), teacher.trace(batch)
    assert one.logits is not None and two.logits is not None and one.logits.shape == two.logits.shape
    # In the first window "cafe" is one token of the student and four of the teacher, which all score 0.
    cafe = batch[f"{OWN}spans_mine"][0, 4]
    assert one.logits[0, 0, cafe] == 0 and torch.isclose(two.logits[0, 0, cafe], torch.tensor(4.0).log())
    assert one.labels is not None and one.labels[0].tolist() == batch[f"{OWN}spans_mine"][0, 3:5].tolist()
    hidden = ~batch[f"{OWN}spans"]
    assert hidden.any() and (one.logits.transpose(1, 2)[hidden] == LOWEST).all()
