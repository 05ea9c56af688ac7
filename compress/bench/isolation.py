"""A subject's process as its parent sees it: started, called, waited for without spinning, and ended."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.core.environment import interpreter
from compress.core.errors import JobError

COMMAND = (interpreter(), "-m", "compress.bench.subject")
POOLS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)
TAIL = 4000
NO_MEMORY = ("out of memory", "bad_alloc", "memoryerror", "cannot allocate", "can't allocate", "failed to allocate")


class SubjectError(JobError):
    """A subject's process ended or fell silent. `status` is `failed` or `timeout`; memory: it ended for lack of it."""

    def __init__(self, status: str, message: str, memory: bool = False) -> None:
        self.status = status
        self.memory = memory
        super().__init__(message)


class RequestError(JobError):
    """One request could not be served; the process lives on."""


class Worker:
    """One fresh process. `timeout`: seconds that one call may take, on top of what the call is allowed to measure.

    log: where its standard error goes. command: how to start it, when not with this interpreter.
    """

    def __init__(self, threads: int, log: Path, timeout: float, command: Sequence[str] = COMMAND) -> None:
        self.timeout = timeout
        self._log = log
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        environment = {**os.environ, **dict.fromkeys(POOLS, str(threads)), "PYTHONUNBUFFERED": "1"}
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=environment,
            )
        # A thread that sleeps in `readline` waits on every platform; polling would take a core from the subject.
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process number."""
        return self._process.pid

    def call(self, function: str, allow: float = 0.0, **arguments: Any) -> Any:
        """Call `module:function` over there and return its value.

        allow: seconds of work that was asked for, beyond `timeout`. Raises RequestError for a fault that the process
        survived and SubjectError when it ended or did not answer in time (it is killed then).
        """
        self.send(function, **arguments)
        return self.receive(allow)

    def send(self, function: str, **arguments: Any) -> None:
        """Ask without waiting, so that several processes can start at the same time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"call": function, "with": arguments}) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError, ValueError):
            raise self._ended() from None

    def receive(self, allow: float = 0.0) -> Any:
        """Wait for the answer to the oldest question."""
        try:
            line = self._answers.get(timeout=self.timeout + allow)
        except queue.Empty:
            self.kill()
            seconds = f"{self.timeout + allow:g}"
            raise SubjectError("timeout", f"no answer within {seconds} s; raise `timeout` if it is that slow") from None
        if line is None:
            raise self._ended()
        answer = json.loads(line)
        if "fault" in answer:
            raise RequestError(answer["fault"])
        return answer["value"]

    def close(self) -> None:
        """Let the process end by itself: it stops when its input closes."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self.kill()

    def kill(self) -> None:
        """End the process now and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _ended(self) -> SubjectError:
        code = self._process.wait()
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        said = self._log.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
        killed = -code == getattr(signal, "SIGKILL", 9)
        last = said.splitlines()[-1] if said else "it said nothing"
        message = f"its process {how}{' (out of memory?)' if killed else ''}: {last}"
        return SubjectError("failed", message, killed or speaks_of_memory(last))


def speaks_of_memory(message: str) -> bool:
    """Whether an error's text says that memory ran out."""
    return any(words in message.lower() for words in NO_MEMORY)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
