"""Sizes by part, read from file headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.bench.weights import part_of, tensors_of
from compress.core.errors import InputError


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("bert.embeddings.word_embeddings.weight", "embeddings"),
        ("bert.embeddings.LayerNorm.bias", "embeddings"),
        ("roberta.embeddings.word_embeddings.weight_quantized", "embeddings"),
        ("bert.encoder.layer.0.attention.self.query.weight", "encoder"),
        ("distilbert.transformer.layer.1.ffn.lin1.bias", "encoder"),
        ("electra.embeddings_project.weight", "embeddings"),
        ("albert.encoder.embedding_hidden_mapping_in.bias", "embeddings"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", "encoder"),
        ("mpnet.encoder.relative_attention_bias.weight", "encoder"),
        ("albert.pooler.weight", "head"),
        ("predictions.decoder.bias", "head"),
        ("generator_predictions.dense.weight", "head"),
        ("bert.pooler.dense.weight", "head"),
        ("pre_classifier.weight", "head"),
        ("classifier.out_proj.weight", "head"),
        ("cls.predictions.transform.dense.weight", "head"),
        ("vocab_projector.bias", "head"),
    ],
)
def test_parts_by_name(name: str, part: str) -> None:
    """A head counted as encoder would hide what cutting the encoder can win."""
    assert part_of(name) == part


def test_safetensors_are_sized_from_the_header_alone(tmp_path: Path) -> None:
    """Loading the weights to weigh them would need torch and the memory of the model."""
    header = {
        "__metadata__": {"format": "pt"},
        "bert.embeddings.word_embeddings.weight": {"dtype": "F32", "shape": [5, 2], "data_offsets": [0, 40]},
        "classifier.bias": {"dtype": "F16", "shape": [3], "data_offsets": [40, 46]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(46))
    assert [(one.name, one.elements, one.size) for one in tensors_of(path)] == [
        ("bert.embeddings.word_embeddings.weight", 10, 40),
        ("classifier.bias", 3, 6),
    ]
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        tensors_of(path)


def test_an_unnamed_onnx_weight_belongs_to_the_module_that_uses_it(tmp_path: Path) -> None:
    """The exporter folds transposes into constants called val_69, and a tagger's head would count as encoder."""
    nodes = [
        helper.make_node("MatMul", ["x", "val_1"], ["product"]),
        helper.make_node("Identity", ["product"], ["y"]),
    ]
    note = nodes[1].metadata_props.add()
    note.key, note.value = "namespace", ": a.Tagger/classifier: torch.nn.Linear/linear: aten.linear.default"
    values = {
        "val_1": np.zeros((2, 3), np.float32),
        "val_1_scale": np.float32(1),
        "axes": np.array([1]),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    found = {one.name: (one.elements, one.size, one.weight) for one in tensors_of(tmp_path / "model.onnx")}
    assert found == {"classifier": (6, 24, True), "val_1_scale": (1, 4, False), "axes": (1, 8, False)}
