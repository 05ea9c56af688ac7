"""Where and in which arithmetic to train."""

from __future__ import annotations

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from compress.core.environment import cpu_flags
from compress.core.errors import InputError
from compress.core.processes import this_process


def resolve_device(device: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a torch device, one GPU for each process of a machine.

    Raises InputError for CUDA where there is none, and for more processes than GPUs.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device: cuda was asked for and torch sees no CUDA device; use `device: auto` or `device: cpu`"
        )
    if device != "cuda":
        return torch.device(device)
    here, count = this_process(), torch.cuda.device_count()
    if here.local >= count:
        raise InputError(
            f"device: process {here.local} of this machine has no GPU to itself ({count} are there); start at most "
            f"{count} with torchrun --nproc-per-node {count}, or use `device: cpu`"
        )
    return torch.device("cuda", here.local)


def resolve_precision(precision: str, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` is bf16 where the processor multiplies bf16 itself (emulated bf16 is slower)."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if {"avx512_bf16", "amx_bf16"} & set(cpu_flags()) else "fp32"


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass: bf16 autocast, or nothing. `precision` is `fp32` or `bf16`."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def keep_freed_memory() -> None:
    """Let glibc keep what training frees at every step instead of handing it back to the kernel.

    Gradients of an embedding are tens of MB, allocated and freed once per update: mapped and zeroed page by page each
    time, they cost about 7 % of a step of a 6x384 model on a CPU. Elsewhere than on glibc nothing is done. Batches of
    many lengths leave holes that fit nothing else, so `hand_back_memory` has to follow now and then.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(trim_threshold, (1 << 31) - 1)
    mallopt(mmap_max, 0)


def hand_back_memory() -> None:
    """Give the kernel every page that holds nothing, holes between live blocks too (glibc only)."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
