"""The ONNX exporter on its own: shapes, padding, axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from compress.core.errors import JobError
from compress.export.onnx import Onnx
from compress.export.shapes import trial_batches
from tests.quantize.forms import LONGEST, model_of

INPUTS = {"bert": ["input_ids", "token_type_ids", "attention_mask"], "roberta": ["input_ids", "attention_mask"]}


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_trial_batches_cover_the_shapes_that_break(family: str) -> None:
    """A parity check without padding, without batch 1 and length 1, or without the longest length proves little."""
    batches = trial_batches(model_of(family, "classify").config, INPUTS[family], LONGEST)
    shapes = [tuple(batch["input_ids"].shape) for batch in batches]
    assert min(shapes[0]) > 1 and {(1, 1), (1, 12), (2, LONGEST)} <= set(shapes)
    for batch in batches:
        assert list(batch) == INPUTS[family]
        mask = batch["attention_mask"].bool()
        assert mask.any(1).all() and (batch["input_ids"][~mask] == 0).all() and (batch["input_ids"][mask] != 0).all()
        assert len(mask) == 1 or mask.shape[1] == 1 or not mask.all()


def test_the_export_equals_eager_at_new_shapes(tmp_path: Path) -> None:
    """A graph that holds only at the shapes on which it was checked."""
    model = model_of("bert", "classify")
    facts = Onnx().export(model, trial_batches(model.config, INPUTS["bert"], LONGEST), LONGEST, tmp_path)
    assert facts["file"] == "model.onnx" and facts["difference_from_eager"] < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert [node.shape for node in session.get_inputs()] == [["batch", "sequence"]] * 3
    for rows, length in ((1, 2), (4, 3), (7, 31)):
        ids = torch.randint(5, 100, (rows, length))
        mask = (torch.arange(length) < torch.arange(1, rows + 1)[:, None] * length / rows).long()
        mask[:, 0] = 1
        batch = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": mask}
        with torch.inference_mode():
            expected = model(**batch).logits.numpy()
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_difference_is_a_failed_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that computes something else and is kept."""
    model = model_of("bert", "classify")
    monkeypatch.setattr("compress.export.onnx.trace", lambda *_: None)
    monkeypatch.setattr("compress.export.onnx.save", lambda *_: None)
    monkeypatch.setattr("compress.export.onnx.parity", lambda *_: float("nan"))
    with pytest.raises(JobError, match="differ from the eager model's by nan"):
        Onnx().export(model, trial_batches(model.config, INPUTS["bert"], LONGEST), LONGEST, tmp_path)
