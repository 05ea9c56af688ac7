"""`python -m compress.cli` is the `compress` command."""

from __future__ import annotations

from compress.cli import main

main()
