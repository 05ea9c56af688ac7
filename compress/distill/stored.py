"""A teacher that speaks from stored signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.teacher import Teacher
from compress.losses.base import Loss
from compress.signals.arrays import padded, trace_of
from compress.signals.content import batch_keys
from compress.signals.origin import Origin
from compress.signals.store import Signals, empty

POOLING = ("pooling", "normalize")  # options of a task that decide what its outputs are


class StoredTeacher(Teacher):
    """Traces from a store, looked up by the content of each row; rows that it lacks are asked of `live`.

    name: what to call the signals in an error. found, missed: rows that were there and rows that were not.
    """

    def __init__(self, signals: Signals, *, live: Teacher | None = None, name: str = "the signals") -> None:
        self.signals = signals
        self.depth, self.width = signals.facts.depth, signals.facts.width
        self.name = name
        self.found = self.missed = 0
        self._live = live
        self._wanted = Wanted(logits=False)
        self._names: list[str] = []

    def want(self, wanted: Wanted) -> None:
        """Raises InputError, with what to label, when the store lacks something."""
        self.signals.facts.kept.refuse_more(wanted, self.name)
        self._wanted = wanted
        self._names = [name for name, asked in (("logits", wanted.logits), ("embedding", wanted.embedding)) if asked]
        for part, layers in (
            ("hidden", wanted.hidden),
            ("queries", wanted.attention),
            ("keys", wanted.attention),
            ("values", wanted.values),
        ):
            self._names += [f"{part}.{layer}" for layer in sorted(layers)]
        if self._live is not None:
            self._live.want(wanted)

    def trace(self, batch: Mapping[str, Tensor]) -> Trace:
        """Padded float32 states on the batch's device, zero where padding is. Raises InputError for a missing row."""
        mask = batch["attention_mask"].bool()
        places = self.signals.find(batch_keys(batch))
        there = torch.from_numpy(places[:, 0] >= 0)
        states = self._stored(places, there, mask.cpu())
        self.found += int(there.sum())
        if not bool(there.all()):
            self._fill(states, batch, ~there)
        return trace_of(
            {name: state.to(mask.device) for name, state in states.items()}, batch, self.depth, self.signals.facts.form
        )

    def measured(self) -> dict[str, Any]:
        """Where the rows came from, for a manifest."""
        return {"mode": "stored", "asked": "signals", "rows_found": self.found, "rows_computed": self.missed}

    def close(self) -> None:
        """Take the hooks off the live model, when there is one."""
        if self._live is not None:
            self._live.close()

    def _stored(self, places: np.ndarray, there: Tensor, mask: Tensor) -> dict[str, Tensor]:
        states = {name: empty(self.signals, name, *mask.shape) for name in self._names}
        read = self.signals.read(places[there.numpy()], self._names)
        rows = there.nonzero().squeeze(1)
        tokens = (mask & there[:, None]).flatten().nonzero().squeeze(1)
        for name, values in read.items():
            if self.signals.by_token(name):
                states[name].flatten(0, 1).index_copy_(0, tokens, values)
            else:
                states[name].index_copy_(0, rows, values)
        return states

    def _fill(self, states: dict[str, Tensor], batch: Mapping[str, Tensor], missing: Tensor) -> None:
        rows = len(missing)
        if self._live is None:
            first = int(missing.nonzero()[0])
            ids = batch["input_ids"][first][batch["attention_mask"][first].bool()].tolist()
            raise InputError(
                f"{self.name}: {int(missing.sum())} of {rows} rows of a batch are not there (the first: {len(ids)} "
                f"tokens, {ids[:8]}...); label their split too, or give the teacher so that they are computed"
            )
        self.missed += int(missing.sum())
        chosen = missing.to(batch["input_ids"].device)
        part = {name: value[chosen] for name, value in batch.items() if len(value) == rows}
        for name, state in padded(self._live.trace(part), self._wanted).items():
            states[name][missing] = state.float().cpu()


def check_signals(signals: Signals, mine: Origin, losses: Sequence[Loss], name: str) -> None:
    """Raises InputError for signals of another teacher, tokenizer, length or task, and for largest logits where a
    loss needs all.
    """
    facts = signals.facts
    facts.origin.refuse_other(mine, name)
    compared = [loss for loss in losses if loss.needs_teacher and {"logits", "embedding"} & loss.needs]
    (theirs, how), (own, here) = (next(iter(origin.task.items())) for origin in (facts.origin, mine))
    if compared and (theirs != own or any(how.get(key) != here.get(key) for key in POOLING)):
        made, asked = ("".join(f" {key}={told[key]}" for key in POOLING if key in told) for told in (how, here))
        way_out = "Label this step's corpus, or use losses on hidden states and attention only"
        if theirs == "embed" and own == "regress":
            way_out = (
                "A cross-encoder scores pairs: label the same rows prepared as "
                "`regress: {text: ..., text_pair: ..., group: ...}`"
            )
        raise InputError(
            f"{name}: made for the task {theirs}{made}, and this step's is {own}{asked}; its outputs mean something "
            f"else. {way_out}"
        )
    whole = [loss.registered_name for loss in compared if "logits" in loss.needs and not loss.takes_largest]
    if facts.kept.top is not None and whole:
        raise InputError(
            f"{name}: hold the {facts.kept.top} largest of {facts.form.outputs} logits and the rest's mass, and "
            f"{whole[0]} needs all of them; label again without `top`, or use logits_kl"
        )
