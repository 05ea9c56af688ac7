"""What every registered loss must do; a new file under compress/losses is picked up by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compress.core.options import identity
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss

REGRESSION = {"hard_mse"}


def trace(seed: int, classes: int) -> Trace:
    """A full trace of 2 layers: `[2, 5]` tokens, the last two of the second row padding."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, 3:] = False

    def values(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    labels = torch.tensor([0.5, 1.5]) if classes == 1 else torch.tensor([0, 1])
    return Trace(
        mask=mask,
        logits=values(2, classes).requires_grad_(),
        outputs=torch.ones(2, dtype=torch.bool),
        labels=labels,
        hidden={layer: values(2, 5, 8).requires_grad_() for layer in range(3)},
        queries={layer: values(2, 2, 5, 4).requires_grad_() for layer in (1, 2)},
        keys={layer: values(2, 2, 5, 4).requires_grad_() for layer in (1, 2)},
        values={layer: values(2, 2, 5, 4).requires_grad_() for layer in (1, 2)},
        embedding=values(2, 8).requires_grad_(),
        groups=torch.zeros(2, dtype=torch.int64),
        depth=2,
    )


def padded_otherwise(full: Trace) -> Trace:
    """The same trace with other numbers where there is padding."""

    def heads(held: dict[int, torch.Tensor] | None) -> dict[int, torch.Tensor]:
        return {k: torch.where(full.mask[:, None, :, None], v, 77.0) for k, v in (held or {}).items()}

    hidden = {k: torch.where(full.mask[..., None], v, 77.0) for k, v in (full.hidden or {}).items()}
    changed = {"queries": heads(full.queries), "keys": heads(full.keys), "values": heads(full.values)}
    return replace(full, hidden=hidden, **changed)


def made(name: str) -> tuple[Loss, Trace, Trace]:
    classes = 1 if name in REGRESSION else 3
    loss = LOSSES.get(name)()
    assert isinstance(loss, Loss)
    return loss, trace(1, classes), trace(2, classes)


@pytest.mark.parametrize("name", LOSSES.names())
def test_gives_a_finite_scalar_with_a_gradient(name: str) -> None:
    """Prevents a loss that cannot train: not a scalar, NaN, or cut off from the student."""
    loss, student, teacher = made(name)
    value = loss(student, teacher)
    assert value.shape == () and torch.isfinite(value)
    value.backward()
    assert student.logits is not None and student.embedding is not None
    layers = [held for held in (student.hidden, student.queries, student.values) if held]
    leaves = [student.logits, student.embedding, *(leaf for held in layers for leaf in held.values())]
    assert any(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves)


@pytest.mark.parametrize("name", LOSSES.names())
def test_padding_never_counts(name: str) -> None:
    """Prevents masked positions from changing the value."""
    loss, student, teacher = made(name)
    assert loss(student, teacher).item() == loss(padded_otherwise(student), padded_otherwise(teacher)).item()


@pytest.mark.parametrize("name", LOSSES.names())
def test_is_pure(name: str) -> None:
    """Prevents hidden state: two calls agree, and the weight is the objective's business."""
    loss, student, teacher = made(name)
    heavy = type(loss).model_validate({"weight": 5.0})
    assert loss(student, teacher).item() == loss(student, teacher).item() == heavy(student, teacher).item()


@pytest.mark.parametrize("name", LOSSES.names())
def test_reads_only_what_it_declares(name: str) -> None:
    """Prevents a loss that reads what the loop did not capture for it."""
    loss, student, teacher = made(name)
    kept = [
        Trace(
            mask=t.mask,
            logits=t.logits if "logits" in loss.needs else None,
            outputs=t.outputs,
            labels=t.labels if loss.needs_labels else None,
            hidden=t.hidden if "hidden" in loss.needs else None,
            queries=t.queries if "attention" in loss.needs else None,
            keys=t.keys if "attention" in loss.needs else None,
            values=t.values if "values" in loss.needs else None,
            embedding=t.embedding if "embedding" in loss.needs else None,
            groups=t.groups if "groups" in loss.needs else None,
            depth=2,
        )
        for t in (student, teacher)
    ]
    assert loss(kept[0], kept[1] if loss.needs_teacher else None).item() == loss(student, teacher).item()


@pytest.mark.parametrize("name", LOSSES.names())
def test_names_its_source_and_its_options(name: str) -> None:
    """Prevents an undocumented method: docstring, paper for what comes from one, options in the identity."""
    loss, _, _ = made(name)
    assert type(loss).__doc__
    assert loss.paper or not loss.needs_teacher
    assert "weight" in identity(loss)
