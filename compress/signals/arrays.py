"""Traces as flat arrays, and back: what stands in a shard has no padding.

Names: `logits`, `embedding`, `hidden.3`, `queries.3`, `keys.3`, `values.3`; of the largest logits `top.values`,
`top.index` and `top.rest` (the log of the summed exp of all others). Heads stand after tokens: `[t, h, e]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError, JobError
from compress.core.trace import Trace
from compress.signals.keep import Kept

TORCH = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
HEADED = ("queries", "keys", "values")
TOP = ("top.values", "top.index", "top.rest")


class BeyondFormatError(JobError):
    """A state is larger than the number format that it is stored in holds."""


@dataclass(frozen=True)
class Form:
    """The arrays of a store: name to shape of one entry, and which of them have an entry for each token.

    outputs: the head's outputs, 0 without logits. tokens_last: logits are `[b, c, s]`, scores of tokens; fill: what
    they are where padding is, for a softmax over tokens sees it there too. row_bytes, token_bytes: of one row, and of
    one token. scores_lack: as the trace has it.
    """

    shapes: dict[str, list[int]]
    by_token: list[str]
    outputs: int
    tokens_last: bool
    fill: float
    row_bytes: int
    token_bytes: int
    scores_lack: str = ""

    def bytes_of(self, rows: float, tokens: float) -> int:
        """Bytes of so many rows and tokens, their keys and index with them."""
        return math.ceil(rows * (self.row_bytes + ROW_OVERHEAD) + tokens * self.token_bytes)


ROW_OVERHEAD = 48  # key and offset in the shard, key and place in the index


def form_of(trace: Trace, kept: Kept, fill: float = 0.0) -> Form:
    """The form of arrays, from a trace of any batch. Raises InputError for the largest of logits over tokens.

    fill: the task's, of scores of tokens. (No trace tells it surely: a batch may have no padding.)
    """
    last = trace.logits is not None and tokens_last(trace.logits, trace.mask)
    if last and kept.top is not None:
        raise InputError("keep: this task's outputs are scores of tokens, all of which are kept; leave `top` out")
    found = flat(trace, kept)
    tokens, rows = int(trace.mask.sum()), len(trace.mask)
    by_token = [name for name, (values, each) in found.items() if each]

    def size(each: bool) -> int:
        return sum(v.nbytes // (tokens if each else rows) for v, token in found.values() if token == each)

    shapes = {name: list(values.shape[1:]) for name, (values, _) in found.items()}
    logits = padded(trace, kept.wanted).get("logits")
    outputs = 0 if logits is None else logits.shape[-1]
    return Form(
        shapes, sorted(by_token), outputs, last, fill if last else 0.0, size(False), size(True), trace.scores_lack
    )


def tokens_last(logits: Tensor, mask: Tensor) -> bool:
    """Whether logits are scores of tokens `[b, c, s]`, not scores of classes."""
    return logits.dim() == 3 and logits.shape[1] != mask.shape[1]


def padded(trace: Trace, wanted: Wanted) -> dict[str, Tensor]:
    """What is wanted of a trace, each `[b, ...]` or, by token, `[b, s, ...]` (scores of tokens too)."""
    found: dict[str, Tensor] = {}
    if wanted.logits and trace.logits is not None:
        turned = tokens_last(trace.logits, trace.mask)
        found["logits"] = trace.logits.transpose(1, 2) if turned else trace.logits
    if wanted.embedding and trace.embedding is not None:
        found["embedding"] = trace.embedding
    held = {"hidden": (trace.hidden, wanted.hidden), "values": (trace.values, wanted.values)}
    held |= {name: (getattr(trace, name), wanted.attention) for name in ("queries", "keys")}
    for name, (layers, asked) in held.items():
        for layer in sorted(asked):
            state = (layers or {})[layer]
            found[f"{name}.{layer}"] = state.transpose(1, 2) if name in HEADED else state
    return found


def flat(trace: Trace, kept: Kept) -> dict[str, tuple[Tensor, bool]]:
    """Arrays of a trace on the CPU: by row `[b, ...]`, or by token `[t, ...]` over the real tokens of all rows.

    Raises JobError for NaN and infinity, BeyondFormatError for what `dtype` cannot hold, InputError for `top` of as
    many outputs as there are.
    """
    found: dict[str, tuple[Tensor, bool]] = {}
    states = padded(trace, kept.wanted)
    if kept.top is not None:
        states |= dict(zip(TOP, largest(states.pop("logits").float(), kept.top), strict=True))
    mixed = trace.logits is not None and trace.logits.dim() == 3
    real = trace.mask.flatten().nonzero().squeeze(1)
    for name, state in states.items():
        each = name.partition(".")[0] in ("hidden", *HEADED) or (mixed and name.partition(".")[0] in ("logits", "top"))
        values = state.flatten(0, 1).index_select(0, real) if each else state
        kind = TORCH[kept.dtype] if name.partition(".")[0] in ("hidden", *HEADED) else torch.float32
        values = values if name == "top.index" else _cast(values, kind, name, kept.dtype)
        found[name] = (values.cpu().contiguous(), each)
    return found


def _cast(values: Tensor, kind: torch.dtype, name: str, called: str) -> Tensor:
    cast = values.to(kind)
    if _finite(cast):
        return cast
    if not _finite(values):
        raise JobError(f"the teacher gives NaN or infinite {name}; its weights or its arithmetic are damaged")
    wider = "`dtype: bf16` or fp32" if kind is torch.float16 else "`dtype: fp32`"
    raise BeyondFormatError(
        f"{name} of the teacher reaches {float(values.abs().max()):.3g}, more than {called} holds; "
        f"label with {wider}, or train with `teacher_mode: live`"
    )


def _finite(values: Tensor) -> bool:
    """By the ends, which NaN takes over: one pass, where `isfinite` of all makes several and is not vectorised."""
    return not values.numel() or all(math.isfinite(float(end)) for end in torch.aminmax(values))


def largest(logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logits `[..., k]`, their places (int32), and the log of the summed exp of all others `[...]`."""
    if count >= logits.shape[-1]:
        raise InputError(f"keep: `top: {count}` of {logits.shape[-1]} outputs keeps all of them; leave `top` out")
    values, index = logits.topk(count, dim=-1)
    rest = logits.scatter(-1, index, -math.inf).logsumexp(-1)
    return values, index.to(torch.int32), rest


