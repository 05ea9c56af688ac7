"""The tables below the main one: quality in detail, slices, starting, work, memory, and every cell that was timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from compress.report import numbers
from compress.report.numbers import DASH, value_of
from compress.report.subjects import BILL, memory_parts, slice_metric
from compress.report.tables import (
    Cell,
    Column,
    Makers,
    Report,
    Subject,
    Table,
    assemble,
    latency_cell,
    measure_cell,
    name_cell,
    ratio_cell,
)

NAME = Column("subject", "model", "What was measured", False)
Entry = tuple[Subject, Mapping[str, Any]]


def quality_table(report: Report) -> Table:
    """One row a subject: every metric, agreement, calibration, and the paired test against the reference."""
    subjects = [s for s in report["subjects"] if s["quality"]]
    names = list(dict.fromkeys(name for s in subjects for name in s["quality"]["values"]))
    makers: Makers[Subject] = [(NAME, lambda s: Cell(s["name"], order=s["name"]))]
    makers += [(Column(name, name.replace("_", " "), "Over the whole split"), _metric(name)) for name in names]
    makers += [
        (Column("agreement", "agrees", "Share of the rows with the reference's answer"),
         lambda s: measure_cell(s["quality"].get("agreement"), numbers.percent)),
        (Column("ece", "ECE", "Expected calibration error: by how much confidence and accuracy differ; 0 is best"),
         lambda s: measure_cell((s["quality"].get("calibration") or {}).get("ece"))),
        (Column("lost", "lost", "Rows that the reference had right and this model has wrong"), _paired("lost")),
        (Column("gained", "gained", "Rows that the reference had wrong and this model has right"), _paired("gained")),
        (Column("drop", "drop", "The reference's metric less this model's on the same rows; in points"),
         lambda s: measure_cell((s["quality"].get("paired") or {}).get("drop"),
                                lambda m: numbers.points(m, s["quality"]["metric"]))),
        (Column("p", "paired test", "How surprising so large a difference would be between equally good models"),
         _p_value),
    ]  # fmt: skip
    return assemble(makers, ((s, s) for s in subjects))


def slices_table(report: Report) -> Table:
    """One row a subject and slice, worst first as measured."""
    items = [(s, (s, found)) for s in report["subjects"] if s["quality"] for found in s["quality"].get("slices") or []]
    makers: Makers[Entry] = [
        (NAME, _name),
        (Column("by", "by", "What the rows were divided by", False), lambda e: Cell(str(e[1]["by"]), "", e[1]["by"])),
        (Column("slice", "slice", "Which of them", False), lambda e: Cell(str(e[1]["slice"]), "", str(e[1]["slice"]))),
        (Column("rows", "rows", "Rows of the slice"), lambda e: Cell(str(e[1]["rows"]), "", e[1]["rows"])),
        (Column("value", "score", "The task metric on these rows"), lambda e: _in_metric(e, e[1].get("value"))),
        (Column("reference", "reference", "The reference's score on these rows"),
         lambda e: _in_metric(e, {"value": e[1].get("reference")})),
        (Column("drop", "lost", "The reference's score less this model's, with the 95 % interval; in points"),
         lambda e: measure_cell(e[1].get("drop"), lambda m: numbers.points(m, slice_metric(*e)))),
    ]  # fmt: skip
    return assemble(makers, items)


def start_table(report: Report) -> Table:
    """One row a subject: how long until the first answer."""
    what = {
        "load": ("load", "From folder to ready, without imports"),
        "first_call": ("first call", "The first request after loading"),
        "cold_start": ("cold start", "From the start of the process to the first answer"),
        "baseline_start": ("of it imports", "The interpreter and the imports alone"),
    }
    makers: Makers[Subject] = [(NAME, name_cell)]
    makers += [(Column(name, title, text), _of("load", name, numbers.seconds)) for name, (title, text) in what.items()]
    return assemble(makers, ((s, s) for s in report["subjects"]))


def work_table(report: Report) -> Table:
    """One row a subject: operations, what of them is int8, and energy."""
    makers: Makers[Subject] = [
        (NAME, name_cell),
        (Column("tokens", "tokens", "Of a text of the corpus, on average"), _of("compute", "tokens", numbers.plain)),
        (Column("flops", "operations per text", "Floating-point or integer, at the corpus's mean length"),
         _of("compute", "flops", lambda m: (numbers.count(value_of(m), "FLOP"), ""))),
        (Column("int8_share", "in int8", "Share of the multiply-adds done in int8"),
         _of("compute", "int8_share", _share)),
        (Column("embedding_share", "embeddings", "Share of the parameters that are embeddings"),
         _of("compute", "embedding_share", _share)),
        (Column("zeros_share", "zeros", "Share of zeros stored in dense weights"),
         _of("compute", "zeros_share", _share)),
        (Column("energy", "energy per text", "From the counters of the processor or the GPU"),
         lambda s: measure_cell(s.get("energy"), numbers.joules)),
    ]  # fmt: skip
    return assemble(makers, ((s, s) for s in report["subjects"]))


def memory_table(report: Report) -> Table:
    """One row a subject: the bill, the peak, the GPU, and whether it fits under each limit that was asked for."""
    limits = list(dict.fromkeys(found["limit_bytes"] for s in report["subjects"] for found in s.get("fits") or []))
    gpu = list(dict.fromkeys(name for s in report["subjects"] for name in _gpu(s)))
    titles = {"imports": "interpreter and imports", "weights": "weights and session", "activations": "activations",
              "loading": "loading"}  # fmt: skip
    makers: Makers[Subject] = [(NAME, name_cell)]
    makers += [(Column(part, titles[part], "Of the peak on the CPU"), _bill(part)) for part in BILL]
    makers += [
        (Column("peak", "peak", "All of it at the worst moment"), _of("memory", "peak", numbers.size)),
        (Column("steady", "steady", "After the requests"), _of("memory", "steady", numbers.size)),
    ]
    makers += [(Column(name, f"GPU {name}", "On the device"), _gpu_cell(name)) for name in gpu]
    makers += [(Column(f"fits-{limit}", f"fits {numbers.bytes_text(limit)}", "Run under a real limit"), _fits(limit))
               for limit in limits]  # fmt: skip
    return assemble(makers, ((s, s) for s in report["subjects"]))


def grid_table(report: Report) -> Table:
    """One row a subject and timed cell."""
    items = [(s, (s, entry)) for s in report["subjects"] for entry in s["latency"]]
    makers: Makers[Entry] = [
        (NAME, _name),
        (Column("batch", "batch", "Texts in one request"), lambda e: Cell(str(e[1]["batch"]), "", e[1]["batch"])),
        (Column("length", "tokens", "Tokens of each text"), _length),
        (Column("p50", "p50", "Median time of one request"), _percentile("p50")),
        (Column("p90", "p90", "Nine of ten requests are faster"), _percentile("p90")),
        (Column("p99", "p99", "99 of 100 requests are faster"), _percentile("p99")),
        (Column("device_p50", "on the GPU", "Of the median, what lies between the first kernel and the last"),
         _percentile("device_p50")),
        (Column("ratio", "faster", "Time of the reference over time of this model, round by round"),
         lambda e: ratio_cell(e[1], e[0])),
        (Column("throughput", "throughput", "Texts per second, one request after another"),
         lambda e: measure_cell(e[1].get("throughput"), numbers.per_second)),
        (Column("padding", "padding", "Share of the tokens that only fill up the batch"),
         lambda e: _exact_share(e[1].get("padding_share"))),
    ]  # fmt: skip
    return assemble(makers, items)


def sweep_table(report: Report) -> Table:
    """One row a subject and batch size of the search for the best one."""
    items = [(s, (s, entry)) for s in report["subjects"] for entry in (s.get("throughput") or {}).get("sweep") or []]
    makers: Makers[Entry] = [
        (NAME, _name),
        (Column("batch", "batch", "Texts in one request"), lambda e: Cell(str(e[1]["batch"]), "", e[1]["batch"])),
        (Column("rate", "throughput", "Texts per second, sustained"),
         lambda e: measure_cell(e[1].get("rate") or e[1], numbers.per_second)),
    ]  # fmt: skip
    return assemble(makers, items)


def gate_table(report: Report) -> Table:
    """One row a limit of the gate, missed ones first."""
    order = {"missed": 0, "cannot tell": 1, "met": 2}
    limits = sorted((report.get("gate") or {}).get("limits") or [], key=lambda found: order.get(found["state"], 1))
    makers: Makers[Mapping[str, Any]] = [
        (Column("subject", "model", "What the limit is for", False), lambda f: Cell(f["subject"], "", f["subject"])),
        (Column("limit", "limit", "As the gate file names it", False), lambda f: Cell(_words(f), "", f["limit"])),
        (Column("target", "target", "As the gate file sets it"),
         lambda f: _bound(f, {"value": f.get("target")}, report)),
        (Column("value", "measured", "With its 95 % interval"), lambda f: _bound(f, f, report)),
        (Column("state", "state", "Missed only when the whole interval is beyond the limit", False),
         lambda f: Cell("", f.get("why") or "", order.get(f["state"], 1), f["state"].upper())),
    ]  # fmt: skip
    items = [({"name": found["subject"], "status": "ok"}, found) for found in limits]
    return assemble(makers, items, keep=("subject", "state"))


def _words(found: Mapping[str, Any]) -> str:
    return str(found["limit"]).replace("_", " ")


def _bound(found: Mapping[str, Any], measure: Mapping[str, Any], report: Report) -> Cell:
    """A target or a measured value in the unit that the limit's name speaks of."""
    name = str(found["limit"])
    if "size" in name or "memory" in name:
        return _bare(measure, numbers.size)
    if "speed" in name:
        return _bare(measure, lambda m: numbers.times(value_of(m), numbers.interval_of(m)))
    if name.endswith("_ms"):
        return _bare(measure, numbers.milliseconds)
    metrics = [s["quality"]["metric"] for s in report["subjects"] if s["quality"]]
    if "retained" in name or (metrics and numbers.is_share(metrics[0])):
        return _bare(measure, numbers.percent)
    return _bare(measure, numbers.plain)


