"""What every registered loss must do; a new file under compress/losses is picked up by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.core.errors import InputError
from compress.core.options import identity
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss

ROWS, TOKENS = 4, 5
OUTPUTS = {  # what a loss compares that is not classes: one value, one score in groups, a yes or no for every label
    "hard_mse": "value", "margin_mse": "value", "ranking_kl": "value", "hard_bce": "labels", "logits_bce": "labels",
    "hard_cosine": "scored pairs", "hard_contrastive": "pairs",
}  # fmt: skip


def trace(seed: int, outputs: str = "classes") -> Trace:
    """A full trace of 2 layers: `[4, 5]` tokens with padding in two rows, two groups of two."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.ones(ROWS, TOKENS, dtype=torch.bool)
    mask[1, 3:] = False
    mask[2, 4:] = False

    def values(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).requires_grad_()

    labels = {
        "value": torch.tensor([0.5, 1.5, -1.0, 0.0]),
        "scored pairs": torch.tensor([[0.0, 0.5], [0.0, 0.5], [1.0, 0.9], [1.0, 0.9]]),
        "pairs": torch.tensor([[0.0, torch.nan], [0.0, torch.nan], [1.0, torch.nan], [1.0, torch.nan]]),
        "labels": torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]),
    }.get(outputs, torch.tensor([0, 1, 2, 0]))
    return Trace(
        mask=mask,
        logits=values(ROWS, 1 if outputs == "value" else 3),
        outputs=torch.ones(ROWS, dtype=torch.bool),
        labels=labels,
        hidden={layer: values(ROWS, TOKENS, 8) for layer in range(3)},
        queries={layer: values(ROWS, 2, TOKENS, 4) for layer in (1, 2)},
        keys={layer: values(ROWS, 2, TOKENS, 4) for layer in (1, 2)},
        values={layer: values(ROWS, 2, TOKENS, 4) for layer in (1, 2)},
        embedding=values(ROWS, 8),
        groups=torch.tensor([0, 1, 0, 1]),
        depth=2,
    )


