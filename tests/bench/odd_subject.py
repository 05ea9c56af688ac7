"""A subject's process that crashes, hangs or runs out of memory when its model's folder is called so."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from compress.bench import subject
from compress.bench.inside import opening, timing
from compress.bench.inside.state import State


def load(state: State, folder: str, **arguments: Any) -> dict[str, Any]:
    """The real loading, or the accident that the folder's name asks for."""
    name = Path(folder).name
    if name == "crash":
        sys.exit("the weights bite")
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hang":
        time.sleep(600)
    if name == "full":
        timing.prepare = out_of_memory
    if name == "greedy":
        timing.prepare = killed
    os.write(1, b"a library that prints to standard output\n")
    return real(state, folder, **arguments)


def out_of_memory(state: State, **arguments: Any) -> dict[str, Any]:
    """What torch does when the device is full, for batches over one text."""
    if len(arguments["rows"][0]) > 1:
        raise RuntimeError("CUDA out of memory")
    return prepare(state, **arguments)


def killed(state: State, **arguments: Any) -> dict[str, Any]:
    """What the kernel does when the machine is full, for batches over one text."""
    if len(arguments["rows"][0]) > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(state, **arguments)


real, prepare = opening.load, timing.prepare
opening.load = load

if __name__ == "__main__":
    sys.exit(subject.main())
