"""The losses on whole texts against numbers worked out by hand from the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import Loss
from compress.losses.contrastive import Contrastive
from compress.losses.embedding_cosine import EmbeddingCosine
from compress.losses.embedding_mse import EmbeddingMSE
from compress.losses.pkd_mse import PKDMSE
from compress.losses.rkd_angle import RKDAngle
from compress.losses.rkd_distance import RKDDistance
from compress.losses.sample_relations import SampleRelations
from compress.losses.texts import TextLoss
from tests.losses.traces import embedded, states

BETWEEN = [SampleRelations(), RKDDistance(), RKDAngle(), Contrastive()]


def test_embedding_mse_by_hand() -> None:
    """Prevents a sum over widths: (1 + 4) / 2 and 0, mean of the two texts."""
    found = EmbeddingMSE()(embedded([[1.0, 2.0], [3.0, 3.0]]), embedded([[0.0, 0.0], [3.0, 3.0]]))
    assert found.item() == pytest.approx(1.25)


def test_embedding_cosine_by_hand() -> None:
    """Prevents lengths from counting: a right angle and none give (1 + 0) / 2."""
    found = EmbeddingCosine()(embedded([[1.0, 0.0], [2.0, 2.0]]), embedded([[0.0, 3.0], [1.0, 1.0]]))
    assert found.item() == pytest.approx(0.5, abs=1e-6)


def test_sample_relations_by_hand() -> None:
    """Prevents rows that are not divided by their length: (1, 0) against (1, 1) / sqrt 2 is 2 - sqrt 2 away."""
    found = SampleRelations()(embedded([[2.0, 0.0], [0.0, 3.0]]), embedded([[1.0], [1.0]]))
    assert found.item() == pytest.approx(2 - math.sqrt(2), abs=1e-6)


def test_rkd_distance_by_hand() -> None:
    """Prevents a wrong unit: 0, 1, 2 is (3/4, 3/4, 3/2) mean distances, 0, 1, 3 is (1/2, 1, 3/2); two differ by 1/4."""
    found = RKDDistance()(embedded([[0.0], [1.0], [2.0]]), embedded([[0.0, 0.0], [10.0, 0.0], [30.0, 0.0]]))
    assert found.item() == pytest.approx(2 * (0.5 * 0.25**2) / 3, abs=1e-6)


def test_rkd_angle_by_hand() -> None:
    """Prevents a wrong corner: cosines of 1/2 in an equal triangle against (0, 1, 1) / sqrt 2 in half a square."""
    equal = embedded([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])
    square = embedded([[5.0, 5.0], [7.0, 5.0], [5.0, 7.0]])
    expected = (0.5 * 0.5**2 + 2 * 0.5 * (math.sqrt(0.5) - 0.5) ** 2) / 3
    assert RKDAngle()(equal, square).item() == pytest.approx(expected, abs=1e-6)


def test_contrastive_by_hand() -> None:
    """Prevents similarities that are not cosines, and pairs the wrong way round: cosines 1 and 0 at T = 1 and 1/2."""
    student, teacher = embedded([[2.0, 0.0], [0.0, 9.0]]), embedded([[1.0, 0.0], [0.0, 1.0]])
    for temperature, near in ((1.0, math.exp(-1)), (0.5, math.exp(-2))):
        plain = Contrastive(temperature=temperature, negatives=None)(student, teacher)
        assert plain.item() == pytest.approx(math.log(1 + near), abs=1e-6)
        seven = Contrastive(temperature=temperature, negatives=7)(student, teacher)
        assert seven.item() == pytest.approx(math.log(1 + 7 * near), abs=1e-6)
    crossed = embedded([[0.0, 1.0], [1.0, 0.0]])
    found = Contrastive(temperature=1.0, negatives=None)(crossed, teacher)
    assert found.item() == pytest.approx(math.log(1 + math.e), abs=1e-6)


@pytest.mark.parametrize("size", [2, 32, 200])
def test_contrastive_does_not_grow_with_the_batch(size: int) -> None:
    """Prevents a weight that means another thing at another batch size: one that knows nothing, one that is as sure."""
    teacher = embedded(torch.eye(size).tolist())
    nothing = embedded([[1.0] * size] * size)
    assert Contrastive()(nothing, teacher).item() == pytest.approx(math.log(32), rel=1e-5)
    assert Contrastive(negatives=None)(nothing, teacher).item() == pytest.approx(math.log(size), rel=1e-5)
    expected = math.log(1 + 31 * math.exp(-1))
    assert Contrastive(temperature=1.0)(teacher, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_a_repeated_text_is_no_negative_of_itself() -> None:
    """Prevents two of one text from being pushed apart: with the sum itself too, and a batch of one text gives 0."""
    teacher = embedded([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = Contrastive(temperature=1.0, negatives=None)(teacher, teacher)
    expected = (2 * math.log(1 + math.exp(-1)) + math.log(1 + 2 * math.exp(-1))) / 3
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert Contrastive()(embedded([[1.0, 0.0]] * 3), embedded([[1.0, 1.0]] * 3)).item() == 0


def test_pkd_mse_by_hand() -> None:
    """Prevents other tokens and lengths from counting: a right angle is 2 away, parallel states 0; mean 1."""
    student = states({1: [[[3.0, 0.0], [9.0, 9.0]], [[1.0, 1.0], [9.0, 9.0]]]}, [[1, 1], [1, 1]], depth=1)
    teacher = states({2: [[[0.0, 5.0], [0.0, 1.0]], [[2.0, 2.0], [0.0, 1.0]]]}, [[1, 1], [1, 1]], depth=2)
    assert PKDMSE()(student, teacher).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("loss", [RKDDistance(), RKDAngle()])
def test_rkd_is_free_of_the_student_s_coordinates(loss: TextLoss) -> None:
    """Prevents a relation that depends on where, how large, or how turned the student's space is, or on its width."""
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0][:3]
    moved = 7 * points @ turn + torch.tensor([1.0, -2.0, 3.0, 4.0])
    assert loss(embedded(moved.tolist()), embedded(points.tolist())).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [RKDDistance(), RKDAngle(), SampleRelations(), Contrastive(), EmbeddingCosine()])
