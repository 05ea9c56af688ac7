"""Float models, told from those that something has quantized: of integers no row is cut and no product is made."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError

GIVE = "give the float model that it was made from: quantize last"


def refuse_quantized(model: PreTrainedModel) -> None:
    """Raises InputError, naming a part, for a model whose weights are not all plain float tensors."""
    if getattr(model.config, "quantization_config", None) is not None:
        raise InputError(f"the model is quantized already (its config has a quantization_config); {GIVE}")
    for name, part in model.named_modules():
        plain = all(value.is_floating_point() and type(value.data) is Tensor for value in part.parameters(False))
        if not plain or "quantized" in type(part).__module__.split("."):
            kind = f"{type(part).__module__}.{type(part).__name__}"
            raise InputError(f"the model is quantized already ({name} is a {kind}); {GIVE}")
