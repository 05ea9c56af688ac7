"""Rows, tables and weights in int8, without tracing a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from compress.core.errors import InputError, JobError
from compress.export.shapes import trial_batches
from compress.quantize.base import FloatStudent, needs_reduced_range
from compress.quantize.onnx import Onnx
from compress.quantize.rows import quantize_rows, same_rows
from compress.quantize.torch import Torch
from compress.runtime.engines.torch_int8 import FILE, Int8Embedding, Int8Linear, load_int8
from tests.quantize.forms import LONGEST, model_of

INPUTS = ["input_ids", "attention_mask"]
ABOUT = {"engine": {"torch": {"file": FILE}}}


def test_rows_by_hand() -> None:
    """A scale for the whole table, or steps of the wrong size."""
    rows, scales = quantize_rows(np.array([[1.27, -0.02, 0.004], [0.0, 0.0, 0.0], [-127.0, 63.5, 1.0]]))
    assert rows.tolist() == [[127, -2, 0], [0, 0, 0], [-127, 64, 1]]
    np.testing.assert_allclose(scales, [0.01, 1e-12, 1.0], rtol=1e-6)
    assert rows.dtype == np.int8 and scales.dtype == np.float32
    assert quantize_rows(np.array([[1.0, -1.0]]), largest=63)[0].tolist() == [[63, -63]]


def test_same_rows_tells_a_rounding_from_another_matrix() -> None:
    """Two tables of one shape taken for tied, so that one of them is lost."""
    weights = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    rows, scales = quantize_rows(weights)
    assert same_rows(weights, rows, scales)
    assert not same_rows(weights[::-1], rows, scales)


def graph(path: Path, tied: bool) -> Path:
    """`Gather` from a table, then a product: with its own matrix, or with the transposed table."""
    draw = np.random.default_rng(1)
    table, matrix = (draw.normal(size=(30, 8)).astype(np.float32) for _ in range(2))
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    if tied:
        nodes.append(helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", ["rows", "turned" if tied else "matrix"], ["logits"]))
    stored = [numpy_helper.from_array(table, "table")]
    stored += [] if tied else [numpy_helper.from_array(np.ascontiguousarray(matrix.T), "matrix")]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", 30])
    made = helper.make_model(helper.make_graph(nodes, "tiny", [ids], [logits], stored), ir_version=9,
                             opset_imports=[helper.make_opsetid("", 20)])  # fmt: skip
    onnx.save(made, str(path))
    return path


@pytest.mark.parametrize("tied", [False, True])
def test_onnx_tables_and_products_are_int8(tmp_path: Path, tied: bool) -> None:
    """ "int8" that is float in the embedding, and a tied table that is stored twice."""
    source = graph(tmp_path / "float.onnx", tied)
    facts = Onnx().quantize(FloatStudent(model_of("bert", "classify"), [], source), tmp_path)
    held = {
        name: (value.dtype.name, tuple(value.const_value.shape))
        for name, value in onnx_ir.load(tmp_path / "model.onnx").graph.initializers.items()
        if value.const_value.size >= 240
    }
    assert {kind for kind, _ in held.values()} == {"INT8"} and len(held) == (1 if tied else 2)
    assert facts["weights"]["int8_share"] > 0.7 and facts["reduce_range"] == needs_reduced_range()
    ids = np.random.default_rng(2).integers(0, 30, (3, 4))
    before, after = (
        onnxruntime.InferenceSession(str(path)).run(None, {"input_ids": ids})[0]
        for path in (source, tmp_path / "model.onnx")
    )
    assert 0 < np.abs(before - after).max() < 0.03 * np.abs(before).max()


def test_embeddings_may_stay_float(tmp_path: Path) -> None:
    """An option that is read and has no effect."""
    facts = Onnx(embeddings=False).quantize(
        FloatStudent(model_of("bert", "classify"), [], graph(tmp_path / "float.onnx", False)), tmp_path
    )
    assert facts["weights"]["float32"] > 240
    model = model_of("bert", "classify")
    less = Torch(embeddings=False).quantize(FloatStudent(model, []), tmp_path)["weights"]["int8"]
    assert Torch().quantize(FloatStudent(model, []), tmp_path)["weights"]["int8"] > less + 125 * 32


def test_onnx_that_quantized_nothing_fails(tmp_path: Path) -> None:
    """A float file under the name of int8."""
    ids = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"])
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["logits"])], "none", [ids], [out])
    onnx.save(helper.make_model(body, ir_version=9, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "f.onnx")
    with pytest.raises(JobError, match="nothing in it could be quantized"):
        Onnx().quantize(FloatStudent(model_of("bert", "classify"), [], tmp_path / "f.onnx"), tmp_path)


@pytest.mark.parametrize(("family", "task"), [("roberta", "mask"), ("distilbert", "mask"), ("roberta", "classify")])
def test_torch_stores_int8_and_rebuilds_it(tmp_path: Path, family: str, task: str) -> None:
    """Weights that are quantized in memory and stored as float, twice when tied, or that come back otherwise."""
    model = model_of(family, task, layers=2)
    batches = trial_batches(model.config, INPUTS, LONGEST)
    facts = Torch().quantize(FloatStudent(model, batches), tmp_path)
    tensors = load_file(tmp_path / FILE)
    matrices = {name: tensor.dtype for name, tensor in tensors.items() if tensor.ndim == 2}
    assert set(matrices.values()) == {torch.int8}
    assert sum(tensor.shape[0] == 125 for tensor in tensors.values() if tensor.ndim == 2) == 1
    assert facts["weights"]["int8"] == sum(tensor.numel() for tensor in tensors.values() if tensor.ndim == 2)
    loaded = load_int8(tmp_path, ABOUT)
    kinds = {type(module) for module in loaded.modules()}
    assert {Int8Linear, Int8Embedding} <= kinds and not kinds & {torch.nn.Linear, torch.nn.Embedding}
    for batch in batches:
        with torch.inference_mode():
            before, after = model(**batch).logits, loaded(**batch).logits
        assert before.shape == after.shape and 0 < (before - after).abs().max() < 0.1 * before.abs().max()


@pytest.mark.parametrize("family", ["albert", "electra", "mpnet", "deberta-v2"])
def test_torch_int8_of_families_that_share_factorize_or_read_a_whole_table(tmp_path: Path, family: str) -> None:
    """A layer that runs twice, a projection, or DeBERTa's table of positions, which is read and not looked up."""
    model = model_of(family, "classify", layers=2)
    batches = trial_batches(model.config, INPUTS, LONGEST)
    Torch().quantize(FloatStudent(model, batches), tmp_path)
    loaded = load_int8(tmp_path, ABOUT)
    for batch in batches:
        with torch.inference_mode():
            before, after = model(**batch).logits, loaded(**batch).logits
        assert 0 < (before - after).abs().max() < 0.2 * before.abs().max()


