"""The findings of `--why`: each one seen where it is so, and not where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from compress.report.why import NOTHING, RULES, lines, why
from tests.report.made_up import ENVIRONMENT, measure, subject

QUIET_GRID = [(1, 16, 2.0), (1, 64, 7.0), (1, 128, 14.0), (8, 16, 9.0), (8, 128, 100.0)]


def share(value: float) -> dict[str, Any]:
    """A share without an interval."""
    return measure(value, "share")


def grid(*cells: tuple[int, int, float]) -> list[dict[str, Any]]:
    """Grid cells from (batch, length, ms)."""
    return [
        {"mix": "grid", "batch": b, "length": s, "p50": measure(ms, "ms"), "padding_share": 0.0} for b, s, ms in cells
    ]


def padded(amount: float) -> list[dict[str, Any]]:
    """A corpus cell with this share of padding."""
    ratio = {"value": 2.0, "interval": [1.9, 2.1], "verdict": "FASTER"}
    return [
        {
            "mix": "corpus",
            "batch": 8,
            "length": None,
            "p50": measure(9.0, "ms"),
            "padding_share": amount,
            "ratio": ratio,
        }
    ]


def sizes(embeddings: float, encoder: float) -> dict[str, Any]:
    """Bytes by part, in millions."""
    parts = {"embeddings": embeddings, "encoder": encoder, "head": 0.1, "total": embeddings + encoder + 0.1}
    return {name: measure(value * 1e6, "bytes") for name, value in parts.items()}


def memory(imports: float, weights: float) -> dict[str, Any]:
    """A memory bill, in millions of bytes."""
    bill = {"imports": imports, "weights": weights, "activations": 5.0}
    return {"bill": {name: measure(value * 1e6, "bytes") for name, value in bill.items()}}


SOUND: dict[str, Any] = {
    "latency": grid(*QUIET_GRID) + padded(0.1), "size": sizes(3, 12.4), "parameters": measure(15.5e6, "parameters"),
    "memory": memory(60, 80),
    "compute": {"int8_share": share(0.93), "embedding_share": share(0.19), "zeros_share": share(0.03)},
}  # fmt: skip


def found(environment: dict[str, Any] | None = None, **changes: Any) -> dict[str, tuple[str, str]]:
    """Findings of the int8 student, changed so: name to evidence and remedy."""
    one = subject("int8", **{**SOUND, **changes})
    report = {"subjects": [one], "environment": {**ENVIRONMENT, **(environment or {})}}
    return {line["finding"]: (line["evidence"], line["remedy"]) for line in why(report)["int8"]}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "no-int8-instructions": ({}, {"cpu_flags": ["avx2"]}, "no instructions", "expect its size to shrink"),
    "threads-over-quota": ({"threads": 8}, {"cgroup_cpu_quota": 1.5}, "8 threads share 1.5 cores", "--threads 1"),
    "threads-below-cores": (
        {"threads": 1}, {"cores": 8, "affinity": list(range(8))}, "1 of 8 cores", "--threads 8"),
    "little-int8": ({"compute": {"int8_share": share(0.4)}}, {}, "only 40 %", "left in float"),
    "launch-bound": (
        {"device": "cuda", "dtype": "bfloat16", "latency": grid((1, 16, 4.0), (1, 128, 4.1), (8, 128, 4.4))}, {},
        "4 ms for 1 x 16 tokens and 4.1 ms for 1 x 128", "torch:cudagraph"),
    "overhead-bound": (
        {"latency": grid((1, 16, 1.0), (1, 64, 1.1), (1, 128, 1.2))}, {}, "1 ms for 1 x 16", "several texts"),
    "zeros-in-dense": ({"compute": {"zeros_share": share(0.6)}}, {}, "60 % of its dense weights", "whole heads"),
    "embeddings-dominate": ({"size": sizes(12, 6), "compute": {}}, {}, "12.0 MB of its 18.1 MB", "Cut the vocabulary"),
    "float-embeddings": (
        {"size": sizes(12, 12.4), "compute": {"embedding_share": share(0.19)}}, {}, "4.1 bytes", "table too"),
    "padding": ({"latency": padded(0.45)}, {}, "45 % of what it computes in batches of 8", "similar length"),
    "slow-dtype": ({"dtype": "float16", "size": {}}, {}, "float16 on a CPU", "float32"),
    "dtype-not-as-asked": (
        {"engine": "torch:bf16", "dtype": "float32", "size": {}}, {}, "bfloat16 was asked for", "fell back"),
    "stored-wider": ({"dtype": "bfloat16", "size": sizes(12, 50)}, {"cpu_flags": ["amx_bf16", "amx_int8"]},
                     "hold 4.0 bytes for each parameter", "Store it in bfloat16"),
    "imports-dominate": ({"memory": memory(390, 100), "engine": "torch"}, {}, "390 MB of its 495 MB", "without torch"),
    "ratio-unsure": (
        {"latency": [{**padded(0)[0], "ratio": {"value": 1.0, "interval": [0.9, 1.2], "verdict": "CANNOT TELL"}}]}, {},
        "from 0.90 to 1.20", "Measure longer"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_finding_is_seen(name: str) -> None:
    """A cause that is looked for and never found leaves the user where they were."""
    changes, environment, evidence, remedy = CASES[name]
    told = found(environment, **changes)
    assert name in told and evidence in told[name][0] and remedy in told[name][1]


def test_every_rule_has_a_case() -> None:
    """A rule without a made-up report that triggers it may never fire."""
    assert set(CASES) == set(RULES)


def test_a_sound_subject_has_no_findings() -> None:
    """A tool that always finds something is not listened to."""
    assert found() == {}
    report = {"subjects": [subject("int8", **SOUND)], "environment": ENVIRONMENT}
    assert list(lines(why(report))) == [f"int8: {NOTHING}"]


def test_old_measures_without_the_new_fields_are_read() -> None:
    """A report of an earlier version lacks compute and the bill, and must not break on that."""
    plain = subject("student", latency=[], size={}, memory={}, parameters=None)
    failed = subject("tiny", status="failed")
    told = why({"subjects": [plain, failed], "environment": {}})
    assert told == {"student": []}


@pytest.mark.parametrize(
    ("changes", "environment"),
    [
        ({}, {"cpu_flags": []}),  # another kind of CPU: nothing is known of its instructions
        ({"dtype": "float32", "size": {}}, {"cpu_flags": ["avx2"]}),
        ({"compute": {"zeros_share": share(0.06)}}, {}),
        ({"threads": 2}, {"cgroup_cpu_quota": 2.0}),
        ({"latency": grid((1, 16, 1.0), (1, 32, 1.1))}, {}),  # twice the work is too little to tell
    ],
)
def test_what_is_no_cause_is_not_called_one(changes: dict[str, Any], environment: dict[str, Any]) -> None:
    """A wrong remedy costs a day and helps nobody."""
    assert found(environment, **changes) == {}


def test_a_gpu_in_float32_is_told_of_bf16() -> None:
    """float32 leaves most of a GPU idle; on a CPU the same dtype is no finding."""
    told = found(device="cuda", dtype="float32", size={}, latency=[])
    assert told["slow-dtype"][1] == "Run it as torch:bf16"
