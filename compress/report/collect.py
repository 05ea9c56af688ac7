"""Collecting: manifests and measures of a run become one report. Reads JSON only; loads no model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compress import __version__
from compress.core.artifact import MANIFEST, read_manifest
from compress.core.environment import environment
from compress.core.errors import InputError
from compress.report.gate import Gate, judge
from compress.report.subjects import from_manifests, from_measures
from compress.report.verdict import headline, verdict
from compress.report.why import why

SCHEMA_VERSION = 1
MEASURES = "measures.json"


def collect(run_dir: Path, gate: Gate | None = None) -> dict[str, Any]:
    """The report of a run folder, of a Measures artifact, or of a folder with a measures.json.

    gate: limits that it is held against; what comes of that stands under `gate`. Raises InputError when there is
    nothing to report, or for a limit of a subject that is not there.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise InputError(f"{run_dir}: no such folder; give one that `compress run` or `compress bench` wrote")
    manifests = _manifests(run_dir)
    measures = _all_measures(run_dir, manifests)
    if not manifests and not measures:
        raise InputError(f"{run_dir}: holds no finished step; give a folder that `compress run` wrote")
    subjects = from_measures(measures, manifests) if measures else from_manifests(manifests)
    report: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "stillroom": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": {"name": run_dir.resolve().name},
        "recipe": {"name": next((m.get("recipe") for m in manifests.values() if m.get("recipe")), None)},
        "corpus": next((found["corpus"] for found in measures.values() if found.get("corpus")), None),
        "subjects": subjects,
        "steps": [_step(name, manifests) for name in _in_order(manifests)],
        "curves": {name: found for name in _in_order(manifests) if (found := _history(manifests[name]))},
        "environment": _environment(measures, manifests),
    }
    report["headline"] = headline(subjects)
    report["verdict"] = verdict(report)
    report["why"] = why(report)
    if gate is not None:
        report["gate"] = judge(report, gate)
    return report


def _manifests(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Step name to manifest of every artifact of the run, its folder added as `folder`."""
    if (run_dir / MANIFEST).is_file():
        manifest = read_manifest(run_dir)
        return {str(manifest.get("step", run_dir.name)): {**manifest, "folder": run_dir}}
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(run_dir.glob(f"*/{MANIFEST}")):
        if not path.parent.name.startswith("."):
            found[path.parent.name] = {**read_manifest(path.parent), "folder": path.parent}
    return found


def _all_measures(run_dir: Path, manifests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Step name to content of every measures.json."""
    places = {name: m["folder"] / MEASURES for name, m in manifests.items() if MEASURES in m["files"]}
    if not places and (run_dir / MEASURES).is_file():
        places = {run_dir.name: run_dir / MEASURES}
    return {name: _read_measures(path) for name, path in places.items()}


def _read_measures(path: Path) -> dict[str, Any]:
    try:
        measures = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete its folder and run the bench step again") from error
    if not isinstance(measures, dict) or not isinstance(measures.get("subjects"), list):
        raise InputError(f"{path}: not a measures file (it has no list of subjects)")
    if measures.get("schema") != SCHEMA_VERSION:
        raise InputError(f"{path}: has schema {measures.get('schema')!r}, this Stillroom reads {SCHEMA_VERSION}")
    return measures


def _in_order(manifests: dict[str, dict[str, Any]]) -> list[str]:
    """Step names, each after what it reads."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name in manifests and name not in ordered:
            for upstream in manifests[name].get("inputs", {}):
                visit(upstream)
            ordered.append(name)

    for name in sorted(manifests, key=lambda name: _depth(name, manifests, ())):
        visit(name)
    return ordered


def _depth(name: str, manifests: dict[str, dict[str, Any]], seen: tuple[str, ...]) -> int:
    above = [up for up in manifests.get(name, {}).get("inputs", {}) if up in manifests and up not in seen]
    return 1 + max((_depth(up, manifests, (*seen, name)) for up in above), default=-1)


def _step(name: str, manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    manifest = manifests[name]
    inputs = manifest.get("inputs", {})
    return {
        "name": name,
        "verb": manifest.get("verb", ""),
        "kind": manifest.get("kind", ""),
        "key": manifest.get("key", ""),
        "version": manifest.get("version"),
        "seed": manifest.get("seed"),
        "seconds": manifest.get("seconds"),
        "inputs": inputs,
        "outdated": any(up in manifests and manifests[up].get("key") != key for up, key in inputs.items()),
        "bytes": sum(facts["bytes"] for facts in manifest["files"].values()),
        "options": manifest.get("options", {}),
        "facts": _facts(manifest.get("about", {})),
    }


def _facts(about: dict[str, Any]) -> dict[str, Any]:
    """The short facts of an artifact: what a reader of the lineage asks for."""
    return {name: value for name, value in about.items() if isinstance(value, (str, int, float, bool))}


def _history(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    history = manifest.get("measured", {}).get("history")
    return [point for point in history if isinstance(point, dict)] if isinstance(history, list) else []


def _environment(measures: dict[str, dict[str, Any]], manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Where the numbers come from: of the measures, else of the newest step, else of this process."""
    candidates: Iterable[Any] = [
        *(found.get("environment") for found in measures.values()),
        *(manifests[name].get("environment") for name in reversed(_in_order(manifests))),
    ]
    return next((found for found in candidates if found), None) or environment()
