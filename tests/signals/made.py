"""A teacher of random weights, ragged rows, and a store of what it says about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress.signals.content import Keys, batch_keys
from compress.signals.keep import Dtype, Keep, Kept
from compress.signals.maker import Look, Maker, looking, probe
from compress.signals.origin import Origin
from compress.signals.ranks import Ranks
from compress.signals.store import Facts, Signals, open_shards
from compress.tasks.classify import Classify
from compress.tasks.features import Feature, collator
from tests.models import tiny

TASK = Classify()
COLLATE = collator(TASK, 0)
EVERYTHING = Keep(hidden=[0, 2], attention=[2], values=[1], embedding=True)


def rows(count: int, seed: int = 0, longest: int = 12) -> list[Feature]:
    """Rows of 3 to `longest` tokens, all different, with labels."""
    draw = torch.Generator().manual_seed(seed)
    made: dict[tuple[int, ...], Feature] = {}
    while len(made) < count:
        length = int(torch.randint(3, longest + 1, (1,), generator=draw))
        ids = torch.randint(5, 50, (length,), generator=draw).tolist()
        made[tuple(ids)] = {"input_ids": ids, "labels": len(made) % 3}
    return list(made.values())


def origin(**other: Any) -> Origin:
    """Where the store comes from."""
    given = {
        "teacher": "t" * 64,
        "tokenizer": "k" * 64,
        "max_length": 12,
        "task": {"classify": {}},
        "precision": "fp32",
    }
    return Origin(**{**given, **other})


@contextmanager
def look_of(kept: Kept, model: Any = None) -> Iterator[Look]:
    """A two-layer teacher that looks at batches."""
    with looking(
        model or tiny("bert", layers=2), kept.wanted, read=TASK.read, pool=TASK.pool, device=torch.device("cpu"),
        precision="fp32", longest=64,
    ) as look:  # fmt: skip
        yield look


def maker_of(folder: Path, look: Look, kept: Kept, features: list[Feature], ranks: Ranks | None = None) -> Maker:
    """A maker in `folder` with batches of 4."""
    form = probe(look, COLLATE, features, kept)
    return Maker(folder, origin(), kept, look, COLLATE, form, 4, ranks or Ranks())


def store_of(
    folder: Path, features: list[Feature], keep: Keep = EVERYTHING, dtype: Dtype = "fp32", model: Any = None
) -> Signals:
    """A store of what the teacher says about the rows."""
    kept = keep.of(2, dtype)
    with look_of(kept, model) as look:
        maker = maker_of(folder, look, kept, features)
        names = maker.make(features, len(features), "rows")
    return open_shards(folder, names, Facts(origin(), kept, maker.form, 2, 16))


def keys_of(features: list[Feature]) -> Keys:
    """Keys of rows, each as it stands alone."""
    return np.concatenate([batch_keys(batch_of([feature])) for feature in features])


def batch_of(features: list[Feature], **others: Any) -> dict[str, Any]:
    """A padded batch."""
    return {**COLLATE(features, torch.Generator()), **others}
