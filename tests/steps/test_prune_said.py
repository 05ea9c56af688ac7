"""What a recipe is told of a pruning: low-rank models behind trained ones, and what whole parts make of a ratio."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import FaultsError
from compress.pipeline.recipe import parse_recipe
from tests.steps.test_prune import RECIPE, made

LOW = "  low: {factorize: {model: $teacher, corpus: $corpus, method: {low_rank: {rank: {ratio: 0.5}}}}}\n"
CHECKPOINT = "student: {checkpoint: {name: $low}}, losses: [logits_kl]"
WELL = f"  well: {{distill: {{corpus: $corpus, teacher: $teacher, {CHECKPOINT}}}}}\n"
SHORT = "  short: {prune: {model: $well, corpus: $corpus, what: [{depth: {ratio: 0.5}}]}}\n"
TAUGHT = "  taught: {teach: {corpus: $corpus, model: {pretrained: {name: $short}}}}\n"


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (
            "prune: {model: $well, corpus: $corpus, what: [{heads: {ratio: 0.5}}]}",
            "criteria for heads read the weights of whole ones",
        ),
        ("prune: {model: $taught, corpus: $corpus, what: [{weights: {ratio: 0.5}}]}", "criteria for weights read"),
        ("factorize: {model: $short, corpus: $corpus, method: {embedding_svd: {width: 8}}}", "no stock architecture"),
        ("factorize: {model: $well, corpus: $corpus, method: {low_rank: {rank: {ratio: 0.2}}}}", "is low-rank already"),
    ],
)
def test_low_rank_is_seen_through_what_was_trained_since(last: str, words: str) -> None:
    """A repair that is paid for before the step after it says that it cannot be."""
    with pytest.raises(FaultsError, match=rf"steps\.last\.\w+\.model: .*{words}.* has the matrices of \$low\)"):
        parse_recipe(f"{RECIPE}{LOW}{WELL}{SHORT}{TAUGHT}  last: {{{last}}}\n")
    small = "student: {tinybert: {layers: 1, width: 16, heads: 2, ffn: 32}}, losses: [logits_kl]"
    anew = f"  anew: {{distill: {{corpus: $corpus, teacher: $well, {small}}}}}\n"
    parse_recipe(
        f"{RECIPE}{LOW}{WELL}{anew}"
        "  last: {prune: {model: $anew, corpus: $corpus, what: [{heads: {ratio: 0.5}}]}}\n"
    )


def test_what_whole_parts_make_of_a_ratio_is_said(tmp_path: Path) -> None:
    """A third that is a quarter in the result, and nobody is told."""
    _, manifest, _ = made(tmp_path, "bert", "classify", what=[{"heads": {"ratio": 0.3}}, {"ffn": {"ratio": 0.5}}])
    left = "3 of 4 heads (a ratio of 0.3 was asked for, 0.25 is what whole parts give), 32 of 64 neurons"
    assert manifest["about"]["left"] == left
    assert manifest["about"]["pruned"]["heads+ffn"]["amounts"]["neurons"] == {"asked": 0.5, "got": 0.5}
