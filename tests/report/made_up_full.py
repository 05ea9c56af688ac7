"""A made-up report in which everything was measured, and some of it could not be."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from compress.report.collect import collect
from tests.report.made_up import SHAPES, measure, measures, subject, write_run

SWEEP = (1, 2, 4, 8, 16, 32, 64)
TEXTS = (
    "the acting is as good as the script is bad , and the script is very bad",
    "not the worst film of the year , but it tries",
    "a film that <b>wants</b> to be loved & is merely liked",
)


def full_subject(shape_name: str, **changes: Any) -> dict[str, Any]:
    """One subject of `SHAPES` with every field of issue 3."""
    name, plain = shape_name, subject(shape_name)
    shape, teacher = SHAPES[name], SHAPES["teacher"]
    draw = random.Random(name)
    for entry in plain["latency"]:
        middle = entry["p50"]["value"]
        entry["p50"]["samples"] = [middle * math.exp(draw.gauss(0, 0.22)) for _ in range(120)]
        entry["p99"] = measure(None, "ms", why="120 samples do not bound a 99th percentile")
        entry["p99"]["n"] = 0
    plain["latency"][-1] = {
        "mix": "grid", "batch": 32, "length": 128, "p50": measure(None, "ms", n=0, why="out of memory"),
        "p90": measure(None, "ms", n=0, why="out of memory"), "padding_share": 0.0,
        "throughput": measure(None, "per s", n=0, why="out of memory"),
        "ratio": {"value": None, "interval": None, "verdict": "CANNOT TELL", "why": "out of memory"},
    }  # fmt: skip
    start = 0.6 if shape["engine"] == "onnx" else 3.1
    plain["load"] |= {"cold_start": measure(start + shape["mb"] / 400, "s", 0.08, 5),
                      "baseline_start": measure(start, "s", 0.05, 5)}  # fmt: skip
    plain["throughput"] = _throughput(1000 / shape["ms"], 1000 / teacher["ms"], name == "teacher")
    plain["memory"] |= _memory(plain["memory"], shape["mb"] * 1e6)
    plain["energy"] = measure(None, "J per text", n=0, why="the counters of RAPL cannot be read here")
    plain["compute"] = {
        "flops": measure(shape["layers"] * 3.9e7, "per text"), "int8_share": measure(float(name == "int8"), "share"),
        "embedding_share": measure(0.52, "share"), "zeros_share": measure(0.0003, "share"),
    }  # fmt: skip
    plain["quality"] |= _quality(name, shape["accuracy"], teacher["accuracy"], draw)
    small = shape["mb"] < 20
    plain["fits"] = [
        {"limit_bytes": 256_000_000, "fits": small, "how": "cgroup", "why": "" if small else "killed at 256 MB"},
        {"limit_bytes": 64_000_000, "fits": None, "how": "measured", "why": "no limit could be set here"},
    ]
    return {**plain, **changes}


def _throughput(one: float, reference: float, is_reference: bool) -> dict[str, Any]:
    """Rates that rise with the batch and then fall."""
    sweep: list[dict[str, Any]] = [
        {"batch": batch, "rate": measure(one * batch**0.4 * (0.9 if batch > 32 else 1), "per s", one * 0.06)}
        for batch in SWEEP
    ]
    sweep.append({"batch": 128, "rate": measure(None, "per s", n=0, why="out of memory")})
    ratio = one / reference
    return {
        "batch": 32, "rate": sweep[5]["rate"], "sweep": sweep,
        "ratio": {"value": ratio, "interval": None if is_reference else [ratio * 0.95, ratio * 1.05],
                  "verdict": "REFERENCE" if is_reference else "FASTER"},
    }  # fmt: skip


def _memory(memory: dict[str, Any], weights: float) -> dict[str, Any]:
    """The bill of the three readings, and a process that imports, loads and answers."""
    baseline, loaded, peak = (memory[name]["value"] for name in ("baseline", "after_load", "peak"))
    line = [[0.05 * i, baseline * min(1, 0.1 + i / 20), "imports"] for i in range(20)]
    line += [[1.0 + 0.02 * i, baseline + weights * i / 10, "load"] for i in range(11)]
    line += [[1.25 + 0.04 * i, loaded + (peak - loaded) * (0.55 + 0.45 * math.sin(i / 2)), "answer"] for i in range(60)]
    bill = {"imports": baseline, "weights": loaded - baseline, "activations": peak - loaded}
    return {"bill": {name: measure(value, "bytes") for name, value in bill.items()}, "timeline": line,
            "steady": measure(loaded * 1.02, "bytes")}  # fmt: skip


def _quality(name: str, accuracy: float, best: float, draw: random.Random) -> dict[str, Any]:
    """Calibration, and what lies between a subject and the reference."""
    found: dict[str, Any] = {"calibration": {"ece": measure(0.031, "share", 0.008, 872)}}
    if name == "teacher":
        return found
    lost = best - accuracy
    slices = [
        {"by": by, "slice": which, "rows": rows, "reference": best, "value": measure(best - drop, "share", half, rows),
         "drop": measure(drop, "share", half, rows)}
        for by, which, rows, drop, half in (
            ("tag", "negation", 61, lost * 4 + draw.uniform(0, 0.02), 0.05),
            ("length", "33 to 64", 118, lost * 2, 0.03),
            ("label", "no", 428, lost * 1.4, 0.012), ("label", "yes", 444, lost * 0.6, 0.011),
            ("length", "1 to 8", 96, -0.006, 0.02),
        )
    ]  # fmt: skip
    flips = [
        {"row": 7 * i + 3, "text": TEXTS[i % 3], "kind": "gained" if i > 3 else "lost",
         "label": "no" if i % 2 else "yes", "reference": "no" if (i % 2) ^ (i > 3) else "yes",
         "subject": "yes" if (i % 2) ^ (i > 3) else "no"}
        for i in range(6)
    ]  # fmt: skip
    paired = {"test": "mcnemar", "p": 0.0312 if lost < 0.02 else 0.00002, "gained": 8, "lost": 8 + round(lost * 872)}
    return {
        **found, "agreement": measure(0.962, "share", 0.012, 872), "slices": slices, "flips": flips,
        "paired": {**paired, "drop": measure(lost, "share", 0.0091, 872)},
    }  # fmt: skip


def full_measures() -> dict[str, Any]:
    """measures.json with every field: one model crashed, one is no faster, and of one it cannot be told."""
    broken = subject("tiny", name="broken", status="failed", error="its process was ended by SIGKILL", latency=[],
                     quality=None, size={}, size_ratio=None, memory={}, load={}, parameters=None)  # fmt: skip
    same, unsure = full_subject("student", name="student-bf16"), full_subject("student", name="student-sparse")
    for one, slower, worse in ((same, 0.93, 0.002), (unsure, 1.31, 0.013)):
        for entry in one["latency"]:
            _slow_down(entry["p50"], slower)
        for entry in one["throughput"]["sweep"]:
            _slow_down(entry["rate"], 1 / slower)
        one["quality"]["values"]["accuracy"] = measure(SHAPES["student"]["accuracy"] - worse, "score", 0.019, 872)
    same["latency"][0]["ratio"] = {"value": 1.01, "interval": [0.99, 1.03], "verdict": "SAME"}
    unsure["latency"][0]["ratio"] = {"value": 1.05, "interval": [0.9, 1.2], "verdict": "CANNOT TELL"}
    return measures(*(full_subject(name) for name in SHAPES), same, unsure, broken)


def _slow_down(found: dict[str, Any], factor: float) -> None:
    """A measure and all of its samples, so many times as large."""
    if found["value"] is not None:
        found |= {"value": found["value"] * factor, "interval": [bound * factor for bound in found["interval"]],
                  "samples": [sample * factor for sample in found["samples"]]}  # fmt: skip


def full_report(run: Path) -> dict[str, Any]:
    """The collected report of a whole run, with findings and a gate that one limit misses."""
    report = collect(write_run(run, found=full_measures()))
    report["why"] = {
        "student-sparse": [
            {"finding": "zeros_in_dense_tensors", "evidence": "41 % of the stored weights are zero, in dense tensors.",
             "remedy": "Cut whole heads and neurons (`prune`), which makes the tensors smaller."}
        ],
        "int8": [
            {"finding": "embedding_share", "evidence": "52 % of the bytes are embeddings.",
             "remedy": "Prune the vocabulary to the corpus."}
        ],
    }  # fmt: skip
    report["gate"] = {
        "passed": False,
        "limits": [
            {"subject": "int8", "limit": "max_quality_drop", "target": 0.02, "value": 0.0116,
             "interval": [0.003, 0.021], "state": "cannot tell"},
            {"subject": "int8", "limit": "min_speedup", "target": 5, "value": 11.95, "interval": [11.6, 12.3],
             "state": "met"},
            {"subject": "int8", "limit": "max_size", "target": 15_000_000, "value": 15_900_000, "interval": None,
             "state": "missed"},
        ],
    }  # fmt: skip
    return report
