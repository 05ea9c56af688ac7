"""Why a subject is not faster or smaller than expected, read off a report: what was seen, and the one thing to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from compress.report.numbers import bytes_text, fixed, value_of
from compress.report.subjects import headline_cell, latency_at, memory_parts

Subject = Mapping[str, Any]
Report = Mapping[str, Any]
Finding = dict[str, str]
Found = tuple[str, str] | None
NOTHING = "nothing stands out"

# They multiply int8 at once (Intel VNNI and AMX); without them int8 is unpacked to 16 bits and gains little.
INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8")
BF16_FLAGS = ("avx512_bf16", "amx_bf16")
# An idle core for each one used: below half of what may be used, more threads are worth a try.
THREADS_SHARE = 0.5
# Linear layers do nine tenths of a BERT encoder's work at the lengths of most corpora; less means some were left.
INT8_SHARE = 0.8
# Rounding to int8 makes 1 to 6 % zeros of itself (normal to heavy-tailed weights); a fifth means that somebody pruned.
ZEROS_SHARE = 0.2
# MiniLM's table is half of the whole model; from there on the table, not the layers, decides the size.
EMBEDDING_SHARE = 0.5
# Bytes for each number of an embedding table: 4 is float32, 2 half precision, 1 int8. Above 3.5 it is float32.
FLOAT_BYTES = 3.5
# Three tenths of the work thrown away costs as much as a third more texts; random batches of short texts reach this.
PADDING_SHARE = 0.3
# A time that grows by less than a third while the tokens grow by four is not spent on the tokens.
FLAT, GROWTH = 1.33, 4
# From half of the peak on, no smaller model could halve the memory.
IMPORTS_SHARE = 0.5
# Weights on disk against what the number format needs; headers and scales make up a few percent.
STORED = 1.5
BYTES_OF = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def why(report: Report) -> dict[str, list[Finding]]:
    """The findings of each measured subject, `{"finding", "evidence", "remedy"}`; none where nothing stands out."""
    found: dict[str, list[Finding]] = {}
    for subject in report["subjects"]:
        if subject["status"] == "ok":
            told = ((name, rule(subject, report)) for name, rule in RULES.items())
            found[subject["name"]] = [
                {"finding": name, "evidence": one[0], "remedy": one[1]} for name, one in told if one is not None
            ]
    return found


def lines(found: Mapping[str, list[Finding]]) -> Iterator[str]:
    """The findings as text, one line each, or that nothing stands out."""
    for name, findings in found.items():
        if not findings:
            yield f"{name}: {NOTHING}"
        yield from (f"{name}: {one['evidence']}. {one['remedy']}" for one in findings)


def _no_int8_instructions(subject: Subject, report: Report) -> Found:
    flags = report["environment"].get("cpu_flags") or []
    if not _int8(subject) or _on_gpu(subject) or not flags or any(flag in flags for flag in INT8_FLAGS):
        return None
    return (
        f"it computes in int8, and the CPU has no instructions for that (it has {', '.join(flags)}; not VNNI, not AMX)",
        "Measure it on the CPU it will run on; on CPUs like this one expect its size to shrink, not its time",
    )


def _threads_over_quota(subject: Subject, report: Report) -> Found:
    threads, allowed = subject.get("threads"), _allowed(report["environment"])
    if _on_gpu(subject) or not threads or allowed is None or threads <= allowed:
        return None
    return (
        f"{threads} threads share {allowed:g} cores (of affinity and cgroup quota), so they wait for one another",
        f"Set --threads {max(1, int(allowed))}",
    )


def _threads_below_cores(subject: Subject, report: Report) -> Found:
    threads, allowed = subject.get("threads"), _allowed(report["environment"])
    if _on_gpu(subject) or not threads or allowed is None or threads >= THREADS_SHARE * allowed:
        return None
    return f"it uses {threads} of {allowed:g} cores", f"Set --threads {int(allowed)} where the machine is its own"


def _little_int8(subject: Subject, report: Report) -> Found:
    share = _compute(subject, "int8_share")
    if not _int8(subject) or share is None or share >= INT8_SHARE:
        return None
    return (
        f"only {_percent(share)} of its multiply-adds are done in int8",
        "Quantize the layers that were left in float, or look whether the engine computes them in float after all",
    )


def _launch_bound(subject: Subject, report: Report) -> Found:
    flat = _flatness(subject, lambda cell: int(cell["batch"]) * int(cell["length"]))
    if not _on_gpu(subject) or flat is None:
        return None
    return (
        f"{flat}: the GPU waits for the next kernel to be launched",
        "Run it as torch:cudagraph or torch:compile, which launch many kernels at once; or send larger batches",
    )


def _overhead_bound(subject: Subject, report: Report) -> Found:
    flat = _flatness(subject, lambda cell: int(cell["length"]), batch=1)
    if _on_gpu(subject) or flat is None:
        return None
    remedy = (
        "Export it to ONNX: torch's own overhead for each operation is what is left"
        if _engine(subject) == "torch"
        else "Send several texts in one request; one alone costs little more than the call"
    )
    return f"{flat}: its fixed cost, not its size, decides the time of a request", remedy


def _zeros(subject: Subject, report: Report) -> Found:
    share = _compute(subject, "zeros_share")
    if share is None or share < ZEROS_SHARE:
        return None
    return (
        f"{_percent(share)} of its dense weights are zeros, which cost the bytes and the time of any other number",
        "Remove whole heads, neurons or layers in place of single weights",
    )


def _embeddings(subject: Subject, report: Report) -> Found:
    table, total = value_of(subject["size"].get("embeddings")), value_of(subject["size"].get("total"))
    if table is None or not total or table / total < EMBEDDING_SHARE:
        return None
    each = _bytes_each(subject)
    floats = each is not None and each >= FLOAT_BYTES
    remedy = (
        "Quantize the embedding table to int8: it then takes a quarter"
        if floats or (each is None and not _int8(subject))
        else "Cut the vocabulary to the tokens that the corpus uses"
    )
    return f"the embedding table is {bytes_text(table)} of its {bytes_text(total)}", remedy


def _float_embeddings(subject: Subject, report: Report) -> Found:
    each = _bytes_each(subject)
    if not _int8(subject) or each is None or each < FLOAT_BYTES or _embeddings(subject, report):
        return None
    return (
        f"it is called int8, and its embedding table stores {fixed(each, 1)} bytes for each number",
        "Quantize the embedding table too",
    )


def _padding(subject: Subject, report: Report) -> Found:
    cells = [cell for cell in subject["latency"] if cell.get("mix") == "corpus" and (cell.get("batch") or 0) > 1]
    worst = max(cells, key=lambda cell: cell.get("padding_share") or 0.0, default=None)
    if worst is None or (worst.get("padding_share") or 0.0) < PADDING_SHARE:
        return None
    share, batch = _percent(worst["padding_share"]), worst["batch"]
    return (
        f"{share} of what it computes in batches of {batch} corpus texts is padding",
        "Put texts of similar length into one request",
    )


def _slow_dtype(subject: Subject, report: Report) -> Found:
    dtype, flags = str(subject.get("dtype")), report["environment"].get("cpu_flags") or []
    if _on_gpu(subject):
        if dtype != "float32":
            return None
        return "it runs in float32, which leaves the GPU's matrix units idle", "Run it as torch:bf16"
    if dtype == "float16":
        return "it runs in float16 on a CPU, which computes it through float32", "Run it in float32, or in bfloat16"
    if dtype == "bfloat16" and flags and not any(flag in flags for flag in BF16_FLAGS):
        return f"it runs in bfloat16, and the CPU has no instructions for it ({', '.join(flags)})", "Run it in float32"
    return None


def _asked_dtype(subject: Subject, report: Report) -> Found:
    _, _, variant = str(subject.get("engine", "")).partition(":")
    asked = next((full for name, full in (("bf16", "bfloat16"), ("fp16", "float16")) if name in variant), None)
    dtype = str(subject.get("dtype"))
    if asked is None or dtype == asked:
        return None
    return f"{asked} was asked for and it runs in {dtype}", f"Look why the engine fell back from {subject['engine']}"


def _stored_wider(subject: Subject, report: Report) -> Found:
    parameters, needed = value_of(subject["parameters"]), BYTES_OF.get(str(subject.get("dtype")))
    parts = [value_of(subject["size"].get(part)) for part in ("embeddings", "encoder", "head")]
    if not parameters or needed is None or None in parts:
        return None
    each = sum(part or 0.0 for part in parts) / parameters
    if each < STORED * needed or _float_embeddings(subject, report):
        return None
    dtype = subject["dtype"]
    return (
        f"it runs in {dtype} ({needed} bytes) and its files hold {fixed(each, 1)} bytes for each parameter",
        f"Store it in {dtype}: the files then shrink, and loading is faster" if needed > 1 else "Quantize what is left",
    )


def _imports(subject: Subject, report: Report) -> Found:
    parts = memory_parts(subject)
    if parts is None or not sum(parts.values()) or parts["imports"] / sum(parts.values()) < IMPORTS_SHARE:
        return None
    remedy = (
        "Export it to ONNX and run it without torch"
        if _engine(subject) == "torch"
        else "Hold several models in one process, or run it from a program that is not Python"
    )
    whole = bytes_text(sum(parts.values()))
    return f"{bytes_text(parts['imports'])} of its {whole} at the peak are the interpreter and its imports", remedy


def _unsure(subject: Subject, report: Report) -> Found:
    """The noise of the measuring is larger than the difference."""
    entry = latency_at(subject, headline_cell(report["subjects"]))
    ratio = (entry or {}).get("ratio") or {}
    if subject["reference"] or ratio.get("verdict") != "CANNOT TELL" or not ratio.get("interval"):
        return None
    low, high = ratio["interval"]
    return (
        f"whether it is faster cannot be told: the interval of the ratio reaches from {low:.2f} to {high:.2f}",
        "Measure longer (bench: seconds) on a quiet machine",
    )


RULES: dict[str, Callable[[Subject, Report], Found]] = {
    "no-int8-instructions": _no_int8_instructions,
    "threads-over-quota": _threads_over_quota,
    "threads-below-cores": _threads_below_cores,
    "little-int8": _little_int8,
    "launch-bound": _launch_bound,
    "overhead-bound": _overhead_bound,
    "zeros-in-dense": _zeros,
    "embeddings-dominate": _embeddings,
    "float-embeddings": _float_embeddings,
    "padding": _padding,
    "slow-dtype": _slow_dtype,
    "dtype-not-as-asked": _asked_dtype,
    "stored-wider": _stored_wider,
    "imports-dominate": _imports,
    "ratio-unsure": _unsure,
}


def _int8(subject: Subject) -> bool:
    return str(subject.get("dtype")) == "int8"


def _on_gpu(subject: Subject) -> bool:
    return str(subject.get("device") or "").startswith("cuda")


def _engine(subject: Subject) -> str:
    return str(subject.get("engine") or "").partition(":")[0]


def _compute(subject: Subject, name: str) -> float | None:
    found = (subject.get("compute") or {}).get(name)
    return float(found) if isinstance(found, (int, float)) else value_of(found)


def _allowed(environment: Mapping[str, Any]) -> float | None:
    """Cores that a subject may use: `cores` is whole, the quota need not be."""
    known = [environment.get("cores"), environment.get("cgroup_cpu_quota"), len(environment.get("affinity") or [])]
    return min((float(cores) for cores in known if cores), default=None)


def _bytes_each(subject: Subject) -> float | None:
    """Bytes of each number of the embedding table."""
    share, parameters = _compute(subject, "embedding_share"), value_of(subject["parameters"])
    table = value_of(subject["size"].get("embeddings"))
    return table / (share * parameters) if share and parameters and table is not None else None


def _flatness(subject: Subject, work: Callable[[Mapping[str, Any]], int], batch: int | None = None) -> str | None:
    """What was seen when four times the work of the smallest grid cell hardly takes longer; else None."""
    cells = [
        (work(cell), value_of(cell.get("p50")) or 0.0, f"{cell['batch']} x {cell['length']}")
        for cell in subject["latency"]
        if cell.get("mix") == "grid" and (batch is None or cell["batch"] == batch)
    ]
    timed = sorted(cell for cell in cells if cell[1])
    low = timed[0] if timed else None
    high = next((cell for cell in timed if low and cell[0] >= GROWTH * low[0]), None)
    if low is None or high is None or high[1] >= FLAT * low[1]:
        return None
    return f"{low[1]:.3g} ms for {low[2]} tokens and {high[1]:.3g} ms for {high[2]}"


def _percent(share: float) -> str:
    return f"{fixed(share * 100, 0)} %"
