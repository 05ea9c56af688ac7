"""The command line. `compress --help` must answer in half a second: nothing heavy is imported before a verb runs."""

from __future__ import annotations

import sys

NEEDS = 'the command line needs Typer and Rich; install them with: pip install "stillroom[train]"'


def main() -> None:
    """Entry point of the `compress` command."""
    try:
        from compress.cli.app import start
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.stderr.write(f"{NEEDS}\n")
        raise SystemExit(2) from None
    start()