def test_texts_that_fall_together_give_finite_gradients(loss: Loss) -> None:
    """Prevents NaN and huge gradients when the student gives two texts, or all, the same vector."""
    teacher = embedded([[0.0, 1.0], [2.0, 0.0], [5.0, 5.0], [1.0, -3.0]])
    for vectors in ([[1.0, 2.0], [1.0, 2.0], [4.0, 0.0], [0.0, 7.0]], [[1.0, 2.0]] * 4, [[0.0, 0.0]] * 4):
        student = embedded(vectors)
        found = loss(student, teacher)
        found.backward()
        assert student.embedding is not None and student.embedding.grad is not None
        assert torch.isfinite(found) and torch.isfinite(student.embedding.grad).all()
        assert student.embedding.grad.abs().max() < 20


@pytest.mark.parametrize("loss", [RKDDistance(), RKDAngle()])
def test_a_text_that_stands_twice_does_not_change_the_unit(loss: TextLoss) -> None:
    """Prevents duplicates of the teacher's from shrinking its mean distance, or adding angles of nothing."""
    mine, theirs = [[0.0, 1.0], [2.0, 0.0], [5.0, 5.0]], [[1.0, 1.0], [0.0, 4.0], [3.0, 1.0]]
    once = loss(embedded(mine), embedded(theirs)).item()
    assert loss(embedded(mine * 2), embedded(theirs * 2)).item() == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "teacher"), [(RKDDistance(), [[1.0]] * 3), (RKDAngle(), [[1.0]] * 3), (RKDAngle(), [[0.0], [0.0], [1.0]])]
)
def test_a_batch_of_one_repeated_text_does_not_end_a_training(loss: TextLoss, teacher: list[list[float]]) -> None:
    """Batches are of similar length, so that a corpus with many `ok` has one of nothing else, hours after the start."""
    student = embedded([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    found = loss(student, embedded(teacher))
    found.backward()
    assert found.item() == 0 and student.embedding is not None and student.embedding.grad is not None
    assert student.embedding.grad.abs().sum() == 0


def test_what_stands_for_a_text() -> None:
    """Prevents padding in the mean, and a first token that is padding when the left side is padded."""
    hidden = [[[1.0], [3.0], [99.0]], [[99.0], [4.0], [6.0]]]
    student = states({1: hidden}, [[1, 1, 0], [0, 1, 1]], depth=1)
    teacher = states({1: [[[2.0], [2.0], [0.0]], [[0.0], [5.0], [5.0]]]}, [[1, 1, 0], [0, 1, 1]], depth=1)
    for of, vectors in (("mean", [[2.0], [5.0]]), ("first", [[1.0], [4.0]])):
        loss = SampleRelations.model_validate({"of": of})
        expected = SampleRelations()(embedded(vectors), embedded([[2.0], [5.0]])).item()
        assert loss(student, teacher).item() == pytest.approx(expected, abs=1e-6)
        assert loss.needs == {"hidden"} and loss.pairs(3, 6) == [(3, 6)]
    assert SampleRelations().needs == {"embedding"} and SampleRelations().pairs(3, 6) == []


def test_texts_of_another_tokenizer_can_be_compared() -> None:
    """Prevents relations between texts from needing equal tokens: the teacher saw two where the student saw three."""
    student = states({1: [[[1.0], [1.0], [1.0]], [[2.0], [2.0], [2.0]]]}, [[1, 1, 1], [1, 1, 0]], depth=1)
    teacher = states({1: [[[1.0], [1.0]], [[2.0], [9.0]]]}, [[1, 1], [1, 0]], depth=1)
    assert SampleRelations(of="mean")(student, teacher).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", BETWEEN)
def test_too_few_texts_are_refused_with_the_reason(loss: TextLoss) -> None:
    """Prevents a term that is always 0 in a batch too small to have a relation."""
    few = embedded([[float(row), 1.0] for row in range(loss.least_rows - 1)])
    with pytest.raises(InputError, match=rf"needs {loss.least_rows} texts in a batch: {loss.why}"):
        loss(few, few)
    assert loss.least_rows > 1 and loss.why


def test_degenerate_input_is_refused_with_the_reason() -> None:
    """Prevents silent nonsense: unequal widths, other texts, a map that nothing reads."""
    apart = embedded([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    for loss in (EmbeddingMSE(), EmbeddingCosine(), Contrastive()):
        with pytest.raises(InputError, match="2 wide and the teacher 1"):
            loss(apart, embedded([[0.0], [0.0], [1.0]]))
    with pytest.raises(InputError, match="3 texts and the teacher 2"):
        SampleRelations()(apart, embedded([[0.0], [1.0]]))
    with pytest.raises(InputError, match="no embedding"):
        EmbeddingMSE()(Trace(mask=torch.ones(1, 1).bool()), apart)
    with pytest.raises(ValueError, match="no layers to map"):
        SampleRelations(map="last")
    with pytest.raises(ValueError, match="greater than 0"):
        Contrastive(temperature=0.0)
