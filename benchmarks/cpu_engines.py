"""Three shapes in every CPU engine and number format, by the project's own harness.

    python -m benchmarks.cpu_engines [--shapes bert-base distilbert tinybert-4] [--seconds 0.5] [--out runs/cpu-engines]

Purpose: the engines of docs/results.md. BERT-base, DistilBERT and TinyBERT-4 (4 x 312) with random weights, each as
torch fp32, bf16 and int8, ONNX Runtime fp32 and int8, OpenVINO fp32 (its precision hint set to f32, since it takes bf16
by itself) and bf16. int8 is what the `quantize` step makes. `bench_models` measures folders: a fresh process for each,
blocks interleaved, batches of 1 and 8 texts of 32 and 128 tokens. About 10 minutes on two cores that nothing else
uses, 4 GB of memory and 3 GB of disk; what is made is kept in OUT, so that a second run only measures.
Needs `pip install "stillroom[openvino]"`. Writes results/cpu_engines.json when all shapes were measured. In the README:

    <!-- rows cpu_engines: model, engine, size_mb=MB, memory_mb=memory MB, ms_1x32=1 x 32, ms_1x128=1 x 128,
         ms_8x32=8 x 32, ms_8x128=8 x 128, faster=times torch fp32 --> (on one line) ... <!-- end -->
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.claims import claim
from benchmarks.record import record
from benchmarks.shapes import CORPUS, SEED, Shape, make_corpus, make_model, run_steps, yaml_text

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {
    "bert-base": Shape("BERT-base", "bert", 12, 768, 12, 3072),
    "distilbert": Shape("DistilBERT", "distilbert", 6, 768, 12, 3072),
    "tinybert-4": Shape("TinyBERT-4", "bert", 4, 312, 12, 1200),
    "trial": Shape("trial", "bert", 2, 64, 2, 128),
}
PROMISED = ("bert-base", "distilbert", "tinybert-4")
# The name in the table: folder, engine, and the number format that it must report.
SUBJECTS = {
    "torch fp32": ("float", "torch", "float32"),
    "torch bf16": ("float", "torch:bf16", "bfloat16"),
    "torch int8": ("torch-int8", "torch", "int8"),
    "ONNX fp32": ("onnx", "onnx", "float32"),
    "ONNX int8": ("onnx-int8", "onnx", "int8"),
    "OpenVINO fp32": ("openvino", "openvino", "float32"),
    "OpenVINO bf16": ("openvino", "openvino:bf16", "bfloat16"),
}
FORMS = """
  onnx: {{export: {{model: {model}, corpus: $corpus, format: {{onnx: {{}}}}}}}}
  onnx-int8: {{quantize: {{model: {model}, corpus: $corpus, method: {{onnx: {{}}}}, max_drop: 100.0}}}}
  torch-int8: {{quantize: {{model: {model}, corpus: $corpus, method: {{torch: {{}}}}, max_drop: 100.0}}}}
  openvino: {{export: {{model: {model}, corpus: $corpus, format: {{openvino: {{}}}}}}}}
