"""Word tables of which a training moves only the rows that its texts use.

A token that no training text holds gets no gradient, and AdamW leaves a row without moments and gradient where it is.
Still its gradient, two moments and a best, an average and a stored copy take six times its memory, and every update
walks them: for six layers of width 384 and BERT's vocabulary the table is half of the model, of which SST-2 uses 38 %.
So the table's parameter becomes a small one for the time of a training, and what is kept of it is small too. The
weights end as without that, but that unused rows are spared the weight decay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.core.reporter import Reporter
from compress.train.batches import TrainData, draws
from compress.train.bodies import trained_bodies

MOST = 0.8  # of the rows: where more are used, little is saved
AT_ONCE = 256


class UsedRows(nn.Embedding):
    """A table whose parameter `weight` `[u, d]` is the used rows. It becomes one by `__class__`, so that hooks stay.

    place: `[v]`, the row of `weight` of each token, -1 for those that are not trained. rest: `[v, d]`, the table as it
    was, which those are read from.
    """

    place: Tensor
    rest: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        """`[...]` ids to `[..., d]`."""
        place = self.place[ids]
        trained = functional.embedding(place.clamp(min=0), self.weight)
        return torch.where((place >= 0).unsqueeze(-1), trained, functional.embedding(ids, self.rest))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Neither parameters nor buffers, which would be stored with every checkpoint.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.place, self.rest = self.place.to(self.weight.device), self.rest.to(self.weight)
        return self


def used_tokens(data: TrainData) -> frozenset[int] | None:
    """The ids that its batches hold besides padding; None where others are drawn into them, so that any can come."""
    if draws(data.collate, data.features):
        return None
    used: set[int] = set()
    for start in range(0, len(data.features), AT_ONCE):
        batch = data.collate(list(data.features[start : start + AT_ONCE]), torch.Generator())
        used.update(batch["input_ids"][batch["attention_mask"].bool()].tolist())
    return frozenset(used)


@contextmanager
def used_rows(module: nn.Module, tokens: Collection[int] | None, label: str, reporter: Reporter) -> Iterator[None]:
    """Train only these rows of the word tables of the transformers models inside `module`; None: all.

    Left as they are: tables that another part shares (a tied output), that are frozen or no plain `nn.Embedding`, and
    those of which most rows are used. Afterwards each has its own parameter again, with the trained rows in it.
    """
    bodies = [] if tokens is None else trained_bodies(module)
    tables = {id(table): table for body in bodies for table in _tables(module, body)}
    held: list[tuple[nn.Embedding, Tensor, Tensor]] = []
    try:
        for table in tables.values():
            used = _used(table, tokens or ())
            if used:
                held.append((table, table.weight, torch.tensor(used, device=table.weight.device)))
                _begin(*held[-1])
                reporter.note(f"{label}: {len(used)} of {len(held[-1][1])} rows of the word table are used and trained")
        yield
    finally:
        for table, whole, rows in held:
            _end(table, whole, rows)


def _tables(module: nn.Module, body: Any) -> list[nn.Embedding]:
    table = body.get_input_embeddings()
    if type(table) is not nn.Embedding or not table.weight.requires_grad or table.max_norm or table.sparse:
        return []
    owners = sum(value is table.weight for part in module.modules() for value in part._parameters.values())
    return [table] if owners == 1 else []


def _used(table: nn.Embedding, tokens: Collection[int]) -> list[int]:
    """The rows to train, or none when they are not worth it. The padding row never has a gradient."""
    used = sorted(token for token in set(tokens) if token < len(table.weight) and token != table.padding_idx)
    return used if len(used) <= MOST * len(table.weight) else []


def _begin(table: nn.Embedding, whole: Tensor, rows: Tensor) -> None:
    place = torch.full((len(whole),), -1, device=whole.device)
    place[rows] = torch.arange(len(rows), device=whole.device)
    table.__class__ = UsedRows
    thin = cast(UsedRows, table)
    thin.place, thin.rest = place, whole.detach()
    thin.weight = nn.Parameter(whole.detach()[rows])


@torch.no_grad()
def _end(table: nn.Embedding, whole: Tensor, rows: Tensor) -> None:
    if not isinstance(table, UsedRows):
        return  # broken off before it became one
    trained = table.weight.detach()
    if whole.device != trained.device:
        whole.data = whole.data.to(trained.device)
    whole[rows.to(trained.device)] = trained.to(whole.dtype)
    whole.grad = None
    del table.place, table.rest
    cast(Any, table).__class__ = nn.Embedding
    table.weight = cast(nn.Parameter, whole)
