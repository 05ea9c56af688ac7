"""The process of one subject: answers the parent's calls, one JSON line each, over its standard input and output.

A call is `{"call": "module:function", "with": {...}}`, the function one of `compress.bench.inside` (or of a full dotted
module, for probes of other packages). The answer is `{"value": ...}`, or `{"fault": text}` when this one request could
not be served (out of memory, say) and the process goes on. Anything worse ends the process, which the parent reports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from compress.bench.inside import timeline
from compress.bench.inside.state import State
from compress.core.errors import StillroomError

HOME = "compress.bench.inside"
FIRST_TO_GO = Path("/proc/self/oom_score_adj")


def main() -> int:
    """Serve until the parent closes the pipe."""
    born = time.perf_counter() - timeline.age()
    # A batch that does not fit must cost this process and nothing else of the user's.
    with contextlib.suppress(OSError):
        FIRST_TO_GO.write_text("1000")
    # Libraries print to file descriptor 1 as they please; the protocol keeps a copy and gives them stderr instead.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(State(born=born), sys.stdin, answers)
    return 0


def serve(state: State, calls: IO[str], answers: IO[str]) -> None:
    """Answer each line of `calls` with one line in `answers`."""
    while True:
        waited, worked = time.perf_counter(), time.process_time()
        line = calls.readline()
        if not line:
            return
        state.idle_wall += time.perf_counter() - waited
        state.idle_cpu += time.process_time() - worked
        answers.write(json.dumps(answer(state, json.loads(line))) + "\n")
        answers.flush()


def answer(state: State, call: dict[str, Any]) -> dict[str, Any]:
    """Run one call and wrap what it returned, or the fault that it can live with."""
    module, _, function = str(call["call"]).partition(":")
    target = getattr(importlib.import_module(module if "." in module else f"{HOME}.{module}"), function)
    try:
        return {"value": target(state, **call.get("with", {}))}
    except faults() as error:
        return {"fault": f"{type(error).__name__}: {error}" if not isinstance(error, StillroomError) else str(error)}


def faults() -> tuple[type[BaseException], ...]:
    """Errors of one request: out of memory, a length that the model refuses, and ONNX Runtime's own classes."""
    engine = sys.modules.get("onnxruntime.capi.onnxruntime_pybind11_state")
    names = ("Fail", "RuntimeException", "InvalidArgument", "EPFail", "EngineError")
    found = tuple(getattr(engine, name) for name in names if hasattr(engine, name))
    return (StillroomError, RuntimeError, MemoryError, ValueError, IndexError, *found)


if __name__ == "__main__":
    sys.exit(main())
