"""The optimum-benchmark side of `harness_vs_optimum_benchmark`, run by an interpreter that has it installed.

Reads one JSON object a line: `{"models": [folder, folder], "launcher", "threads", "length", "seconds"}`, measures the
models one after the other as its manual does, and answers with `{"p50": [..], "mean": [..], "count": [..]}` (seconds).
Imports nothing of this project.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any


def main() -> None:
    """Serve until the input ends."""
    # The libraries print to file descriptor 1; the answers keep a copy of it.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.environ.update(LOG_LEVEL="ERROR", LOG_TO_FILE="0")
    logging.disable(logging.WARNING)
    for line in sys.stdin:
        answers.write(json.dumps(measure(json.loads(line))) + "\n")
        answers.flush()


def measure(asked: dict[str, Any]) -> dict[str, list[float]]:
    """Both models by `Benchmark.launch`, in the order given."""
    found: dict[str, list[float]] = {"p50": [], "mean": [], "count": []}
    for model in asked["models"]:
        latency = launch(model, asked)
        found["p50"].append(float(latency.p50))
        found["mean"].append(float(latency.mean))
        found["count"].append(int(latency.count))
    return found


def launch(model: str, asked: dict[str, Any]) -> Any:
    """The latency of the forward pass of one model."""
    from optimum_benchmark import Benchmark, BenchmarkConfig, InferenceConfig, PyTorchConfig
    from optimum_benchmark.launchers.inline.config import InlineConfig
    from optimum_benchmark.launchers.process.config import ProcessConfig

    threads = asked["threads"]
    config = BenchmarkConfig(
        name="forward",
        launcher={"process": ProcessConfig, "inline": InlineConfig}[asked["launcher"]](),
        scenario=InferenceConfig(
            latency=True, memory=False, duration=asked["seconds"], iterations=10, warmup_runs=10,
            input_shapes={"batch_size": 1, "sequence_length": asked["length"]},
        ),
        backend=PyTorchConfig(
            model=model, task="text-classification", library="transformers", device="cpu",
            # It sets torch's two pools from each other's option, so both get the same number.
            inter_op_num_threads=threads, intra_op_num_threads=None,
        ),
    )  # fmt: skip
    return Benchmark.launch(config).forward.latency


if __name__ == "__main__":
    main()
