"""Requests in the corpus's own length mix."""

from __future__ import annotations

import random

from compress.bench.workload import corpus_requests, length_of


def test_every_stretch_of_requests_has_the_corpus_lengths() -> None:
    """Rounds over different stretches must be alike, or the length mix passes for noise of the machine."""
    texts = ["x" * length for length in range(1, 1001)]
    requests = corpus_requests(texts, 1, 100, random.Random(3))
    for start in range(0, 100, 20):
        lengths = [length_of(texts[row]) for (row,) in requests[start : start + 20]]
        assert 400 < sum(lengths) / 20 < 600
        assert min(lengths) < 120 and max(lengths) > 880


def test_batches_are_drawn_not_sorted() -> None:
    """Batches of equal lengths would hide the padding that a server meets."""
    texts = ["x" * length for length in range(1, 1001)]
    requests = corpus_requests(texts, 8, 20, random.Random(3))
    assert [len(request) for request in requests] == [8] * 20
    spreads = [max(request) - min(request) for request in requests]
    assert sum(spreads) / 20 > 500


def test_lengths_of_every_kind_of_input() -> None:
    """A pair or a list of words has the length of its text, not of its container."""
    assert length_of("four") == length_of(["fo", "ur"]) == length_of({"text": "f", "text_pair": "our"}) == 4
