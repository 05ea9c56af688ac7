"""Byte-pair encoding that starts from bytes: GPT-2's and RoBERTa's tokenizers, and those that fall back to bytes.

A word starts as its symbols. As long as a pair of neighbours is in the list of merges, the pair that stands first in
the list (leftmost, where it occurs twice) becomes one token. (Sennrich et al. 2016.)

Why covered text is cut the same. Let a word be cut into t1 ... tn by the old list.

1. No merge crosses the border of two final tokens, since what is merged is never taken apart. So the merges inside
   the span of ti are, in their order, those that ti alone would undergo: whichever pair was first in the whole word was
   first in its span. The way to ti is therefore the same in every word: D(ti), which `_way` follows.
2. For each kept token all tokens of its way stay (`with_parts`), and a merge stays when its two parts and its result
   stay. So every merge of D(t1) ... D(tn) is in the new list, which is a part of the old one in the old order.
3. By induction the new list does the same at each step. At equal symbols the pairs that the new list offers are among
   those that the old one offers, and the old one's first is among them by 2: it is first again. At the end the old list
   offers nothing, and so neither does the new one.

The symbols that a word starts from always stay: the 256 bytes, and single characters and `<0x..>` where the fallback
is to bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from functools import cached_property
from itertools import pairwise
from typing import Any

from compress.prune.tokenizers.base import Cutter, bytes_among, renumbered, single


class ByteBPECutter(Cutter):
    """BPE over bytes, or over characters with a fallback to bytes."""

    @classmethod
    def fault(cls, data: Mapping[str, Any]) -> str:
        """What keeps the proof from holding: words taken whole, merges drawn at random, symbols that are not there."""
        model = data["model"]
        if model.get("ignore_merges"):
            return "it looks whole words up before it merges (ignore_merges), so that merges do not tell what it does"
        if model.get("dropout"):
            return "it leaves merges out at random (dropout)"
        if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            return "its symbols carry a prefix or suffix of the word, so that its merges cannot be followed"
        if not (model.get("byte_fallback") or "ByteLevel" in json.dumps([data["pre_tokenizer"], data["normalizer"]])):
            return "it is a BPE over characters without a fallback to bytes, so that its merges cannot be followed"
        return ""

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {(left, right): rank for rank, (left, right) in enumerate(map(_pair, self.model["merges"]))}

    def bound(self) -> set[str]:
        """All symbols that words start from, and the unknown token."""
        known = self.model["vocab"]
        return single(known) | bytes_among(known) | {str(self.model.get("unk_token"))}.intersection(known)

    def characters(self) -> set[str]:
        """The symbols: they stay in any case."""
        return single(self.model["vocab"])

    def with_parts(self, token: str) -> set[str]:
        """A token with the tokens on the way to it."""
        return {token, *self._way(token)} if token in self.model["vocab"] else {token}

    def _way(self, token: str) -> list[str]:
        """What is merged on the way to a token, in order."""
        symbols, made = list(token), []
        while len(symbols) > 1:
            pairs = [self._ranks.get(pair) for pair in pairwise(symbols)]
            ranked = [(rank, place) for place, rank in enumerate(pairs) if rank is not None]
            if not ranked:
                break
            _, place = min(ranked)
            symbols[place : place + 2] = ["".join(symbols[place : place + 2])]
            made.append(symbols[place])
        return made

    def cut(self, kept: Set[str]) -> dict[str, Any]:
        """The model with fewer tokens, and the merges whose parts and result stay."""
        merges = [
            [left, right]
            for left, right in map(_pair, self.model["merges"])
            if left in kept and right in kept and left + right in kept
        ]
        return {**self.model, "vocab": renumbered(self.model["vocab"], kept), "merges": merges}


def _pair(merge: Any) -> tuple[str, str]:
    """A merge as its two parts; older files write them as one text with a space between."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return str(left), str(right)
