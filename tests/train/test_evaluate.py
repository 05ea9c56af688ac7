"""collect: outputs of every row, in row order, from a model in eval mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.train.evaluate import collect
from tests.train.tiny import features, objective, plain_collate


def _flatten(logits: Tensor, labels: Tensor, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return logits[outputs].float().cpu().numpy(), labels[outputs].cpu().numpy()


def test_rows_come_back_in_their_order() -> None:
    """Batches sorted by length and never put back compare predictions with other rows' labels."""
    model, rows = objective().student, features(21)
    logits, labels = collect(model, rows, plain_collate, _flatten, batch_size=4)
    assert labels.tolist() == [row["labels"] for row in rows]
    model.eval()
    with torch.no_grad():
        batch = plain_collate(rows[5:6], torch.Generator())
        alone = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert np.allclose(logits[5], alone[0].numpy(), atol=1e-6)


def test_dropout_is_off_and_the_mode_is_put_back() -> None:
    """Metrics under dropout understate a model; a model left in eval mode trains without it."""
    model, rows = objective().student.train(), features(9)
    first, _ = collect(model, rows, plain_collate, _flatten)
    second, _ = collect(model, rows, plain_collate, _flatten)
    assert np.array_equal(first, second)
    assert model.training


def test_rows_may_have_any_number_of_outputs() -> None:
    """Token tasks flatten to one output per word: joined in batch order they would be shuffled."""
    model, rows = objective().student, features(7)

    def per_token(logits: Tensor, labels: Tensor, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        counts = [int(label) + 1 for label in labels]
        return (
            np.concatenate([np.repeat(logits[[at]].numpy(), n, axis=0) for at, n in enumerate(counts)]),
            np.concatenate([np.repeat(labels[[at]].numpy(), n) for at, n in enumerate(counts)]),
        )

    def token_collate(chosen: list[dict[str, object]], generator: torch.Generator) -> dict[str, Tensor]:
        batch = plain_collate(chosen, generator)
        return {**batch, "outputs": torch.ones(len(chosen), 2, dtype=torch.bool)}

    _, labels = collect(model, rows, token_collate, per_token, batch_size=3)
    assert labels.tolist() == [row["labels"] for row in rows for _ in range(row["labels"] + 1)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_changes_numbers_a_little_only(precision: str) -> None:
    """A forward pass that ignores `precision`, or breaks under it."""
    model, rows = objective().student, features(8)
    exact, _ = collect(model, rows, plain_collate, _flatten)
    logits, _ = collect(model, rows, plain_collate, _flatten, precision=precision)
    assert logits.dtype == np.float32
    assert np.abs(logits - exact).max() < 0.05
    assert (precision == "fp32") == np.array_equal(logits, exact)