"""
BATCHES, LENGTHS = [1, 8], [32, 128]
HEADLINE = (1, 128)
SMALLER = {"torch int8": "torch fp32", "ONNX int8": "ONNX fp32"}
MB = 1e6


def main() -> None:
    """Make what is missing, measure, record."""
    options = arguments()
    rows: list[dict[str, Any]] = []
    machine: dict[str, Any] = {}
    corpus = make_corpus(options.out / "corpus")
    for name in options.shapes:
        began = time.perf_counter()
        folders = forms(SHAPES[name], options.out / name, corpus)
        made = time.perf_counter()
        measures = measured(folders, corpus, options)
        machine = measures["environment"]
        rows += [row(SHAPES[name], subject) for subject in measures["subjects"]]
        print(f"{name}: made in {made - began:.0f} s, measured in {time.perf_counter() - made:.0f} s", flush=True)
    for one in rows:
        print({key: value for key, value in one.items() if key != "cells"})
    found = claims(rows, len(options.shapes))
    for one in found:
        print(f"{one['name']}: {one['value']} {one['unit']} ({one['target']})")
    if set(PROMISED) <= set(options.shapes):
        print(record("cpu_engines", [SEED], rows, found, machine).relative_to(ROOT))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=sorted(SHAPES), default=list(PROMISED))
    parser.add_argument("--seconds", type=float, default=0.5, help="for each cell and subject")
    parser.add_argument("--threads", type=int, default=None, help="of each subject; default every core")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "cpu-engines", help="where the models are kept")
    return parser.parse_args()


def forms(shape: Shape, out: Path, corpus: Path) -> dict[str, Path]:
    """The folders of every form of a shape, by the names that SUBJECTS use."""
    model = make_model(shape, out / "float", corpus)
    return {"float": model, **run_steps(out / "forms", CORPUS + FORMS.format(model=yaml_text(model)))}


def measured(folders: dict[str, Path], corpus: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What the harness says of every subject of one shape; torch fp32 is the reference."""
    from compress.bench.options import BenchOptions
    from compress.bench.run import bench_models

    models = [f"{folders[folder]}@{engine}" for folder, engine, _ in SUBJECTS.values()]
    settings = BenchOptions.model_validate(
        {"batch_sizes": BATCHES, "lengths": LENGTHS, "seconds": options.seconds, "threads": options.threads,
         "device": "cpu", "limit": 200, "probes": ["latency", "memory", "size"]}
    )  # fmt: skip
    return bench_models(models, corpus, settings, names=list(SUBJECTS), seed=SEED)


def row(shape: Shape, subject: dict[str, Any]) -> dict[str, Any]:
    """One line of the table: milliseconds by batch and length, and every cell with its interval and verdict."""
    cells = {(one["batch"], one["length"]): one for one in subject.get("latency", []) if one["mix"] == "grid"}
    headline = cells.get(HEADLINE, {}).get("ratio", {})
    return {
        "model": shape.name,
        "shape": f"{shape.layers} x {shape.width}",
        "engine": subject["name"],
        "runs_as": f"{subject['engine']} {subject['dtype']}",
        "status": subject["status"],
        "threads": subject["threads"],
        "size_mb": subject["size"]["total"]["value"] / MB,
        "memory_mb": _over(subject["memory"]["own"]["value"], MB),
        **{f"ms_{b}x{s}": _value(cells.get((b, s), {}).get("p50")) for b in BATCHES for s in LENGTHS},
        "faster": headline.get("value"),
        "faster_interval": headline.get("interval"),
        "cells": [
            {"batch": b, "length": s, "ms": _value(one["p50"]), "interval": one["p50"]["interval"],
             "ratio": one["ratio"]["value"], "ratio_interval": one["ratio"]["interval"],
             "verdict": one["ratio"]["verdict"], "why": one["p50"].get("why")}
            for (b, s), one in cells.items()
        ],
    }  # fmt: skip


def claims(rows: list[dict[str, Any]], shapes: int) -> list[dict[str, Any]]:
    """What must be true of the table before anyone reads speed from it."""
    cells = sum(one["ms"] is not None for line in rows for one in line["cells"])
    wanted = shapes * len(SUBJECTS) * len(BATCHES) * len(LENGTHS)
    honest = sum(line["runs_as"].endswith(f" {SUBJECTS[line['engine']][2]}") for line in rows)
    threads = {line["threads"] for line in rows}
    sizes = {(line["model"], line["engine"]): line["size_mb"] for line in rows}
    smaller = [sizes[model, SMALLER[engine]] / size for (model, engine), size in sizes.items() if engine in SMALLER]
    return [
        claim("cells measured", cells, f">= {wanted}", "cells"),
        claim("subjects that computed in the number format of their name", honest, f">= {shapes * len(SUBJECTS)}"),
        claim("different numbers of threads among the subjects", len(threads), "<= 1"),
        claim("int8 smaller than float32 of the same engine, the worst", min(smaller), ">= 3.5", "times"),
    ]


def _value(measure: dict[str, Any] | None) -> float | None:
    return None if measure is None else measure["value"]


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


if __name__ == "__main__":
    main()
