"""What a pruning left, in words, from the facts that `prune_model` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SAME = 0.005


def in_words(facts: Mapping[str, Any]) -> str:
    """`72 of 144 heads, 9,216 of 18,432 neurons, 1.52 times as fast on onnx`, as far as each was pruned."""
    parts = []
    for found in (value for value in facts.values() if isinstance(value, Mapping)):
        for name, words in (("heads", "heads"), ("neurons", "neurons")):
            counts = found.get(name)
            if isinstance(counts, Mapping) and counts["before"] != counts["after"]:
                said = _asked(found.get("amounts", {}), name)
                parts.append(f"{sum(counts['after']):,} of {sum(counts['before']):,} {words}{said}")
        if "layers" in found:
            parts.append(f"{len(found['layers']['kept'])} of {found['layers']['before']} layers")
        for name, words in (("width", "hidden units"), ("rows", "rows of the embedding")):
            if name in found:
                parts.append(f"{found[name][1]:,} of {found[name][0]:,} {words}")
        measured = found.get("target", {}).get("measured")
        if measured:
            parts.append(f"{measured['speedup']:.2f} times as fast on {found['target']['engine']}")
    return ", ".join(parts)


def _asked(amounts: Mapping[str, Any], kind: str) -> str:
    """Asked against got, where rounding to whole parts made another share of it."""
    if kind not in amounts:
        return ""
    asked, got = (
        value if isinstance(value, list) else [value] for value in (amounts[kind][k] for k in ("asked", "got"))
    )
    if all(abs(one - two) <= SAME for one, two in zip(asked, got, strict=True)):
        return ""
    said = [", ".join(f"{share:.3g}" for share in shares) for shares in (asked, got)]
    return f" (a ratio of {said[0]} was asked for, {said[1]} is what whole parts give)"
