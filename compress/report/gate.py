"""A gate: limits that a report must keep, `{subject or "*": {max_size: 20MB, ...}}` in YAML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from compress.core.errors import Fault, FaultsError, InputError, JobError, did_you_mean
from compress.core.options import Options, faults_of
from compress.core.sizes import bytes_of
from compress.pipeline.yaml_text import read_document
from compress.report.numbers import bytes_text, interval_of, value_of
from compress.report.subjects import headline_cell, latency_at, main_quality

ANY = "*"
MET, MISSED, UNSURE = "met", "missed", "cannot tell"
Measure = Mapping[str, Any]
Subject = Mapping[str, Any]

Amount = Annotated[
    int | None,
    BeforeValidator(lambda value: None if value is None else bytes_of(value)),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["20MB", "1.5GiB"]}),
]
Positive = Annotated[float | None, Field(gt=0)]


class Limits(Options):
    """What one subject must keep. Speed and latency are those of the headline cell: batch 1 on corpus texts."""

    max_quality_drop: Annotated[float | None, Field(ge=0)] = Field(
        None, description="largest loss of the main metric against the reference, in the metric's own unit (0.01)"
    )
    min_retained: Positive = Field(None, description="smallest share of the reference's main metric (0.97)")
    min_speedup: Positive = Field(None, description="smallest ratio of the reference's latency to this one's")
    max_latency_ms: Positive = Field(None, description="largest median latency in ms")
    max_size: Amount = Field(None, description="largest size on disk (20MB)")
    max_memory: Amount = Field(None, description="largest peak memory of the process, interpreter included (300MB)")


@dataclass(frozen=True)
class Gate:
    """Limits by subject; those of `*` hold for every subject but the reference, unless its own say otherwise."""

    limits: dict[str, Limits]
    path: Path
    lines: dict[str, int]

    def check_names(self, names: Iterable[str]) -> None:
        """Raises FaultsError (exit 2) for a subject that is not measured."""
        known = list(names)
        self.refuse(
            Fault(name, f"no subject of that name{did_you_mean(name, known)} (subjects: {', '.join(known)})")
            for name in self.limits
            if name not in (ANY, *known)
        )

    def of(self, subject: Subject) -> dict[str, float]:
        """The limits that hold for a subject, by name."""
        general = {} if subject["reference"] or ANY not in self.limits else self.limits[ANY].model_dump()
        own = self.limits[subject["name"]].model_dump() if subject["name"] in self.limits else {}
        merged = {**general, **{name: value for name, value in own.items() if value is not None}}
        return {name: value for name, value in merged.items() if value is not None}

    def refuse(self, faults: Iterable[Fault]) -> None:
        """Raises FaultsError when there are any, each with its place in the file."""
        found = [Fault(fault.path, fault.message, self.where(fault.path)) for fault in faults]
        if found:
            raise FaultsError(found)

    def where(self, dotted: str) -> str:
        """`file:line` of a place in the gate file."""
        place = dotted
        while place and place not in self.lines:
            place = place.rpartition(".")[0]
        return f"{self.path}:{self.lines.get(place, 1)}"


def read_gate(path: Path) -> Gate:
    """Read a gate file. Raises FaultsError (exit 2) with every fault, by file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"--gate {path}: cannot be read ({why}); give a YAML file of limits") from error
    document, lines = read_document(text, str(path), ("limits as `{subject: {max_size: 20MB}}`", ""))
    faults: list[Fault] = []
    limits: dict[str, Limits] = {}
    for name, given in document.items():
        try:
            limits[str(name)] = Limits.model_validate({} if given is None else given)
        except ValidationError as error:
            faults += faults_of(error, Limits, str(name))
    gate = Gate(limits, path, lines)
    known = ", ".join(Limits.model_fields)
    faults += [Fault(name, f"has no limit (known: {known})") for name in limits if not _any(limits[name])]
    gate.refuse(faults)
    return gate


def judge(report: Mapping[str, Any], gate: Gate) -> dict[str, Any]:
    """`{"passed", "limits": [...]}` of a report: passed unless a limit is surely missed.

    A limit is `missed` when the whole interval lies beyond it, `met` when the whole interval lies within, else
    `cannot tell`; so is what has no value, and what varies and has no interval. Raises FaultsError for an unknown
    subject.
    """
    subjects: list[Subject] = report["subjects"]
    gate.check_names(subject["name"] for subject in subjects)
    reference = next((subject for subject in subjects if subject["reference"]), None)
    cell = headline_cell(list(report["subjects"]))
    limits = [
        _judged(subject, name, target, READ[name](subject, reference, cell))
        for subject in subjects
        for name, target in gate.of(subject).items()
    ]
    return {"passed": all(found["state"] != MISSED for found in limits), "limits": limits}


