"""Ways to run the trained transformer inside a module: attention in one piece, activations computed twice, or compiled
kernels.

All act on the transformers models inside the trained module, whatever wraps them, and are taken back afterwards.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch._functorch import config as functorch_config
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.train.plain_attention import plain_attention


def trained_bodies(module: nn.Module) -> list[PreTrainedModel]:
    """The outermost transformers models inside `module` (or itself) that have something to train."""
    if isinstance(module, PreTrainedModel):
        return [module] if any(value.requires_grad for value in module.parameters()) else []
    return [model for child in module.children() for model in trained_bodies(child)]


@contextmanager
def quick_attention(module: nn.Module, device: torch.device, compiled: bool) -> Iterator[None]:
    """Plain attention in what trains on a CPU.

    There sdpa is either the flash kernel, whose backward pass is slow, or with dropout a composition of single
    operations in torch, which casts bf16 to float32 and back (`benchmarks/attention.py`).
    """
    with ExitStack() as stack:
        for model in trained_bodies(module) if device.type == "cpu" else ():
            stack.enter_context(plain_attention(model, own=not compiled))
        yield


@contextmanager
def recomputing(module: nn.Module) -> Iterator[None]:
    """Keep the inputs of each layer only and compute the rest again in the backward pass (Chen et al., 2016,
    arXiv:1604.06174).

    Not the reentrant kind: its layer outputs hang on no graph inside the layer, so that a loss on queries or keys
    taken by a hook would get no gradient. Raises InputError for a model that cannot do it.
    """
    models = _some(module, "gradient_checkpointing")
    for model in models:
        if not model.supports_gradient_checkpointing:
            raise InputError(
                f"gradient_checkpointing: models of the family {stock_family(model.config)!r} cannot recompute their "
                "layers; set it to false and use a smaller batch_size with accumulate"
            )
    # An encoder caches nothing, but its config says it would, which transformers contradicts in the user's terminal.
    caching: list[Any] = [model.config for model in models if getattr(model.config, "use_cache", False)]
    for model in models:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    for config in caching:
        config.use_cache = False
    try:
        yield
    finally:
        for config in caching:
            config.use_cache = True
        for model in models:
            model.activation_checkpointing_disable()  # type: ignore[no-untyped-call]


@contextmanager
def compiled(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Compile the models by torch.compile, for batches of any length. Raises InputError where nothing can compile."""
    models = _some(module, "compile")
    _check_compiler(device)
    # A loss that reads no logits runs the body without its head, so both are entry points.
    parts = {id(part): part for model in models for part in (model, model.base_model)}
    for part in parts.values():
        part.compile(dynamic=True)
    try:
        with functorch_config.patch(donated_buffer=False):  # balancing walks one graph several times
            yield
    finally:
        for part in parts.values():
            part._compiled_call_impl = None
        torch.compiler.reset()


def _some(module: nn.Module, option: str) -> list[PreTrainedModel]:
    models = trained_bodies(module)
    if not models:
        raise InputError(f"{option}: there is no transformers model to train in {type(module).__name__}; leave it off")
    return models


def _check_compiler(device: torch.device) -> None:
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError(
            "compile: torch.compile for cuda needs triton, which is not installed; install it, or leave compile off"
        )
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise InputError(
            f"compile: torch.compile for {device.type} needs a C++ compiler and none was found; install g++ "
            "(or set CXX), or leave compile off"
        ) from None
