"""The benchmark of pruning: what it counts, claims of parts that were not run, and its picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import prune
from benchmarks.prune_peer import counts_of, share_of
from benchmarks.prune_picture import draw

FIT = {"base_ms": 1.0, "layer_ms": 0.0, "heads_ms": [[1, 0.0], [12, 5.5]], "neurons_ms": [[8, 0.0], [1536, 7.64]]}
FACTS = {"heads": {"before": [12, 12]}, "neurons": {"before": [1536, 1536]}}


def test_the_peer_gets_the_same_time() -> None:
    """A peer that is compared at a larger model, or at a smaller one."""
    aim = {"reference_ms": 14.14, "measured": {"speedup": 2.0}, "fit": FIT}
    share = share_of(aim, {"about": {"pruned": {"heads+ffn": FACTS}}})
    heads, neurons = counts_of(share, 12, 1536)
    assert 1 + 0.5 * (heads - 1) + 0.005 * (neurons - 8) <= 7.07
    more = counts_of(share - 0.02, 12, 1536)
    assert 1 + 0.5 * (more[0] - 1) + 0.005 * (more[1] - 8) > 6.5
    assert counts_of(0.99, 12, 1536) == (1, 16)


def test_parts_that_were_not_run_are_claims_that_are_not_met() -> None:
    """A promise that is gone because its part was skipped."""
    found = [*prune.without_training([]), *prune.recovered([]), *prune.halved([]), *prune.tokens([]), *prune.curve([])]
    assert len(found) == 2 + 8 + 2 + 2 + 6 and not any(one["met"] for one in found)
    assert all(word in " ".join(one["name"] for one in found) for word in ("1.5x", "2x", "3x", "batch 8", "curve"))


def test_claims_follow_the_rows() -> None:
    """A gain that is a loss, or a peer that is compared with another seed."""
    rows = [
        {"part": "b", "aim": 2.0, "model": model, "seed": seed, "faster": faster, "lost": lost}
        for seed in (1, 2)
        for model, faster, lost in (("stillroom", 2.1, 0.5), ("torch-pruning", 2.0, 2.5))
    ]
    found = {one["name"]: one for one in prune.recovered(rows)}
    assert found["2x: above torch-pruning and plain fine-tuning"]["value"] == 2.0
    assert found["one epoch of recovery, 2x: below the teacher"]["met"]
    assert found["2x: speed over that of torch-pruning"]["value"] == pytest.approx(1.05)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """A picture that is found to be impossible after hours of measuring."""
    rows = [
        {
            "by": by,
            "point": str(point),
            "faster": 1 + point,
            "accuracy": 90 - point * worse,
            "teacher": 92.0,
            "length": 64,
        }
        for by, worse in (("fisher", 1), ("random", 9))
        for point in range(4)
    ]
    draw(rows, tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    assert text.startswith("<svg") and "fisher" in text and "random" in text
