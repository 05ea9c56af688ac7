"""Amounts of memory and disk as people write them: `256MB`, `1.5 GiB`, `20000`."""

from __future__ import annotations

import re

UNITS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def bytes_of(amount: str | int | float) -> int:
    """Bytes of `256MB` (decimal), `256MiB` (binary) or a plain number. Raises ValueError for anything else."""
    found = _AMOUNT.fullmatch(str(amount)) if not isinstance(amount, bool) else None
    unit = UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or not float(found[1]) > 0:
        raise ValueError(f"expected an amount such as 256MB or 1.5GiB, came {amount!r}")
    return round(float(found[1]) * unit)
