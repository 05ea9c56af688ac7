"""`weights`: zeros in the matrices of the encoder, one by one or N of every M.

What this gains, honestly: no speed and no memory. A dense file stores a zero in full and a dense kernel multiplies by
it. What was tried with this stack (one thread, AMD EPYC with VNNI and without AMX, matrices of 768 x 3072):

- OpenVINO 2026.4 has CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE, for int8 weights on CPUs with AMX. Here int8 graphs of
  0, 80 and 95 % zeros and of 2:4 ran the same kernel (brgemm_avx512_I8) in the same time, with the option and without
  (18 ms for 128 rows). On a CPU with AMX it may do more; that was not measured.
- ONNX Runtime 1.31 reads sparse initializers and makes them dense as it loads: the same time at 50 and 90 % zeros
  (5.6 ms at best). A file of 90 % zeros is 5.6 times smaller that way, one of 50 % hardly (11 %).
- Torch's 2:4 kernels are for CUDA and half precision; its sparse CPU formats are no part of what a student runs on.

So no engine that a student can be exported to uses the zeros, and no sparse export is offered. They are a start for
hardware that does, and the facts say what a bitmap and the values that are left would take. `compress/train/zeros.py`
keeps the zeros in a later training.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.core.errors import InputError, JobError
from compress.importance.matrices import matrix_names
from compress.prune.base import PRUNERS, Change, Job, Pruner
from compress.train.zeros import mark

GAIN = (
    "zeros in dense matrices make no engine faster: torch, ONNX Runtime and OpenVINO multiply by them as by any "
    "number, and the file is as large as before; they gain a file that compresses better, and no more"
)
Pattern = Literal["2:4", "4:8", "1:4", "2:8"]


@PRUNERS.register("weights")
class Weights(Pruner):
    """Set the weights that count least to zero: a ratio of them, or all but N of every M along the inputs.

    Embeddings, norms, biases and heads stay. Shapes stay too, so the folder is a stock one. A criterion's scores say
    which weights go (magnitude; activation, which with `among: row` is Wanda; ...).
    """

    order: ClassVar[int] = 50
    reads: ClassVar[frozenset[str]] = frozenset({"weights"})

    ratio: float | None = Field(None, gt=0, lt=1, description="share of the weights that become zero")
    pattern: Pattern | None = Field(None, description="N:M in place of a ratio: N of M neighbouring inputs stay")
    among: Literal["row", "matrix", "model"] = Field(
        "matrix", description="what a weight is compared with: those of its output row, of its matrix, or all"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Weights:
        if (self.ratio is None) == (self.pattern is None):
            came = "neither" if self.ratio is None else "both"
            raise ValueError(f"expected `ratio` or `pattern`, came {came}")
        if self.pattern is not None and "among" in self.model_fields_set:
            raise ValueError("among: a pattern compares the weights of each group; leave it out")
        return self

    def cut(self, job: Job) -> Change:
        """The model with zeros, its kept weights as they were, and a mark in its config that keeps them in training.

        Raises InputError for a criterion that does not score weights, scores that are no numbers, a pattern that a
        matrix is too narrow for, and when no weight would become zero; JobError when zeros are not where they were
        planned.
        """
        names = matrices(job.model)
        scored = job.importance.score(job.model, frozenset({"weights"}), job.evidence).weights
        scores = {name: _scores(job.model, scored, name) for name in names}
        zeros = self._planned(scores)
        _refuse_nothing(job.model, zeros)
        sparse = copy.deepcopy(job.model)
        for name, gone in zeros.items():
            weight = sparse.get_parameter(name)
            weight.data.masked_fill_(_as_stored(sparse, name, gone), 0.0)
        mark(sparse, names, {"pattern": self.pattern, "ratio": self.ratio})
        _prove(job.model, sparse, zeros)
        return Change(sparse, job.tokenizer, _facts(sparse, zeros))

    def _planned(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Where zeros come, true, for each matrix `[outputs, inputs]`."""
        if self.pattern is not None:
            return {name: groups(value, self.pattern, name) for name, value in scores.items()}
        assert self.ratio is not None
        if self.among == "row":
            return {name: rows(value, self.ratio) for name, value in scores.items()}
        if self.among == "matrix":
            return {name: lowest(value, round(self.ratio * value.numel())) for name, value in scores.items()}
        everything = torch.cat([value.flatten() for value in scores.values()])
        taken = lowest(everything, round(self.ratio * everything.numel()))
        parts = torch.split(taken, [one.numel() for one in scores.values()])
        return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


