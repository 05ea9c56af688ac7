"""Subjects: the models of a report in one form, from a bench step or, without one, from manifests alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.report.numbers import value_of

Manifests = Mapping[str, Mapping[str, Any]]
METRICS = ("accuracy", "f1", "group_spearman", "spearman", "pearson", "matthews")
PARTS = ("embeddings", "encoder", "head", "tokenizer", "other")
BILL = ("imports", "weights", "activations", "loading")
FIELDS: dict[str, Any] = {
    "source": "", "engine": "", "dtype": "", "threads": None, "device": "", "status": "ok", "error": None,
    "quality": None, "size": {}, "size_ratio": None, "parameters": None, "load": {}, "memory": {}, "latency": [],
}  # fmt: skip


def from_measures(measures: Mapping[str, Mapping[str, Any]], manifests: Manifests) -> list[dict[str, Any]]:
    """Benched subjects, the reference first, with the shape that their manifests tell."""
    subjects: list[dict[str, Any]] = []
    for bench, content in measures.items():
        for raw in content["subjects"]:
            filled = {**FIELDS, **{name: value for name, value in raw.items() if value is not None}}
            step = _step_of(filled, manifests)
            about = manifests[step].get("about", {}) if step else {}
            name = f"{filled['name']} ({bench})" if len(measures) > 1 else str(filled["name"])
            extra = {"name": name, "bench": bench, "step": step, "architecture": about.get("architecture")}
            parameters = filled["parameters"] or _exact(about.get("parameters", {}).get("total"), "parameters")
            reference = bool(filled.get("reference", raw.get("name") == content.get("reference")))
            subjects.append({**filled, **extra, "parameters": parameters, "reference": reference})
    return sorted(subjects, key=lambda subject: not subject["reference"])


def from_manifests(manifests: Manifests) -> list[dict[str, Any]]:
    """Models of a run that was not benched: dev quality, parameters and size. The teacher is the reference."""
    models = {name: m for name, m in manifests.items() if m.get("kind") == "Model"}
    subjects = [_from_manifest(name, manifest) for name, manifest in models.items()]
    reference = _reference(subjects, models)
    for subject in subjects:
        subject["reference"] = subject["name"] == reference
    teacher = next((subject for subject in subjects if subject["reference"]), None)
    if teacher is not None:
        for subject in subjects:
            _compare(subject, teacher)
    return sorted(subjects, key=lambda subject: not subject["reference"])


def _from_manifest(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    about, measured = manifest.get("about", {}), manifest.get("measured", {})
    engine = next(iter(about.get("engine", {})), "")
    scores = {key: value for key, value in measured.get("dev", {}).items() if isinstance(value, (int, float))}
    metric = str(measured.get("metric") or next((key for key in METRICS if key in scores), next(iter(scores), "")))
    quality = {
        "metric": metric,
        "split": "dev",
        "values": {key: _exact(value, "score") for key, value in scores.items()},
        "retained": None,
    }
    return {
        **FIELDS,
        "name": name,
        "bench": None,
        "step": name,
        "source": name,
        "engine": engine,
        "dtype": about.get("engine", {}).get(engine, {}).get("dtype", ""),
        "architecture": about.get("architecture"),
        "parameters": _exact(about.get("parameters", {}).get("total"), "parameters"),
        "quality": quality if metric in scores else None,
        "size": {"total": _exact(sum(f["bytes"] for f in manifest["files"].values()), "bytes")},
    }


def _reference(subjects: list[dict[str, Any]], models: Manifests) -> str | None:
    """The taught model that most others were made from; without one, the first taught model, then any model."""
    taught = [subject["name"] for subject in subjects if models[subject["name"]].get("verb") == "teach"]
    uses = {name: sum(name in m.get("inputs", {}) for m in models.values()) for name in taught}
    if taught:
        return str(max(taught, key=lambda name: uses[name]))
    return str(subjects[0]["name"]) if len(subjects) > 1 else None


def _compare(subject: dict[str, Any], teacher: dict[str, Any]) -> None:
    own, other = value_of(subject["size"].get("total")), value_of(teacher["size"].get("total"))
    subject["size_ratio"] = other / own if own and other else None
    mine, theirs = subject["quality"], teacher["quality"]
    if mine and theirs and mine["metric"] == theirs["metric"]:
        value, best = value_of(mine["values"][mine["metric"]]), value_of(theirs["values"][theirs["metric"]])
        if value is not None and best:
            mine["retained"] = _exact(value / best, "ratio")


def _step_of(subject: Mapping[str, Any], manifests: Manifests) -> str | None:
    """The step that wrote a subject: by its name, else by the folder that it was loaded from."""
    for name in (str(subject["name"]), Path(str(subject.get("source") or ".")).name):
        if name in manifests and manifests[name].get("kind") == "Model":
            return name
    return None


def _exact(value: float | None, unit: str) -> dict[str, Any] | None:
    return None if value is None else {"value": value, "unit": unit, "interval": None, "n": 1}


def main_quality(subject: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The measure of a subject's main metric."""
    found = subject["quality"]
    measure: Mapping[str, Any] | None = found["values"].get(found["metric"]) if found else None
    return measure


