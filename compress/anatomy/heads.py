"""The parts of a task head, by role, so that a student can inherit them from a teacher of another family."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of


def head_parts(model: PreTrainedModel) -> dict[str, nn.Module]:
    """`dense` (before the classes), `classes`, and for masked tokens `dense` and `norm`, those that the model has."""
    anatomy = anatomy_of(model)
    candidates = {
        "dense": (anatomy.hidden_pooler, anatomy.mask_dense, _below_base(model, anatomy.pooler), anatomy.pooler),
        "norm": (anatomy.mask_norm,),
        "classes": (anatomy.output_layer, "classifier", "qa_outputs"),
    }
    parts: dict[str, nn.Module] = {}
    for role, names in candidates.items():
        found = next((part for name in names if (part := _part(model, name)) is not None), None)
        if found is not None:
            parts[role] = found
    return parts


def _below_base(model: PreTrainedModel, name: str) -> str:
    return f"{model.base_model_prefix}.{name}" if name else ""


def _part(model: PreTrainedModel, name: str) -> nn.Module | None:
    if not name:
        return None
    try:
        part = model.get_submodule(name)
    except AttributeError:
        return None
    return part if isinstance(part, (nn.Linear, nn.LayerNorm)) else None
