"""What every verb shares: consoles, JSON on stdout, and errors as one readable message with the right exit code."""

from __future__ import annotations

import errno
import functools
import inspect
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from compress.core.errors import InputError, StillroomError
from compress.core.processes import this_process

INTERRUPTED = 130
GRACE = 5.0  # seconds in which the leader's own error ends a process of several
CHATTY_LOGGERS = ("torch.utils._pytree",)  # they warn about their own files on import
EXTRAS = {"pynvml": "gpu"}
PLACES = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS}
QUIET_LIBRARIES = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; warnings and results only.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads [default: all that may be used].")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def out() -> Console:
    """Standard output: results only."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def err() -> Console:
    """Standard error: notes, warnings, bars and errors."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def write_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Send what libraries print to standard error, so that standard output holds only what a verb writes last."""
    for name, value in QUIET_LIBRARIES.items():
        os.environ.setdefault(name, value)
    for chatty in CHATTY_LOGGERS:
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with redirect_stdout(sys.stderr):
        yield


def add_verb(app: typer.Typer, name: str, function: Callable[..., None]) -> None:
    """Put a function on the command line: its signature gives the options, `--debug` and error handling are added."""

    @functools.wraps(function)
    def command(*args: Any, debug: bool = False, **options: Any) -> None:
        with _guarded(debug):
            function(*args, **options)

    signature = inspect.signature(function, eval_str=True)
    debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug)
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), debug]
    )
    command.__annotations__ = {**function.__annotations__, "debug": Debug}
    app.command(name)(command)


def hide_tracebacks() -> None:
    """Show an error that nobody foresaw as one line; `--debug` puts Python's own hook back."""
    sys.excepthook = _bug


def _bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = " ".join(str(error).split())[:300]
    sys.stderr.write(f"this is a bug in Stillroom: {kind.__name__}: {text} (--debug shows the traceback)\n")


@contextmanager
def _guarded(debug: bool) -> Iterator[None]:
    if debug:
        sys.excepthook = sys.__excepthook__
    try:
        yield
    except StillroomError as error:
        _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _fail("interrupted; run the same command to go on", INTERRUPTED, debug)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("compress", "teachers"):
            raise
        _fail(_missing(error.name or ""), 2, debug)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        _fail(_system(error), 2 if error.errno in PLACES else 1, debug)
    except MemoryError:
        _fail("out of memory; use a smaller batch_size, or a machine with more memory", 1, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    err().print(f"[bold red]error:[/] {_of_process()}{escape(message)}")
    raise typer.Exit(code) from None


def _of_process() -> str:
    """Which process of several speaks. Most errors are everybody's, and the leader tells them: the launcher then ends
    the others while they wait here. What only one of them met is told by it."""
    try:
        here = this_process()
    except InputError:
        return ""
    if here.leads:
        return ""
    time.sleep(GRACE)
    return f"process {here.rank} of {here.world}: "


def _missing(module: str) -> str:
    extra = EXTRAS.get(module.split(".")[0], "train")
    return f'this needs the package {module!r}, which is not installed: pip install "stillroom[{extra}]"'


def _system(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{place}the disk is full; free some space and run the same command to go on"
    if isinstance(error, PermissionError):
        return f"{place}permission denied; choose a place that you may write and read"
    if error.errno in PLACES:
        return f"{place}{error.strerror}; choose another place"
    return f"{place}{error.strerror or error}"