def slice_metric(subject: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The metric of a slice: its own, where the main one says nothing on so few rows, else the main one."""
    return str(found.get("metric") or subject["quality"]["metric"])


def latency_at(subject: Mapping[str, Any], cell: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The latency of a subject at one cell (`mix`, `batch`, `length`)."""
    if cell is None:
        return None
    same = ("mix", "batch", "length")
    found: Mapping[str, Any] | None
    found = next((e for e in subject["latency"] if all(e.get(k) == cell.get(k) for k in same)), None)
    return found


def best_rate(subject: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, int | None]:
    """Texts per second and the batch size: as searched for, else of the fastest cell that was timed."""
    sought = subject.get("throughput") or {}
    if sought.get("rate"):
        return sought["rate"], sought.get("batch")
    rates = [(value_of(entry.get("throughput")), entry) for entry in subject["latency"]]
    known = [(rate, entry) for rate, entry in rates if rate is not None]
    corpus = [(rate, entry) for rate, entry in known if entry.get("mix") == "corpus"]
    best = max(corpus or known, key=lambda pair: pair[0], default=None)
    return (None, None) if best is None else (best[1]["throughput"], best[1].get("batch"))


def memory_parts(subject: Mapping[str, Any]) -> dict[str, float] | None:
    """Bytes of peak memory by cause (`BILL`); as billed, else from the three readings."""
    bill = subject["memory"].get("bill") or {}
    if all(value_of(bill.get(part)) is not None for part in BILL[:3]):  # reports of before have no `loading`
        return {part: max(0.0, value_of(bill.get(part)) or 0.0) for part in BILL}
    found = [value_of(subject["memory"].get(name)) for name in ("baseline", "after_load", "peak")]
    if None in found:
        return None
    baseline, loaded, peak = (value or 0.0 for value in found)
    shares = (min(baseline, peak), max(0.0, min(loaded, peak) - baseline), max(0.0, peak - max(loaded, baseline)), 0.0)
    return dict(zip(BILL, shares, strict=True))


def headline_cell(subjects: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell that the report speaks of: batch 1 on the corpus's own lengths, or what comes closest."""
    cells = [entry for subject in subjects for entry in subject["latency"] if value_of(entry.get("p50")) is not None]
    if not cells:
        return None
    best = min(
        cells, key=lambda e: (e.get("mix") != "corpus", e.get("batch") or 0, abs((e.get("length") or 128) - 128))
    )
    return {"mix": best.get("mix"), "batch": best.get("batch"), "length": best.get("length")}


def dominated(points: list[tuple[float, float]]) -> list[bool]:
    """For (cost, quality) points: whether another is at least as good in both and better in one."""
    return [
        any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in points) for cost, quality in points
    ]
