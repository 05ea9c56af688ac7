"""Layer maps whose weights follow the states, against numbers worked out by hand and an exact linear program."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import linprog
from torch import Tensor

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap, layer_pairs
from compress.core.trace import Trace
from compress.losses.attention_mse import AttentionMSE
from compress.losses.base import Loss, required
from compress.losses.hidden_cosine import HiddenCosine
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.soft_maps import attention_weights, transport_weights
from tests.losses.traces import states

SURE = 1 / (1 + math.exp(-10))  # softmax of cosines 1 and 0 over a temperature of 0.1


def test_attention_weights_by_hand() -> None:
    """Prevents weights along the wrong axis, or from lengths: (3, 0) looks at (1, 0), not at the longer (0, 9)."""
    found = attention_weights([torch.tensor([[3.0, 0.0]])], [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 9.0]])])
    assert found.shape == (1, 1, 2)
    assert found[0, 0].tolist() == pytest.approx([SURE, 1 - SURE])


def test_hidden_mse_against_a_mix_by_hand() -> None:
    """Prevents a sum of distances where the paper compares with a mix: (1, 0) against (w, 1 - w) is (1 - w)^2."""
    student = states({1: [[[1.0, 0.0]]]}, [[1]], depth=1)
    teacher = states({1: [[[1.0, 0.0]]], 2: [[[0.0, 1.0]]]}, [[1]], depth=2)
    loss = HiddenMSE(map="attention", embeddings=False)
    assert loss(student, teacher).item() == pytest.approx((1 - SURE) ** 2, rel=1e-3)
    weights = loss.map_weights(student, teacher)
    assert weights is not None and weights[0].tolist() == pytest.approx([SURE, 1 - SURE])
    halfway = states({1: [[[1.0, 1.0]]]}, [[1]], depth=1)
    # Equal cosines: the mix is (0.5, 0.5), and each entry is off by 0.5.
    assert loss(halfway, teacher).item() == pytest.approx(0.25)


def test_each_row_has_its_own_weights() -> None:
    """Prevents one mix for a whole batch: the rows look at different teacher layers."""
    student = states({1: [[[1.0, 0.0]], [[0.0, 1.0]]]}, [[1], [1]], depth=1)
    teacher = states({1: [[[1.0, 0.0]]] * 2, 2: [[[0.0, 1.0]]] * 2}, [[1], [1]], depth=2)
    loss = HiddenMSE(map="attention", embeddings=False)
    assert loss(student, teacher).item() == pytest.approx(0.0, abs=1e-6)
    weights = loss.map_weights(student, teacher)
    assert weights is not None and weights[0].tolist() == pytest.approx([0.5, 0.5])


def test_transport_by_hand() -> None:
    """Prevents a plan that is transposed or not normalised: layers that match cost nothing and get all the weight."""
    assert transport_weights(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist() == [
        pytest.approx([1.0, 0.0], abs=1e-6),
        pytest.approx([0.0, 1.0], abs=1e-6),
    ]
    # One student layer has to serve both of the teacher's, however dear one of them is.
    assert transport_weights(torch.tensor([[0.0, 9.0]]))[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    # Three layers onto two: the one in the middle is shared.
    shared = transport_weights(torch.tensor([[0.0, 4.0], [1.0, 1.0], [4.0, 0.0]]))
    assert shared[1].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    assert transport_weights(torch.zeros(2, 4)).tolist() == [pytest.approx([0.25] * 4)] * 2


@pytest.mark.parametrize(("students", "teachers"), [(3, 6), (4, 12), (6, 4)])
def test_transport_is_close_to_the_exact_plan(students: int, teachers: int) -> None:
    """Prevents an entropy so large, or rounds so few, that the plan is a mean of all layers."""
    draw = np.random.default_rng(students)
    costs = draw.random((students, teachers))
    plan = transport_weights(torch.tensor(costs)).numpy() / students
    assert plan.sum(1) == pytest.approx(np.full(students, 1 / students))
    assert plan.sum(0) == pytest.approx(np.full(teachers, 1 / teachers), abs=1e-3)
    rows = [np.kron(np.eye(students)[i], np.ones(teachers)) for i in range(students)]
    columns = [np.tile(np.eye(teachers)[j], students) for j in range(teachers)]
    sums = [1 / students] * students + [1 / teachers] * teachers
    exact = linprog(costs.ravel(), A_eq=np.array([*rows, *columns]), b_eq=sums).fun
    assert exact - 1e-3 <= (plan * costs).sum() < exact + 0.1 * costs.mean()


def test_transport_in_the_losses_by_hand() -> None:
    """Prevents a scale that differs from `uniform`: two matched layers cost 0, shifted by 1 each costs 1, the sum 2."""
    teacher = states({1: [[[0.0, 0.0]]], 2: [[[8.0, 8.0]]]}, [[1]], depth=2)
    swapped = states({1: [[[8.0, 8.0]]], 2: [[[0.0, 0.0]]]}, [[1]], depth=2)
    shifted = states({1: [[[1.0, 1.0]]], 2: [[[9.0, 9.0]]]}, [[1]], depth=2)
    loss = HiddenMSE(map="transport", embeddings=False)
    assert loss(swapped, teacher).item() == pytest.approx(0.0, abs=1e-4)
    assert loss(shifted, teacher).item() == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("name", ["attention", "transport"])
def test_mean_over_student_layers_stays_a_mean(name: str) -> None:
    """Prevents a cosine distance above 2: opposite states on every layer are 2, whatever the depths."""
    student = states({k: [[[1.0, 2.0]]] for k in (1, 2, 3)}, [[1]], depth=3)
    teacher = states({k: [[[-1.0, -2.0]]] for k in (1, 2)}, [[1]], depth=2)
    loss = HiddenCosine.model_validate({"map": name})
    assert loss(student, teacher).item() == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["attention", "transport"])
def test_the_weights_carry_no_gradient(name: str) -> None:
    """Prevents a student that lowers the loss by choosing easy layers: the gradient is that of fixed weights."""
    state = torch.tensor([[[1.0, 0.5]]], requires_grad=True)
    student = Trace(mask=torch.ones(1, 1, dtype=torch.bool), hidden={1: state}, depth=1)
    teacher = states({1: [[[1.0, 0.0]]], 2: [[[0.0, 1.0]]]}, [[1]], depth=2)
    loss = HiddenMSE.model_validate({"map": name, "embeddings": False})
    weights = loss.map_weights(student, teacher)
    assert weights is not None
    (found,) = torch.autograd.grad(loss(student, teacher), state)
    # d/dx of mean (x - t)^2 is x - t for width 2; a mix and a weighted sum of squares agree in it.
    target = weights[0, 0] * torch.tensor([1.0, 0.0]) + weights[0, 1] * torch.tensor([0.0, 1.0])
    assert torch.allclose(found[0, 0], state.detach()[0, 0] - target, atol=1e-6)


def test_attention_scores_find_their_layer() -> None:
    """Prevents scores that are weighed by their height: layer 1 has the pattern of the teacher's second, far lower."""
    keys = torch.eye(3).view(1, 1, 3, 3)
    pattern = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]).view(1, 1, 3, 3)
    mask = torch.ones(1, 3, dtype=torch.bool)
    student = Trace(mask=mask, queries={1: pattern}, keys={1: keys}, depth=1)
    other = pattern.flip(-1)
    teacher = Trace(mask=mask, queries={1: other + 30, 2: pattern + 30}, keys={1: keys, 2: keys}, depth=2)
    weights = AttentionMSE(map="attention").map_weights(student, teacher)
    assert weights is not None and weights[0, 1] > 0.9
    assert AttentionMSE().map_weights(student, teacher) is None