def matrices(model: PreTrainedModel) -> list[str]:
    """Names of the weights of all attention and feed-forward matrices, each once: those that criteria score."""
    return [f"{name}.weight" for name in matrix_names(model)]


def lowest(scores: Tensor, count: int) -> Tensor:
    """True at exactly `count` places of the smallest scores; at a tie the first ones."""
    gone = torch.zeros_like(scores, dtype=torch.bool)
    if count:
        border = scores.flatten().kthvalue(count).values
        gone = (scores < border).contiguous()  # GPT-2 keeps its matrices the other way round
        ties = (scores == border).flatten().nonzero().flatten()[: count - int(gone.sum())]
        gone.view(-1)[ties] = True
    return gone


def rows(scores: Tensor, ratio: float) -> Tensor:
    """True at the same number of the smallest scores of every row `[outputs, inputs]`."""
    count = round(ratio * scores.shape[1])
    order = scores.argsort(dim=1, stable=True)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order[:, :count], True)


def groups(scores: Tensor, pattern: str, name: str) -> Tensor:
    """True at all but the N largest scores of every M inputs. Raises InputError when M does not divide the inputs."""
    kept, size = map(int, pattern.split(":"))
    if scores.shape[1] % size:
        raise InputError(f"pattern: {name} has {scores.shape[1]} inputs, no multiple of {size}; use a ratio")
    return rows(scores.reshape(-1, size), 1 - kept / size).view_as(scores)


def _scores(model: PreTrainedModel, scored: Mapping[str, Tensor], name: str) -> Tensor:
    """The scores of a matrix as `[outputs, inputs]`."""
    if name not in scored or scored[name].shape != model.get_parameter(name).shape:
        raise InputError(f"weights: the criterion gives no scores of {name}; use another (magnitude)")
    if not torch.isfinite(scored[name]).all():
        raise InputError(f"weights: the criterion's scores of {name} are no finite numbers")
    return _as_stored(model, name, scored[name].float())


def _as_stored(model: PreTrainedModel, name: str, value: Tensor) -> Tensor:
    """Between `[outputs, inputs]` and how the matrix is stored: GPT-2's are `[inputs, outputs]`."""
    return value.T if isinstance(model.get_submodule(name.rpartition(".")[0]), Conv1D) else value


def _refuse_nothing(model: PreTrainedModel, zeros: Mapping[str, Tensor]) -> None:
    """Raises InputError unless a weight becomes zero that was not."""
    if not any(bool(gone.any()) for gone in zeros.values()):
        raise InputError("weights: the ratio is so small that no weight becomes zero; raise it")
    if not any(bool(model.get_parameter(name)[_as_stored(model, name, gone)].any()) for name, gone in zeros.items()):
        raise InputError(
            "weights: all that would become zero is zero already, so nothing would be pruned; ask for a larger ratio, "
            "or for a pattern that keeps fewer"
        )


def _prove(before: PreTrainedModel, after: PreTrainedModel, zeros: Mapping[str, Tensor]) -> None:
    """Raises JobError unless planned places are zero and every other weight is what it was, bit for bit."""
    held = after.state_dict()
    for name, value in before.state_dict().items():
        expected = value.clone()
        if name in zeros:
            expected[_as_stored(before, name, zeros[name])] = 0.0
        if not torch.equal(expected, held[name]):
            raise JobError(f"weights: {name} is not what was planned; it is not kept")


def _facts(model: PreTrainedModel, zeros: Mapping[str, Tensor]) -> dict[str, Any]:
    """Density, and bytes as they are and as a bitmap with the values that are left would be."""
    total = sum(gone.numel() for gone in zeros.values())
    left = sum(int(model.get_parameter(name).count_nonzero()) for name in zeros)
    everything = sum(value.numel() * value.element_size() for value in model.parameters())
    return {
        "matrices": len(zeros), "weights": total, "zeros": total - left, "density": left / total,
        "bytes_dense": everything, "bytes_as_bitmap": everything - 4 * total + 4 * left + -(-total // 8),
        "gain": GAIN,
    }  # fmt: skip
