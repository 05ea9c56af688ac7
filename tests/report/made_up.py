"""A made-up run: manifests and measures as steps write them, with numbers that are easy to check by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from compress.core.artifact import ArtifactWriter, write_json

ENVIRONMENT = {
    "python": "3.11.9", "system": "Linux 6.1", "packages": {"torch": "2.13.0", "onnxruntime": "1.31.1"},
    "cpu": "Example CPU @ 2.0 GHz", "cpu_flags": ["avx512_vnni", "amx_int8"], "gpu": [], "git_commit": "abc123",
    "cores": 2, "affinity": [0, 1], "cgroup_cpu_quota": None, "memory_limit_bytes": 8_000_000_000, "threads": "2",
    "load_1min": 0.3,
}  # fmt: skip
LENGTHS, BATCHES = (16, 64, 128), (1, 8, 32)
SHAPES: dict[str, dict[str, Any]] = {
    "teacher": {"accuracy": 0.914, "mb": 88.6, "ms": 31.2, "engine": "torch", "dtype": "float32", "layers": 12},
    "student": {"accuracy": 0.9036, "mb": 61.1, "ms": 8.4, "engine": "torch", "dtype": "float32", "layers": 3},
    "int8": {"accuracy": 0.9024, "mb": 15.9, "ms": 2.61, "engine": "onnx", "dtype": "int8", "layers": 3},
    "tiny": {"accuracy": 0.842, "mb": 58.0, "ms": 3.9, "engine": "torch", "dtype": "float32", "layers": 2},
}


def measure(value: float | None, unit: str, half: float | None = None, n: int = 40, why: str = "") -> dict[str, Any]:
    """A measure with a symmetric interval."""
    interval = None if half is None or value is None else [value - half, value + half]
    found: dict[str, Any] = {"value": value, "unit": unit, "interval": interval, "n": n}
    return {**found, "why": why} if why else {**found, "samples": [value, value]}


def subject(shape_name: str, **changes: Any) -> dict[str, Any]:
    """One benched subject of `SHAPES`."""
    name, shape, teacher = shape_name, SHAPES[shape_name], SHAPES["teacher"]
    total = shape["mb"] * 1e6
    parts = {"embeddings": 0.52, "encoder": 0.44, "head": 0.01, "tokenizer": 0.025, "other": 0.005}
    found = {
        "name": name, "reference": name == "teacher", "source": f"runs/x/{name}", "engine": shape["engine"],
        "dtype": shape["dtype"], "threads": 2, "device": "cpu", "status": "ok", "error": None,
        "quality": {
            "metric": "accuracy", "split": "test",
            "values": {"accuracy": measure(shape["accuracy"], "score", 0.019, 872),
                       "f1": measure(0.9, "score", 0.02, 872)},
            "retained": measure(shape["accuracy"] / teacher["accuracy"], "ratio", 0.0094, 2000),
        },
        "size": {"total": measure(total, "bytes"),
                 **{part: measure(total * share, "bytes") for part, share in parts.items()}},
        "size_ratio": teacher["mb"] / shape["mb"],
        "parameters": measure(total / 4, "parameters"),
        "load": {"load": measure(0.041 * shape["mb"] / 15, "s"), "first_call": measure(0.02, "s")},
        "memory": {"baseline": measure(250e6, "bytes"), "after_load": measure(250e6 + total, "bytes"),
                   "peak": measure(270e6 + total * 1.2, "bytes"), "own": measure(20e6 + total * 1.2, "bytes")},
        "latency": _latency(shape["ms"], teacher["ms"], name == "teacher"),
    }  # fmt: skip
    return {**found, **changes}


def _latency(ms: float, teacher: float, reference: bool) -> list[dict[str, Any]]:
    lines = []
    for batch in BATCHES:
        for length in (None, *LENGTHS):
            time = ms * batch**0.85 * ((length or 24) / 24) ** 0.9
            ratio = teacher / ms
            lines.append({
                "mix": "grid" if length else "corpus", "batch": batch, "length": length,
                "p50": measure(time, "ms", time * 0.015), "p90": measure(time * 1.2, "ms", time * 0.03),
                "throughput": measure(1000 * batch / time, "per s", 12.0), "padding_share": 0.1,
                "ratio": {"value": ratio, "interval": None if reference else [ratio * 0.97, ratio * 1.03],
                          "verdict": "REFERENCE" if reference else "FASTER"},
            })  # fmt: skip
    return lines


def measures(*subjects: dict[str, Any]) -> dict[str, Any]:
    """What measures.json holds."""
    return {
        "schema": 1, "reference": "teacher", "subjects": list(subjects), "environment": ENVIRONMENT,
        "corpus": {"source": "runs/x/corpus", "key": "c" * 64, "split": "test", "rows": 872},
    }  # fmt: skip


def write_step(run: Path, name: str, verb: str, kind: str, inputs: tuple[str, ...] = (), **facts: Any) -> Path:
    """An artifact with a small file, and the manifest that a step would write."""
    writer = ArtifactWriter(run / name)
    out = writer.open()
    (out / "content.txt").write_text(name * 100)
    if "measures" in facts:
        write_json(out / "measures.json", facts.pop("measures"))
    keys = {upstream: json.loads((run / upstream / "manifest.json").read_text())["key"] for upstream in inputs}
    manifest = {
        "kind": kind, "verb": verb, "version": 1, "options": {"epochs": 3, "corpus": "$corpus"}, "seed": 13,
        "inputs": keys, "recipe": "example", "seconds": 83.2, "about": {}, "measured": {}, "environment": ENVIRONMENT,
        "step": name, "key": hashlib.sha256(name.encode()).hexdigest(), **facts,
    }  # fmt: skip
    writer.commit(manifest)
    return run / name


def history(best: float) -> list[dict[str, Any]]:
    """A training history as `fit` writes it."""
    points: list[dict[str, Any]] = [
        {"step": step, "epoch": step / 500, "loss": 0.7 * 0.9985**step, "lr": 1e-4} for step in range(50, 1501, 50)
    ]
    return [{**p, "dev": {"accuracy": best - 0.3 / (1 + i)}} if i % 5 == 4 else p for i, p in enumerate(points)]


def write_run(run: Path, bench: bool = True, found: dict[str, Any] | None = None) -> Path:
    """A whole run: corpus, teacher, student, tiny, int8 and, with `bench`, their measures (or those given)."""
    write_step(run, "corpus", "prepare", "Corpus")
    for name, verb, inputs in (
        ("teacher", "teach", ("corpus",)), ("student", "distill", ("corpus", "teacher")),
        ("tiny", "distill", ("corpus", "teacher")), ("int8", "quantize", ("student", "corpus")),
    ):  # fmt: skip
        shape = SHAPES[name]
        about = {
            "task": {"classify": {"text": "text", "label": "label"}}, "labels": ["no", "yes"], "max_length": 128,
            "family": "bert", "architecture": {"layers": shape["layers"], "width": 384, "heads": 12, "ffn": 1536},
            "parameters": {"total": int(shape["mb"] * 250_000)}, "engine": {shape["engine"]: {"dtype": shape["dtype"]}},
        }  # fmt: skip
        measured: dict[str, Any] = {"dev": {"accuracy": shape["accuracy"], "f1": 0.9}}
        if verb != "quantize":
            measured["history"] = history(shape["accuracy"])
        write_step(run, name, verb, "Model", inputs, about=about, measured=measured)
    if bench:
        found = found or measures(*(subject(name) for name in SHAPES))
        write_step(run, "speed", "bench", "Measures", ("teacher", "student", "int8", "tiny", "corpus"), measures=found)
    return run
