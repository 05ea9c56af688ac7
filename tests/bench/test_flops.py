"""Multiply-adds that can be worked out by hand, and zeros that can be counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from compress.bench.flops import of_graph, of_weights
from compress.bench.zeros import zeros_share

WIDTH, FFN, TOKENS = 4, 6, 5


def _encoder(path: Path, **changes: np.ndarray) -> Path:
    layer = "bert.encoder.layer.0"
    square = np.ones((WIDTH, WIDTH), np.float32)
    tensors = {
        "bert.embeddings.word_embeddings.weight": np.ones((9, WIDTH), np.float32),
        "bert.embeddings.LayerNorm.weight": np.ones(WIDTH, np.float32),
        **{f"{layer}.attention.self.{name}.weight": square for name in ("query", "key", "value")},
        f"{layer}.attention.output.dense.weight": square,
        f"{layer}.intermediate.dense.weight": np.ones((FFN, WIDTH), np.float32),
        f"{layer}.output.dense.weight": np.ones((WIDTH, FFN), np.float32),
        "bert.pooler.dense.weight": square,
        "classifier.weight": np.ones((2, WIDTH), np.float32),
        **changes,
    }
    save_file(tensors, path)
    return path


def test_a_classifier_s_head_works_once_for_each_text(tmp_path: Path) -> None:
    """A head counted for every token would make a short text look dear and the encoder cheap."""
    path = _encoder(tmp_path / "model.safetensors")
    layer = TOKENS * (4 * WIDTH**2 + 2 * WIDTH * FFN)
    scores = 2 * TOKENS**2 * WIDTH
    assert of_weights(path, TOKENS, "classify", {}).total == layer + scores + WIDTH**2 + 2 * WIDTH
    tagging = of_weights(path, TOKENS, "tag", {})
    assert tagging.total == layer + scores + TOKENS * (WIDTH**2 + 2 * WIDTH)
    assert tagging.flops == 2 * tagging.total and tagging.int8_share == 0.0


def test_int8_rows_are_counted_as_int8_and_scores_never(tmp_path: Path) -> None:
    """An `int8` model whose attention runs in float is not all int8."""
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    path = _encoder(tmp_path / "model.safetensors", **{name: np.ones((FFN, WIDTH), np.int8)})
    work = of_weights(path, TOKENS, "classify", {})
    assert work.int8 == TOKENS * WIDTH * FFN


def test_a_mask_model_s_tied_table_is_multiplied_though_it_is_stored_once(tmp_path: Path) -> None:
    """The product with the vocabulary is most of a small mask model's work."""
    path = _encoder(tmp_path / "model.safetensors")
    extra = of_weights(path, TOKENS, "mask", {}).total - of_weights(path, TOKENS, "tag", {}).total
    assert extra == TOKENS * 9 * WIDTH


def test_shared_layers_are_counted_as_often_as_they_run(tmp_path: Path) -> None:
    """ALBERT stores one layer and runs twelve: its size says nothing of its work."""
    group = "albert.encoder.albert_layer_groups.0.albert_layers.0"
    path = tmp_path / "model.safetensors"
    save_file({f"{group}.attention.query.weight": np.ones((WIDTH, WIDTH), np.float32)}, path)
    once, twelve = (of_weights(path, TOKENS, "classify", {"num_hidden_layers": n}).total for n in (1, 12))
    assert twelve == 12 * once == 12 * (TOKENS * WIDTH**2 + 2 * TOKENS**2 * WIDTH)


@pytest.mark.parametrize("name", ["albert.encoder.embedding_hidden_mapping_in", "electra.embeddings_project"])
def test_the_projection_of_factorized_embeddings_is_multiplied_once(name: str, tmp_path: Path) -> None:
    """It belongs to the embeddings and is no table; and ALBERT, which repeats its layer, does not repeat it."""
    path = tmp_path / "model.safetensors"
    group = "albert.encoder.albert_layer_groups.0.albert_layers.0"
    save_file(
        {f"{name}.weight": np.ones((WIDTH, 2), np.float32), f"{group}.ffn.weight": np.ones((1, 1), np.float32)}, path
    )
    assert of_weights(path, TOKENS, "classify", {"num_hidden_layers": 12}).total == TOKENS * (2 * WIDTH + 12)


def test_a_graph_is_counted_from_the_shapes_that_it_gets(tmp_path: Path) -> None:
    """Exported graphs name their dimensions; only a run tells what a product really multiplies."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("DynamicQuantizeLinear", ["x"], ["x8", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["x8", "weight", "zero"], ["y8"]),
        helper.make_node("Cast", ["y8"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["y"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["y", "turned"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "s", "s"])],
        [
            numpy_helper.from_array(np.ones((9, WIDTH), np.float32), "table"),
            numpy_helper.from_array(np.ones((WIDTH, FFN), np.uint8), "weight"),
        ],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    work = of_graph(path, TOKENS)
    assert (work.int8, work.total) == (TOKENS * WIDTH * FFN, TOKENS * WIDTH * FFN + TOKENS**2 * FFN)


def test_zeros_are_counted_in_every_number_format(tmp_path: Path) -> None:
    """Pruned weights in a dense tensor are stored and multiplied like all others, in every number format."""
    half = np.array([[0, 1], [0, 2]])
    for kind in (np.float32, np.float16, np.int8):
        save_file({"a.weight": half.astype(kind), "a.bias": np.zeros(3, kind)}, tmp_path / "model.safetensors")
        assert zeros_share(tmp_path / "model.safetensors") == 0.5
    point = np.array(128, np.uint8)
    graph = helper.make_graph(
        [], "g", [], [],
        [
            numpy_helper.from_array((half + 128).astype(np.uint8), "w_quantized"),
            numpy_helper.from_array(point, "w_zero_point"),
        ],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    assert zeros_share(tmp_path / "model.onnx") == pytest.approx(0.5)