def insist(judged: Mapping[str, Any]) -> None:
    """Raises JobError (exit 1) that names every limit which is surely missed."""
    missed = [sentence(found) for found in judged["limits"] if found["state"] == MISSED]
    if missed:
        raise JobError(f"the gate is missed: {'; '.join(missed)}")


def sentence(found: Mapping[str, Any]) -> str:
    """`int8: max_size 20.0 MB missed with 22.9 MB`."""
    amount = found["limit"] in ("max_size", "max_memory")
    shown = [bytes_text(value) if amount else f"{value:.4g}" for value in (found["target"], *_known(found))]
    spread = f" [{', '.join(shown[2:])}]" if shown[2:] else ""
    came = f" with {shown[1]}{spread}" if shown[1:] else ""
    because = f" ({found['why']})" if found.get("why") else ""
    return f"{found['subject']}: {found['limit']} {shown[0]} {found['state']}{came}{because}"


def _known(found: Mapping[str, Any]) -> list[float]:
    value = value_of(found)
    return [] if value is None else [value, *(interval_of(found) or ())]


def _any(limits: Limits) -> bool:
    return any(value is not None for value in limits.model_dump().values())


def _judged(subject: Subject, limit: str, target: float, found: Measure) -> dict[str, Any]:
    value, interval, exact = value_of(found), interval_of(found), limit in EXACT
    why = found.get("why")
    if value is None:
        why = f"the subject {subject['status']}" if subject["status"] != "ok" else why or "it was not measured"
    elif interval is None and not exact:
        why = "it has no interval"
    spread = SPREADS.get(limit, 1.0)
    low, high = interval or ((value / spread, value * spread) if value is not None and exact else (-math.inf, math.inf))
    within, beyond = (high <= target, low > target) if limit.startswith("max_") else (low >= target, high < target)
    state = MISSED if beyond else MET if within else UNSURE
    line = {"subject": subject["name"], "limit": limit, "target": target, "value": value,
            "interval": None if interval is None else list(interval), "state": state}  # fmt: skip
    return {**line, "why": why} if why else line


Read = Callable[[Subject, Subject | None, Mapping[str, Any] | None], Measure]
NONE: Measure = {"value": None}
# Bytes that were counted, once: they are what they are. The rest varies, and nothing is sure without an interval.
EXACT = ("max_size", "max_memory")
SPREADS = {"max_memory": 1.1}  # the peak of another process of the same model differs by some percent


def _drop(subject: Subject, reference: Subject | None, cell: Mapping[str, Any] | None) -> Measure:
    """As tested on the same rows; of older measures, from the share that was kept."""
    quality = subject["quality"] or {}
    paired: Measure | None = (quality.get("paired") or {}).get("drop")
    if paired:
        return paired
    if subject["reference"]:
        return {"value": 0.0, "interval": [0.0, 0.0]}
    best, kept = value_of(main_quality(reference)) if reference else None, quality.get("retained") or NONE
    value, interval = value_of(kept), interval_of(kept)
    if best is None or value is None:
        return {"value": None, "why": kept.get("why") or "there is no score to compare with"}
    spread = None if interval is None else [best * (1 - interval[1]), best * (1 - interval[0])]
    return {"value": float(f"{best * (1 - value):.6g}"), "interval": spread}


def _kept(subject: Subject, reference: Subject | None, cell: Mapping[str, Any] | None) -> Measure:
    return (subject["quality"] or {}).get("retained") or NONE


def _speedup(subject: Subject, reference: Subject | None, cell: Mapping[str, Any] | None) -> Measure:
    if subject["reference"]:
        return {"value": 1.0, "interval": [1.0, 1.0]}
    return (latency_at(subject, cell) or {}).get("ratio") or NONE


def _latency(subject: Subject, reference: Subject | None, cell: Mapping[str, Any] | None) -> Measure:
    return (latency_at(subject, cell) or {}).get("p50") or NONE


READ: dict[str, Read] = {
    "max_quality_drop": _drop,
    "min_retained": _kept,
    "min_speedup": _speedup,
    "max_latency_ms": _latency,
    "max_size": lambda subject, *_: subject["size"].get("total") or NONE,
    "max_memory": lambda subject, *_: subject["memory"].get("peak") or NONE,
}