def _bare(measure: Mapping[str, Any], render: Callable[[numbers.Measure], tuple[str, str]]) -> Cell:
    """A measure without the reason of a blank, which stands beside the state."""
    return Cell(*render(measure), value_of(measure))


def _metric(name: str) -> Callable[[Subject], Cell]:
    return lambda s: measure_cell(s["quality"]["values"].get(name), lambda m: numbers.quality(m, name))


def _paired(which: str) -> Callable[[Subject], Cell]:
    def make(subject: Subject) -> Cell:
        found = (subject["quality"].get("paired") or {}).get(which)
        return Cell() if found is None or subject["reference"] else Cell(str(found), "", found)

    return make


def _p_value(subject: Subject) -> Cell:
    paired = subject["quality"].get("paired") or {}
    if subject["reference"] or paired.get("p") is None:
        return Cell(note=f"{numbers.BLANK}: {paired['why']}" if paired.get("why") else "")
    return Cell(numbers.p_value(paired["p"]), str(paired.get("test") or ""), paired["p"])


def _in_metric(entry: Entry, measure: Mapping[str, Any] | None) -> Cell:
    return measure_cell(measure, lambda m: numbers.quality(m, slice_metric(*entry)))


def _of(group: str, name: str, render: Callable[[numbers.Measure], tuple[str, str]]) -> Callable[[Subject], Cell]:
    """A measure of a group; a bare number is taken as one."""

    def make(subject: Subject) -> Cell:
        found = (subject.get(group) or {}).get(name)
        return measure_cell({"value": found} if isinstance(found, (int, float)) else found, render)

    return make