class OnlyPairs(Loss):
    """A loss that compares chosen pairs."""

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})

    map: LayerMap = "uniform"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """The difference of the first pair."""
        ((one, two), *_) = layer_pairs(self.map, student.depth, required(teacher, "teacher").depth)
        return (student.hidden_at(one) - required(teacher, "teacher").hidden_at(two)).mean()


@pytest.mark.parametrize("name", ["attention", "transport"])
def test_a_loss_on_pairs_refuses_soft_maps(name: str) -> None:
    """Prevents a map that is accepted and then read as `all pairs alike`."""
    with pytest.raises(ValidationError, match="compares chosen pairs only; use uniform"):
        OnlyPairs.model_validate({"map": name})
    with pytest.raises(InputError, match="weighs all teacher layers"):
        layer_pairs(name, 2, 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["attention", "transport"])
def test_what_cannot_be_compared_is_refused(name: str) -> None:
    """Prevents an error about matrix shapes deep inside."""
    narrow = states({0: [[[1.0]]], 1: [[[1.0]]]}, [[1]], depth=1)
    wide = states({0: [[[1.0, 2.0]]], 1: [[[1.0, 2.0]]]}, [[1]], depth=1)
    masked = states({0: [[[1.0]]], 1: [[[1.0]]]}, [[0]], depth=1)
    loss = HiddenMSE.model_validate({"map": name})
    with pytest.raises(InputError, match="1 wide and the teacher 2"):
        loss(narrow, wide)
    with pytest.raises(InputError, match="masked"):
        loss(masked, masked)