def expanded(values: Tensor, index: Tensor, rest: Tensor, outputs: int) -> Tensor:
    """Logits `[..., v]` that keep the largest and spread the rest's mass evenly over the other outputs."""
    even = rest - math.log(outputs - values.shape[-1])
    full = even.unsqueeze(-1).expand(*even.shape, outputs)
    return full.scatter(-1, index.long(), values)


def trace_of(states: Mapping[str, Tensor], batch: Mapping[str, Tensor], depth: int, form: Form) -> Trace:
    """The trace of padded states, with what else a batch says of its rows."""
    logits = states.get("logits")
    layers: dict[str, dict[int, Tensor]] = {"hidden": {}, "queries": {}, "keys": {}, "values": {}}
    for name, state in states.items():
        part, _, layer = name.partition(".")
        if part in layers:
            layers[part][int(layer)] = state.transpose(1, 2) if part in HEADED else state
    return Trace(
        mask=batch["attention_mask"].bool(),
        logits=logits.transpose(1, 2) if logits is not None and form.tokens_last else logits,
        outputs=batch.get("outputs"),
        labels=batch.get("labels"),
        hidden=layers["hidden"],
        queries=layers["queries"],
        keys=layers["keys"],
        values=layers["values"],
        embedding=states.get("embedding"),
        groups=batch.get("groups"),
        depth=depth,
        scores_lack=form.scores_lack,
    )
