"""Recomputed and compiled bodies: the same gradients, also through hooks, and a stock model afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.capture import Tap, Wanted
from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.train.batches import Batch, TrainData
from compress.train.bodies import compiled, recomputing, trained_bodies
from compress.train.fit import fit
from compress.train.options import TrainOptions
from tests import models
from tests.train import tiny

CPU = torch.device("cpu")
EVERYTHING = Wanted(
    hidden=frozenset({0, 1, 2}), attention=frozenset({1, 2}), values=frozenset({2}), logits=True, embedding=False
)
Modes = Callable[[nn.Module], AbstractContextManager[None]]


class Held(nn.Module):
    """A student inside a module that has weights of its own."""

    def __init__(self, student: PreTrainedModel) -> None:
        super().__init__()
        self.student = student
        self.projection = nn.Linear(2, 2)


def _total(trace: Trace) -> Tensor:
    parts = [*trace.hidden.values(), *trace.queries.values(), *trace.keys.values(), *trace.values.values()]
    assert len(parts) == 3 + 2 + 2 + 1 and trace.logits is not None
    return sum((part.sin().sum() for part in parts), trace.logits.sin().sum())


def _gradients(family: str, mode: Modes | None, wanted: Wanted = EVERYTHING) -> dict[str, Tensor]:
    """Gradients of a loss on everything that hooks take, after two batches of different length, dropout alike."""
    held = Held(models.tiny(family, layers=2).train())
    batches = [models.batch(tokens=7, pad=1), models.batch(tokens=9, pad=1)]
    with Tap(held.student, wanted) as tap:
        torch.manual_seed(3)
        if mode is None:
            _run(tap, batches)
        else:
            with mode(held):
                _run(tap, batches)
    return {name: value.grad.clone() for name, value in held.student.named_parameters() if value.grad is not None}


def _run(tap: Tap, batches: list[dict[str, Tensor]]) -> None:
    for batch in batches:
        _total(tap(batch)).backward()  # type: ignore[no-untyped-call]
        assert not tap._queries and not tap._hidden  # nothing that the backward pass computed again is held on to


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_recomputed_layers_give_the_same_gradients(family: str) -> None:
    """The reentrant kind gives no gradient to a loss on queries and keys; a wrong dropout mask gives another one."""
    plain, again = _gradients(family, None), _gradients(family, recomputing)
    assert plain.keys() == again.keys()
    assert all(torch.allclose(plain[name], again[name], atol=1e-6) for name in plain)
    assert any(name.endswith("q_lin.weight") or name.endswith("query.weight") for name in plain)


def test_layers_are_computed_again_and_only_while_training() -> None:
    """An option that is set on a config nobody reads saves no memory; left on, it slows the student's users."""
    held = Held(models.tiny("bert", layers=2).train())
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    held.student.bert.encoder.layer[0].attention.self.query.register_forward_hook(count)
    with recomputing(held):
        held.student(**models.batch()).logits.sum().backward()
        assert calls == 2
        assert not held.student.config.use_cache, "transformers would print a warning about caches"
    held.student(**models.batch()).logits.sum().backward()
    assert calls == 3
    assert not held.student.is_activation_checkpointing and held.student.config.use_cache


def test_fit_takes_both_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of the recipe that the loop does not read."""
    seen: list[tuple[bool, bool]] = []
    made = tiny.features(8)
    data = TrainData(made, tiny.collate, [len(row["input_ids"]) for row in made])
    # What is compiled is tested below: here its calls are counted.
    monkeypatch.setattr(torch, "compile", lambda call, dynamic: lambda *given, **named: call(*given, **named))
    monkeypatch.setattr("compress.train.bodies._check_compiler", lambda device: None)

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(module, tiny.Objective)
        parts = (module.student, module.student.base_model)
        compiled_calls = all(part._compiled_call_impl is not None for part in parts)
        seen.append((module.student.is_activation_checkpointing, compiled_calls))
        return tiny.loss(module, batch)

    for changes in ({}, {"gradient_checkpointing": True}, {"compile": True}):
        options = TrainOptions(**{**tiny.OPTIONS.dump(), "epochs": 1, **changes})
        module = tiny.objective()
        fit(module, data, loss, options, work=tmp_path / str(changes), seed=1)
        assert not module.student.is_activation_checkpointing and module.student._compiled_call_impl is None
    assert seen == [(False, False), (True, False), (False, True)]


def test_what_cannot_be_done_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module without a transformers model, a family that cannot recompute, a machine without a compiler."""
    with pytest.raises(InputError, match=r"gradient_checkpointing: there is no transformers model.*Linear"):
        recomputing(nn.Linear(2, 2)).__enter__()
    held = Held(models.tiny("bert", layers=1))
    monkeypatch.setattr(type(held.student), "supports_gradient_checkpointing", False)
    with pytest.raises(InputError, match=r"family 'bert' cannot recompute.*accumulate"):
        recomputing(held).__enter__()
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler.*leave compile off"):
        compiled(held, CPU).__enter__()


def test_frozen_models_are_left_alone() -> None:
    """A frozen teacher inside the module needs no second computation."""
    student, teacher = models.tiny("bert", layers=1), models.tiny("bert", layers=1).requires_grad_(False)
    assert trained_bodies(nn.ModuleList([student, teacher, nn.Linear(1, 1)])) == [student]
    assert trained_bodies(student) == [student]


def _compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "c++", "clang++"))


@pytest.mark.slow
@pytest.mark.skipif(not _compiler(), reason="no C++ compiler")
@pytest.mark.parametrize("logits", [True, False])
def test_a_compiled_student_gives_the_same_gradients(logits: bool) -> None:
    """Hooks that the compiler drops, or runs on stale values, would leave losses without a student."""
    wanted = EVERYTHING if logits else Wanted(hidden=frozenset({0, 1, 2}), logits=False)
    total = _total if logits else _hidden_total
    results = []
    for mode in (None, lambda held: compiled(held, CPU)):
        held = Held(models.tiny("bert", layers=2).eval())
        with Tap(held.student, wanted) as tap:
            if mode is None:
                _steps(tap, total)
            else:
                with mode(held):
                    _steps(tap, total)
        assert held.student._compiled_call_impl is None
        results.append({n: p.grad.clone() for n, p in held.student.named_parameters() if p.grad is not None})
    plain, fast = results
    assert all(torch.allclose(plain[name], fast[name], atol=1e-4) for name in plain)
    assert all(not fast[name].any() for name in fast.keys() - plain.keys())  # a pooler that no loss reads


def _hidden_total(trace: Trace) -> Tensor:
    return sum((part.sin().sum() for part in trace.hidden.values()), torch.zeros(()))


def _steps(tap: Tap, total: Callable[[Trace], Tensor]) -> None:
    for tokens in (7, 9, 12):
        total(tap(models.batch(tokens=tokens))).backward()  # type: ignore[no-untyped-call]
