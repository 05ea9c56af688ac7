"""The proof of a cut: the smaller model gives what the masked original gives, and is as small as was planned.

Both run on random tokens with padding, and on given batches, in float64, where nothing but the cut itself could make a
difference, and in float32, the precision that is stored.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import features
from compress.core.errors import JobError
from compress.importance.base import Batch
from compress.importance.masks import Masks, masked
from compress.prune.masked_cut import mask_slices
from compress.prune.slicing import planned, tied

EXACT = 1e-10
ROUNDED = 1e-4
READ = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "decoder_attention_mask")
SHAPES = ((1, 5), (2, 12), (3, 29))


class Plan(Protocol):
    """What was taken out: how many parameters that leaves, and the original as it runs without it."""

    def parameters(self, original: PreTrainedModel) -> int:
        """Number of parameters that must be left, by arithmetic on the original."""
        ...

    def without(self, original: PreTrainedModel) -> AbstractContextManager[Any]:
        """While it is open, the original runs as if the parts were gone. It may change the original's weights."""
        ...

    def outputs(self, original: PreTrainedModel, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the cut leaves of the original's outputs: `states` `[b, s, d]` and what its head gives."""
        ...

    def folded(self, original: PreTrainedModel) -> Plan:
        """Do to the original's weights, in place, what the cut rounds to the stored precision; what is left to do."""
        ...


class MaskPlan:
    """Heads and neurons, by masks."""

    def __init__(self, masks: Masks) -> None:
        self.masks = masks

    def parameters(self, original: PreTrainedModel) -> int:
        """The original's number less the rows and columns of what goes."""
        return planned(original, mask_slices(original, self.masks))

    def without(self, original: PreTrainedModel) -> AbstractContextManager[Any]:
        """Heads and neurons are multiplied by their masks."""

        def fitting(masks: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: mask.to(original.device, original.dtype) for name, mask in masks.items()}

        return masked(original, Masks(fitting(self.masks.heads), fitting(self.masks.neurons)))

    def outputs(self, original: PreTrainedModel, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """All of them."""
        return found

    @torch.no_grad()
    def folded(self, original: PreTrainedModel) -> Plan:
        """Multiply masks other than 0 and 1 onto the matrices that read the parts; masks of 0 and 1 are left."""
        left = Masks({}, {})
        for given, kept in ((self.masks.heads, left.heads), (self.masks.neurons, left.neurons)):
            for name, mask in given.items():
                kept[name] = (mask != 0).to(mask.dtype)
                part = original.get_submodule(name)
                each = torch.where(mask == 0, 1, mask).repeat_interleave(features(part)[0] // len(mask))
                weight = part.get_parameter("weight")
                weight.mul_(each.to(weight)[:, None] if isinstance(part, Conv1D) else each.to(weight))
        return MaskPlan(left)


def prove(
    original: PreTrainedModel, smaller: PreTrainedModel, how: Masks | Plan, batches: Iterable[Batch] = ()
) -> dict[str, Any]:
    """Facts for the manifest: the largest differences relative to the outputs' scale, and the numbers of parameters.

    how: what was cut. batches: inputs of the model `[b, s]` beside the random ones made here; labels are left out.
    Raises JobError, naming what differs, when the smaller model is not the original without its parts, has another
    number of parameters than planned, lost a tie, or when nothing was taken out at all.
    """
    plan: Plan = MaskPlan(how) if isinstance(how, Masks) else how
    before, after = _count(original), _count(smaller)
    shallower = structure_of(smaller).depth(smaller) < structure_of(original).depth(original)
    if after >= before and not shallower:  # runs of a shared layer hold no parameters of their own
        raise JobError(f"nothing was pruned: {before} parameters before and {after} after; ask for more to go")
    _same_ties(original, smaller)
    expected = plan.parameters(original)
    if after != expected:
        raise JobError(
            f"the cut left {after} parameters, and {expected} were planned; the pruned model is not to be used"
        )
    inputs = [*random_batches(original), *(_inputs(original, batch) for batch in batches)]
    return {
        "parameters": {"before": before, "after": after, "planned": expected},
        "difference": {
            name: _difference(original, smaller, plan, inputs, dtype, most)
            for name, dtype, most in (("float64", torch.float64, EXACT), ("float32", torch.float32, ROUNDED))
        },
    }


def random_batches(model: PreTrainedModel, seed: int = 13) -> Iterator[dict[str, Tensor]]:
    """Inputs of three shapes: random tokens, all rows but the first padded at their ends."""
    draw = torch.Generator().manual_seed(seed)
    structure = structure_of(model)
    pad = model.config.pad_token_id or 0
    room = getattr(model.config, "max_position_embeddings", None) or SHAPES[-1][1]
    for rows, length in SHAPES:
        tokens = max(1, min(length, int(room) - structure.position_offset))
        ids = torch.randint(0, int(model.config.vocab_size), (rows, tokens), generator=draw)
        ids = ids.masked_fill(ids == pad, int(pad) + 1 if pad + 1 < model.config.vocab_size else 0)
        lengths = torch.tensor([max(1, tokens - 3 * row) for row in range(rows)])
        mask = (torch.arange(tokens) < lengths[:, None]).long()
        yield structure.inputs(model, ids.masked_fill(mask == 0, int(pad)).to(model.device), mask.to(model.device))


def outputs_of(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All that a model gives: the last states of its body and whatever its head makes of them."""
    seen: dict[str, Tensor] = {}

    def keep(module: torch.nn.Module, given: Any, output: Any) -> None:
        seen["states"] = output[0]

    hook = model.base_model.register_forward_hook(keep)
    try:
        with torch.no_grad():
            outputs = model(**inputs)
    finally:
        hook.remove()
    found = {name: value for name, value in outputs.items() if isinstance(value, Tensor)}
    if model.base_model is model:
        found = {name: value for name, value in found.items() if name.endswith("pooler_output")}
    return {**seen, **found}


def _difference(
    original: PreTrainedModel, smaller: PreTrainedModel, plan: Plan, inputs: Sequence[Batch],
    dtype: torch.dtype, most: float,
) -> float:  # fmt: skip
    """The largest difference of any output, relative to the largest value of that output."""
    one = copy.deepcopy(original)
    left = plan.folded(one) if dtype == torch.float64 else plan
    one, two = _ready(one, dtype), _ready(copy.deepcopy(smaller), dtype)
    worst = 0.0
    with left.without(one):
        for batch in inputs:
            wanted, found = left.outputs(one, outputs_of(one, batch)), outputs_of(two, batch)
            for name, value in wanted.items():
                worst = max(worst, _apart(name, value, found.get(name), tuple(batch["input_ids"].shape), dtype, most))
    return worst


def _apart(
    name: str, wanted: Tensor, found: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype, most: float
) -> float:
    place = f"on inputs of {list(shape)} in {str(dtype).removeprefix('torch.')}"
    if found is None or found.shape != wanted.shape:
        came = "nothing" if found is None else f"the shape {list(found.shape)}"
        raise JobError(f"the pruned model's {name} {place}: expected the shape {list(wanted.shape)}, came {came}")
    scale = float(wanted.abs().max())
    apart = float((found - wanted).abs().max()) / (scale or 1.0)
    if not apart <= most:  # NaN too
        raise JobError(
            f"the pruned model is not the masked original: its {name} {place} differs by {apart:.1e} of its scale, and "
            f"at most {most:.0e} was expected; the pruned model is not to be used"
        )
    return apart


def _ready(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model in another precision, dropping nothing at random, padding whatever its family."""
    made: PreTrainedModel = model.to(dtype).eval()  # type: ignore[arg-type]
    if made.config.pad_token_id is None:
        made.config.pad_token_id = 0
    return made


def _count(model: PreTrainedModel) -> int:
    return sum(value.numel() for value in model.parameters())


def _inputs(model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    """What a given batch has of a model's inputs, and what that lacks so that all parts run."""
    ids = batch["input_ids"]
    mask = batch.get("attention_mask", torch.ones_like(ids))
    read = inspect.signature(model.forward).parameters
    given = {name: batch[name] for name in READ if name in batch and name in read}
    whole = {**structure_of(model).inputs(model, ids, mask), **given}
    return {name: value.to(model.device) for name, value in whole.items()}


def _same_ties(original: PreTrainedModel, smaller: PreTrainedModel) -> None:
    """Names that shared a parameter, and are still there, must share one."""
    held = dict(smaller.named_parameters(remove_duplicate=False))
    for group in tied(original):
        left = [name for name in group if name in held]
        if len({id(held[name]) for name in left}) > 1:
            raise JobError(f"{' and '.join(left)} were tied and no longer are; the pruned model is not to be used")
