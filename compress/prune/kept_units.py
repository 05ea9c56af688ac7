"""The width: hidden units out of every matrix, table and norm, and the heads that go with them.

A stock config knows one width and divides it by the number of heads, so the heads of every layer go in the same
ratio and stay as wide as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from compress.anatomy.base import Anatomy, anatomy_of, structure_of
from compress.anatomy.hidden import HiddenSpace, hidden_space
from compress.core.errors import InputError
from compress.importance.masks import Masks, masked
from compress.prune.masked_cut import mask_slices, write_counts, write_shape
from compress.prune.slicing import Slice, cut, planned
from compress.students.narrowing import strongest_units

REMEMBERED = ("dim", "hidden_size", "embedding_size", "pooler_hidden_size")


def keep_units(model: PreTrainedModel, units: Tensor, heads: Mapping[str, Tensor]) -> PreTrainedModel:
    """A copy with only the hidden units `units` `[d']` and, of every attention block, the heads given under its name.

    Both are indices from 0, ascending. Of a head's dense layer (BERT's pooler) the strongest d' units are kept. The
    embedding space of ALBERT and ELECTRA stays as it is.

    Raises InputError when indices are wrong, layers keep different numbers of heads, d' is not heads x head width, or
    the family or the task head does not allow it.
    """
    plan = UnitPlan(units, dict(heads))
    anatomy = _encoder(model)
    plan.check(model, anatomy)
    smaller = copy.deepcopy(model)
    before = anatomy.width(model)
    cut(smaller, plan.slices(model))
    write_counts(model, smaller, plan.masks(model))
    for part in (*smaller.modules(), *anatomy.configs(smaller)):
        for name in REMEMBERED:
            if getattr(part, name, None) == before and not (name == "embedding_size" and anatomy.factorized(model)):
                setattr(part, name, len(units))
    anatomy.write_config(smaller, width=len(units))
    write_shape(smaller)
    return smaller


@dataclass(frozen=True)
class UnitPlan:
    """What is kept of the hidden units, and of the heads by block; a plan for `prove`."""

    units: Tensor
    heads: dict[str, Tensor]

    def check(self, model: PreTrainedModel, anatomy: Anatomy) -> None:
        """Raises InputError as `keep_units`."""
        width = anatomy.width(model)
        _ascending(self.units, width, "hidden units")
        blocks = anatomy.attention_blocks(model)
        for block in blocks:
            if block.name not in self.heads:
                raise InputError(f"expected the heads to keep of every layer; those of {block.name} are missing")
            _ascending(self.heads[block.name], block.heads, f"heads of {block.name}")
        counts = {len(self.heads[block.name]) for block in blocks}
        if len(counts) > 1:
            raise InputError(
                f"layers would keep {sorted(counts)} heads; expected the same number in each, since a config has one "
                f"width and one number of heads"
            )
        features = counts.pop() * blocks[0].head_width
        if features != len(self.units) and "head_width" not in anatomy.config_names:
            raise InputError(
                f"{len(self.units)} hidden units and {features} features of heads: a {model.config.model_type} is as "
                f"wide as its heads together; keep {features} units, or other heads"
            )
        narrow = anatomy.embedding_width(model) if anatomy.factorized(model) and anatomy.drops_projection else 0
        if narrow == len(self.units):
            raise InputError(
                f"a width of {narrow} is that of the embedding tables, and a {model.config.model_type} of one width "
                f"for both has no projection between them; keep more units or fewer"
            )

    def masks(self, model: PreTrainedModel) -> Masks:
        """The heads as masks of 0 and 1."""
        made = {}
        for block in structure_of(model).attention_blocks(model):
            made[block.name] = torch.zeros(block.heads)
            made[block.name][self.heads[block.name]] = 1
        return Masks(made, {})

    def slices(self, model: PreTrainedModel) -> list[Slice]:
        """What is left of every part."""
        space = hidden_space(model, _encoder(model))
        slices = mask_slices(model, self.masks(model))
        slices += [Slice(name, "out", self.units) for name in (*space.gives, *space.norms)]
        slices += [Slice(name, "in", self.units) for name in space.reads]
        if space.dense:
            dense = self.dense_units(model, space)
            slices += [Slice(space.dense, "in", self.units), Slice(space.dense, "out", dense)]
            slices += [Slice(space.classes, "in", dense)] if space.classes else []
        return slices

    def dense_units(self, model: PreTrainedModel, space: HiddenSpace) -> Tensor:
        """`[d']` units of the head's dense layer: the strongest for its classes, or the hidden ones."""
        if not space.classes:
            return self.units
        dense, classes = (model.get_submodule(name).get_parameter("weight") for name in (space.dense, space.classes))
        return strongest_units(dense.detach().float(), classes.detach().float(), len(self.units)).cpu()

    def parameters(self, original: PreTrainedModel) -> int:
        """The original's number less every row and column that goes."""
        return planned(original, self.slices(original))

    def folded(self, original: PreTrainedModel) -> UnitPlan:
        """Nothing is rounded."""
        return self

    def outputs(self, original: PreTrainedModel, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Only the units that are kept."""
        dense = self.dense_units(original, hidden_space(original, _encoder(original)))
        kept = {"states": self.units, "pooler_output": dense}
        return {name: value[..., kept[name]] if name in kept else value for name, value in found.items()}

    @contextmanager
    def without(self, original: PreTrainedModel) -> Iterator[None]:
        """Norms take their statistics over the kept units alone, and all other units are 0 wherever something reads."""
        space = hidden_space(original, _encoder(original))
        masks = {name: mask.to(original.device, original.dtype) for name, mask in self.masks(original).heads.items()}
        hooks = [original.get_submodule(name).register_forward_hook(self._norm) for name in space.norms]
        if space.classes:
            dense = self.dense_units(original, space)
            hooks.append(original.get_submodule(space.classes).register_forward_pre_hook(_only(dense)))
        for name in space.raw:
            _silence(original.get_submodule(name), self.units)
        with ExitStack() as stack:
            for hook in hooks:
                stack.callback(hook.remove)
            stack.enter_context(masked(original, Masks(masks, {})))
            yield

    def _norm(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept = self.units
        weight, bias = (module.get_parameter(kind)[kept] for kind in ("weight", "bias"))
        eps = float(getattr(module, "eps", 0))
        left = functional.layer_norm(inputs[0][..., kept], (len(kept),), weight, bias, eps)
        made = torch.zeros_like(output)
        made[..., kept] = left
        return made


def _only(units: Tensor) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (read, *rest) = inputs
        made = torch.zeros_like(read)
        made[..., units] = read[..., units]
        return (made, *rest)

    return hook


@torch.no_grad()
def _silence(part: nn.Module, units: Tensor) -> None:
    """Set what a matrix or table gives for other units to 0."""
    weight = part.get_parameter("weight")
    gone = torch.ones(weight.shape[1 if isinstance(part, nn.Embedding) else 0], dtype=torch.bool)
    gone[units] = False
    if isinstance(part, nn.Embedding):
        weight[:, gone] = 0
        return
    weight[gone] = 0
    bias = getattr(part, "bias", None)
    if bias is not None:
        bias[gone] = 0


def _encoder(model: PreTrainedModel) -> Anatomy:
    """Raises InputError for families whose width stays: those that can be pruned but are no encoders."""
    structure = structure_of(model)
    if not isinstance(structure, Anatomy):
        raise InputError(
            f"the width of {model.config.model_type} cannot be cut; expected an encoder such as BERT: use heads, "
            f"ffn, depth or vocab"
        )
    return anatomy_of(model)


def _ascending(index: Tensor, size: int, what: str) -> None:
    held = [int(value) for value in index] if index.dim() == 1 and not index.is_floating_point() else []
    if not held or held != sorted(set(held)) or held[0] < 0 or held[-1] >= size:
        raise InputError(
            f"{what} to keep: expected different numbers from 0 to {size - 1}, ascending; came {index.tolist()}"
        )
    if index.dtype == torch.bool:
        raise InputError(f"{what} to keep: expected their numbers, came a mask of truth values")
