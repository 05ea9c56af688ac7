"""Movement (Sanh, Wolf, Rush 2020, arXiv 2005.07683): scores that a distillation with `gates: movement` has learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import InputError
from compress.importance.base import IMPORTANCES, Evidence, Importance, Scores

FILE = "movement.safetensors"
GATES = ".gates"
_FIRST = "distil it first with `gates: {movement: {heads: 0.5, ffn: 0.5}}`"


@IMPORTANCES.register("movement")
class Movement(Importance):
    """How far the weights of a head or neuron moved away from 0 while the student trained, less how far towards it.

    The scores lie in the folder of a student that was distilled with `gates: movement`. What its gates had shut at the
    end, and whose weights are 0 since, counts nothing, so that the same shares take exactly that out.
    """

    paper: ClassVar[str] = "Sanh, Wolf, Rush 2020, arXiv 2005.07683"
    parts: ClassVar[frozenset[str]] = frozenset({"heads", "neurons"})

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """`[h]` of every attention, `[f]` of every feed-forward. Raises InputError for a model without these scores."""
        stored = evidence.stored
        if not stored:
            raise InputError(
                f"movement: the model has no {FILE}, the scores of a training; {_FIRST}, or prune by another"
            )
        self.check(wanted, evidence)
        structure = structure_of(model)
        heads = {block.name: block.heads for block in structure.attention_blocks(model)}
        neurons = {block.name: block.neurons for block in structure.ffn_blocks(model)}
        _check_whole({**heads, **neurons}, stored)
        found = Scores()
        if "heads" in wanted:
            found.heads = _scores("heads", heads, stored)
        if "neurons" in wanted:
            found.neurons = _scores("ffn", neurons, stored)
        return found


def store_scores(folder: Path, scores: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> None:
    """Write the scores and the gates (1 kept, 0 shut) of every block, by its name, into a model's folder."""
    held = {**scores, **{f"{name}{GATES}": value for name, value in gates.items()}}
    save_file({name: value.detach().float().cpu().contiguous() for name, value in held.items()}, folder / FILE)


def stored_scores(folder: Path) -> dict[str, Tensor]:
    """What `store_scores` wrote, for `Evidence.stored`; {} for a folder without. Raises InputError when damaged."""
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or damaged ({error}); run the distillation again") from error


def _check_whole(sizes: Mapping[str, int], stored: Mapping[str, Tensor]) -> None:
    """Raises InputError for scores of other blocks than the model's: layers that went would shift their names."""
    here = {name: len(value) for name, value in stored.items() if not name.endswith(GATES)}
    other = [name for name, count in here.items() if sizes.get(name) != count]
    if other:
        now = f"{sizes[other[0]]} parts there" if other[0] in sizes else "no such block"
        raise InputError(
            f"movement: the training left {here[other[0]]} scores for {other[0]}, and the model has {now}: it was cut "
            "since. Prune heads and ffn by movement first, in one step, and the rest by other criteria after it"
        )


def _scores(kind: str, sizes: Mapping[str, int], stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each block's scores, 0 for what is shut and above it for what is not."""
    missing = [name for name in sizes if name not in stored]
    if missing:
        raise InputError(f"movement: its training had no gates on {kind} ({missing[0]}); {_FIRST}, or prune by another")
    opened = {name: stored[f"{name}{GATES}"] > 0 for name in stored if not name.endswith(GATES)}
    values = torch.cat([stored[name][own] for name, own in opened.items()])
    low, span = float(values.min()), float(values.max() - values.min())
    # Importance is what a model would lose, so it is never negative: the shut lose nothing, the others some part of it.
    raised = {name: stored[name] - low + (1e-3 * span or 1.0) for name in sizes}
    return {name: torch.where(opened[name], value, 0.0) for name, value in raised.items()}
