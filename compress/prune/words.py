"""What a pruning left, in words, from the facts that `prune_model` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_words(facts: Mapping[str, Any]) -> str:
    """`72 of 144 heads, 9,216 of 18,432 neurons, 1.52 times as fast on onnx`, as far as each was pruned."""
    parts = []
    for found in (value for value in facts.values() if isinstance(value, Mapping)):
        for name, words in (("heads", "heads"), ("neurons", "neurons")):
            counts = found.get(name)
            if isinstance(counts, Mapping) and counts["before"] != counts["after"]:
                parts.append(f"{sum(counts['after']):,} of {sum(counts['before']):,} {words}")
        if "layers" in found:
            parts.append(f"{len(found['layers']['kept'])} of {found['layers']['before']} layers")
        for name, words in (("width", "hidden units"), ("rows", "rows of the embedding")):
            if name in found:
                parts.append(f"{found[name][1]:,} of {found[name][0]:,} {words}")
        measured = found.get("target", {}).get("measured")
        if measured:
            parts.append(f"{measured['speedup']:.2f} times as fast on {found['target']['engine']}")
    return ", ".join(parts)