def changed(full: Trace, change: Callable[[str, Tensor], Tensor]) -> Trace:
    """The same trace with `change(field, tensor)` in place of every tensor."""

    def one(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {layer: change(name, held) for layer, held in value.items()}
        return change(name, value) if isinstance(value, Tensor) else value

    return replace(full, **{field.name: one(field.name, getattr(full, field.name)) for field in fields(full)})


def padded_otherwise(full: Trace) -> Trace:
    """The same trace with other numbers where there is padding."""

    def other(name: str, held: Tensor) -> Tensor:
        if name == "hidden":
            return torch.where(full.mask[..., None], held, 77.0)
        return torch.where(full.mask[:, None, :, None], held, 77.0) if held.ndim == 4 else held

    return changed(full, other)


def padded_more(full: Trace) -> Trace:
    """The same trace with three more tokens of padding in every row."""

    def longer(name: str, held: Tensor) -> Tensor:
        if name in ("hidden", "queries", "keys", "values"):
            more = torch.full((*held.shape[:-2], 3, held.shape[-1]), 77.0)
            return torch.cat([held, more], -2)
        return torch.cat([held, torch.zeros(ROWS, 3, dtype=torch.bool)], 1) if name == "mask" else held

    return changed(full, longer)


def repeated(full: Trace) -> Trace:
    """The same rows twice; the second time they are the candidates of other queries."""
    return changed(full, lambda name, held: torch.cat([held, held + 10 if name == "groups" else held]))


def in_bf16(full: Trace) -> Trace:
    """The same trace with every number rounded to bf16."""
    return changed(full, lambda _, held: held.detach().bfloat16() if held.is_floating_point() else held)


def made(name: str) -> tuple[Loss, Trace, Trace]:
    outputs = OUTPUTS.get(name, "classes")
    loss = LOSSES.get(name)()
    assert isinstance(loss, Loss)
    return loss, trace(1, outputs), trace(2, outputs)


def leaves(full: Trace) -> list[Tensor]:
    held: list[Tensor] = []
    changed(full, lambda _, tensor: held.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return [tensor for tensor in held if tensor.is_leaf and tensor.requires_grad]


@pytest.mark.parametrize("name", LOSSES.names())
def test_gives_a_finite_scalar_with_a_gradient(name: str) -> None:
    """Prevents a loss that cannot train: not a scalar, NaN, cut off from the student, or with a NaN gradient."""
    loss, student, teacher = made(name)
    value = loss(student, teacher)
    assert value.shape == () and value.dtype == torch.float32 and torch.isfinite(value)
    value.backward()
    gradients = [leaf.grad for leaf in leaves(student) if leaf.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", LOSSES.names())
def test_the_teacher_gets_no_gradient(name: str) -> None:
    """Prevents a teacher that is pulled towards its student, when its trace was made with gradients."""
    loss, student, teacher = made(name)
    loss(student, teacher).backward()
    assert len(leaves(teacher)) == 11 and all(leaf.grad is None for leaf in leaves(teacher))


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_student_that_is_its_teacher_has_a_finite_gradient(name: str) -> None:
    """Prevents NaN gradients at distance zero, where a square root has an infinite slope, and for a vector of zeros."""
    loss, student, _ = made(name)
    loss(student, student).backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves(student) if leaf.grad is not None)
    nothing = changed(student, lambda _, held: torch.zeros_like(held).requires_grad_() if held.requires_grad else held)
    value = loss(nothing, made(name)[2])
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves(nothing) if leaf.grad is not None)


@pytest.mark.parametrize("name", LOSSES.names())
def test_padding_never_counts(name: str) -> None:
    """Prevents masked positions from changing the value or getting a gradient."""
    loss, student, teacher = made(name)
    value = loss(student, teacher)
    assert value.item() == loss(padded_otherwise(student), padded_otherwise(teacher)).item()
    value.backward()
    for held in (student.hidden, student.queries, student.keys, student.values):
        for leaf in (held or {}).values():
            if leaf.grad is not None:
                by_token = leaf.grad.movedim(-2, 1).flatten(2).abs().sum(-1)
                assert by_token[~student.mask].sum() == 0


@pytest.mark.parametrize("name", LOSSES.names())
def test_more_padding_leaves_the_value(name: str) -> None:
    """Prevents a loss that depends on the longest text of a batch: means over padded lengths, softmax over padding."""
    loss, student, teacher = made(name)
    longer = loss(padded_more(student), padded_more(teacher)).item()
    assert longer == pytest.approx(loss(student, teacher).item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES.names())
def test_repeating_the_batch_leaves_the_value(name: str) -> None:
    """Prevents a loss that grows (or shrinks) with the batch."""
    loss, student, teacher = made(name)
    expected = loss(student, teacher).item()
    assert loss(repeated(student), repeated(teacher)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES.names())
def test_computes_in_float32_under_autocast(name: str) -> None:
    """Prevents products in bf16 inside a loss: the same rounded numbers give the same value without autocast."""
    loss, student, teacher = made(name)
    one, two = in_bf16(student), in_bf16(teacher)
    exact = loss(changed(one, _float), changed(two, _float))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(one, two)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", LOSSES.names())
def test_says_the_same_on_cuda(name: str) -> None:
    """Prevents constants and masks that a loss makes on the CPU, and numbers that depend on the device."""
    loss, student, teacher = made(name)
    there = [changed(one, lambda _, held: held.detach().cuda()) for one in (student, teacher)]
    found = loss.cuda()(*there) if isinstance(loss, nn.Module) else loss(*there)
    assert found.device.type == "cuda"
    assert found.item() == pytest.approx(made(name)[0](student, teacher).item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_batch_of_nothing_is_refused(name: str) -> None:
    """Prevents 0 / 0, or a silent 0, when nothing in the batch is real."""
    loss, student, teacher = made(name)
    mask, outputs = torch.zeros(ROWS, TOKENS, dtype=torch.bool), torch.zeros(ROWS, dtype=torch.bool)
    with pytest.raises(InputError, match="masked"):
        loss(replace(student, mask=mask, outputs=outputs), replace(teacher, mask=mask, outputs=outputs))


@pytest.mark.parametrize("name", LOSSES.names())
def test_says_how_many_rows_it_needs(name: str) -> None:
    """Prevents a `least_rows` that is not true: one row less is refused with the reason, that many are enough."""
    loss, student, teacher = made(name)

    def first(rows: int) -> list[Trace]:
        return [replace(changed(t, lambda _, x: x[:rows]), groups=torch.zeros(rows)) for t in (student, teacher)]

    assert torch.isfinite(loss(*first(loss.least_rows)))
    if loss.least_rows > 1:
        with pytest.raises(InputError):
            loss(*first(loss.least_rows - 1))


@pytest.mark.parametrize(
    "name", [name for name in LOSSES.names() if LOSSES.get(name).needs_labels and not LOSSES.get(name).of_pairs]
)
def test_unlabelled_rows_stand_beside_labelled_ones(name: str) -> None:
    """Prevents -100 or NaN from being taken for a label: no row changes the others' gradient, and none gives no NaN."""
    loss, student, teacher = made(name)
    assert loss.skips_unlabelled and student.labels is not None
    missing = torch.nan if OUTPUTS.get(name) == "value" else -100
    labels = student.labels.clone()
    labels[1:3] = missing
    value = loss(replace(student, labels=labels), teacher)
    value.backward()
    assert torch.isfinite(value) and student.logits is not None and student.logits.grad is not None
    assert student.logits.grad[[0, 3]].abs().sum() > 0
    if not loss.needs_teacher:
        kept = [0, 3]
        alone = replace(student, logits=student.logits[kept], labels=labels[kept], outputs=None)
        assert value.item() == pytest.approx(loss(alone, None).item(), rel=1e-6)
    labels[:] = missing
    nothing = loss(replace(student, labels=labels), teacher)
    assert torch.isfinite(nothing) and nothing.requires_grad
    assert loss.needs_teacher or nothing.item() == 0


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
    assert loss.needs <= {"logits", "hidden", "attention", "values", "embedding", "groups"}
    assert loss(kept[0], kept[1] if loss.needs_teacher else None).item() == loss(student, teacher).item()


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_layer_past_the_depth_is_refused(name: str) -> None:
    """Prevents a map that compares what is not there, for every loss that has one."""
    given = {"map": [[1, 7]], **({"of": "mean"} if "of" in LOSSES.get(name).model_fields else {})}
    if "map" in LOSSES.get(name).model_fields:
        with pytest.raises(InputError, match="teacher layer 7"):
            LOSSES.get(name).model_validate(given)(*made(name)[1:])


@pytest.mark.parametrize("name", LOSSES.names())
def test_names_its_source_and_its_options(name: str) -> None:
    """Prevents an undocumented method: docstring, paper for what comes from one, options in the identity."""
    loss, _, _ = made(name)
    assert type(loss).__doc__
    assert loss.paper or not loss.needs_teacher
    assert "weight" in identity(loss)
    assert all(field.description or option == "map" for option, field in type(loss).model_fields.items())


def _float(name: str, held: Tensor) -> Tensor:
    return held.float() if held.is_floating_point() else held