def test_the_float_model_is_left_as_it_was(tmp_path: Path) -> None:
    """A quantizer that changes the model that the next method starts from."""
    model = model_of("bert", "classify")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Torch().quantize(FloatStudent(model, []), tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert len(before) == len(model.state_dict())


@pytest.mark.parametrize("part", ["classifier", "bert.embeddings.word_embeddings", "bert.pooler.dense"])
def test_int8_that_loads_as_something_else_is_not_kept(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of one weight is less than what rounding may do to the outputs, and is still another model."""

    def otherwise(folder: Path, about: dict[str, Any]) -> Any:
        loaded = load_int8(folder, about)
        module = loaded.get_submodule(part)
        if isinstance(module, Int8Embedding):
            module.rows[0, 0] += 1
        else:
            weight, bias = torch.ops.quantized.linear_unpack(module.packed)
            rows = weight.int_repr()
            rows[0, 0] += 1 if rows[0, 0] < 0 else -1
            loaded.set_submodule(part, Int8Linear(rows, weight.q_per_channel_scales().float(), bias, module.reduced))
        return loaded

    monkeypatch.setattr("compress.quantize.torch.load_int8", otherwise)
    with pytest.raises(JobError, match=f"{part} differ when loaded again"):
        Torch().quantize(FloatStudent(model_of("bert", "classify"), []), tmp_path)


def test_a_damaged_int8_file_is_named(tmp_path: Path) -> None:
    """A truncated, foreign or incomplete file that ends in a traceback, or in random weights."""
    Torch().quantize(FloatStudent(model_of("bert", "classify"), []), tmp_path)
    path = tmp_path / FILE
    whole, tensors = path.read_bytes(), load_file(path)
    with safe_open(path, framework="pt") as held:
        facts = held.metadata()
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match=FILE):
        load_int8(tmp_path, ABOUT)
    save_file(tensors, path)
    with pytest.raises(InputError, match="expected the format stillroom-int8 1"):
        load_int8(tmp_path, ABOUT)
    save_file({name: tensor for name, tensor in tensors.items() if "LayerNorm" not in name}, path, metadata=facts)
    with pytest.raises(InputError, match="Missing key"):
        load_int8(tmp_path, ABOUT)
    tensors["bert.encoder.layer.0.output.dense.weight"] = torch.zeros(3, 3, dtype=torch.int8)
    save_file(tensors, path, metadata=facts)
    with pytest.raises(InputError, match=r"not a matrix of shape \[3, 3\]"):
        load_int8(tmp_path, ABOUT)


def test_onnx_needs_the_exported_file(tmp_path: Path) -> None:
    """A plain import that forgets the export."""
    with pytest.raises(InputError, match="export the student to ONNX first"):
        Onnx().quantize(FloatStudent(model_of("bert", "classify"), []), tmp_path)