def _share(measure: numbers.Measure) -> tuple[str, str]:
    value = value_of(measure)
    return ("< 1 %", "") if value is not None and 0 < value < 0.01 else numbers.percent(measure, 0)


def _exact_share(value: float | None) -> Cell:
    return Cell() if value is None else Cell(f"{numbers.fixed(value * 100, 0)} %", "", value)


def _bill(part: str) -> Callable[[Subject], Cell]:
    def make(subject: Subject) -> Cell:
        parts = memory_parts(subject)
        if parts is None:
            return measure_cell((subject["memory"].get("bill") or {}).get(part), numbers.size)
        return Cell(numbers.bytes_text(parts[part]), "", parts[part])

    return make


def _gpu(subject: Subject) -> Iterator[str]:
    """What is known of the GPU's memory, by name; nothing when it was not used."""
    gpu = subject["memory"].get("gpu")
    if isinstance(gpu, dict) and "value" not in gpu:
        yield from (name for name, found in gpu.items() if isinstance(found, dict) and "value" in found)


def _gpu_cell(name: str) -> Callable[[Subject], Cell]:
    def make(subject: Subject) -> Cell:
        gpu = subject["memory"].get("gpu")
        return measure_cell(gpu.get(name), numbers.size) if isinstance(gpu, dict) and "value" not in gpu else Cell()

    return make


def _fits(limit: int) -> Callable[[Subject], Cell]:
    def make(subject: Subject) -> Cell:
        found = next((f for f in subject.get("fits") or [] if f["limit_bytes"] == limit), None)
        if found is None:
            return Cell()
        if found["fits"] is None:
            return Cell(DASH, f"{numbers.BLANK}: {found.get('why') or 'no reason given'}")
        why = found.get("why") if not found["fits"] else ""
        note = "\n".join(part for part in (f"by {found['how']}" if found.get("how") else "", why) if part)
        return Cell("yes" if found["fits"] else "no", note, int(found["fits"]))

    return make


def _name(entry: Entry) -> Cell:
    return Cell(entry[0]["name"], "", entry[0]["name"])


def _length(entry: Entry) -> Cell:
    if entry[1].get("mix") == "corpus":
        return Cell("corpus", "its own lengths", 0)
    return Cell(str(entry[1].get("length")), "", entry[1].get("length"))


def _percentile(which: str) -> Callable[[Entry], Cell]:
    return lambda e: latency_cell(e[0], e[1], which)
