"""What comes into a process with a student."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from onnx import TensorProto, helper, save

HEAVY = ("torch", "transformers", "pydantic", "datasets", "onnx", "safetensors", "sklearn")
CODE = """
import sys
from compress import Student
student = Student.load(sys.argv[1], threads=1)
print(student.engine.name, [p.label for p in student.predict(["good", "The film is not bad"])])
print([name for name in {heavy!r} if name in sys.modules])
"""


def test_onnx_student_never_imports_torch(student: Callable[[str, str], Path], tmp_path: Path) -> None:
    """One import of torch costs an app seconds and gigabytes."""
    folder = tmp_path / "student"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((student("bert", "classify") / name).read_bytes())
    count_graph(folder / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), str(folder)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.strip().splitlines()
    assert first.startswith("onnx ['bad', 'bad']")
    assert second == "[]"
    assert done.stderr == ""


def count_graph(path: Path) -> None:
    """A graph whose logits are the number of real tokens, less it, and 0."""
    nodes = [
        helper.make_node("ReduceSum", ["attention_mask", "axis"], ["count"], keepdims=1),
        helper.make_node("Cast", ["count"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "signs"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 3])]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("signs", TensorProto.FLOAT, [1, 3], [1.0, -1.0, 0.0]),
    ]
    graph = helper.make_graph(nodes, "count", inputs, outputs, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
