"""The report of a run: collected from manifests and measures, rendered to files. No model is loaded."""

from __future__ import annotations

from compress.report.render import make_report as make_report
