"""How texts fare under a cut vocabulary: which are cut into the same tokens, and what became of the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from compress.prune.tokenizers.edit import bare

AT_ONCE = 1024
"""Rows that are encoded together."""


def ids_of(tokenizer: Any, rows: Iterable[Sequence[str]]) -> Iterator[list[list[int]]]:
    """The token ids of each row's texts, without special tokens and untruncated, a list for each text.

    A row's texts are cut each by itself: the two of a pair, or the words of a row that comes split.
    """
    plain, rest = bare(tokenizer), iter(rows)
    while some := list(islice(rest, AT_ONCE)):
        texts = [text for row in some for text in row]
        encoded = iter(plain.encode_batch_fast(texts, add_special_tokens=False))
        yield from ([list(next(encoded).ids) for _ in row] for row in some)


def covered(old: Any, new: Any, rows: Sequence[Sequence[str]]) -> list[bool]:
    """Whether the new tokenizer cuts all texts of a row into the tokens that the old one does, for each row."""
    name = _names(old, new)
    return [
        [[name.get(one, -1) for one in text] for text in before] == after
        for before, after in zip(ids_of(old, rows), ids_of(new, rows), strict=True)
    ]


def coverage(old: Any, new: Any, rows: Iterable[Sequence[str]]) -> dict[str, float]:
    """What a cut vocabulary does to rows of texts; all numbers are shares of 1 but the counts.

    texts: number of rows. kept_texts: share of rows whose tokens all stay. covered_texts: share of rows that are cut as
    before (fewer on texts never seen: an unknown word may become a known one). tokens: number of tokens before.
    kept_share: share of these that the new vocabulary still has. resplit_share: share of these that lie in texts
    which are cut otherwise. unknown_share: share of the new tokens that are unknown; unknown_share_before: of the old.
    """
    name, rows = _names(old, new), list(rows)
    same = whole = tokens = kept = resplit = after_count = unknown = unknown_before = 0
    for before, after in zip(ids_of(old, rows), ids_of(new, rows), strict=True):
        mapped = [[name.get(one, -1) for one in text] for text in before]
        same += mapped == after
        whole += all(one >= 0 for text in mapped for one in text)
        for text, old_ids, new_ids in zip(mapped, before, after, strict=True):
            tokens += len(text)
            kept += sum(one >= 0 for one in text)
            resplit += len(text) if text != new_ids else 0
            after_count += len(new_ids)
            unknown += new_ids.count(new.unk_token_id)
            unknown_before += old_ids.count(old.unk_token_id)
    return {
        "texts": len(rows),
        "kept_texts": _share(whole, len(rows)),
        "covered_texts": _share(same, len(rows)),
        "tokens": tokens,
        "kept_share": _share(kept, tokens),
        "resplit_share": _share(resplit, tokens),
        "unknown_share": _share(unknown, after_count),
        "unknown_share_before": _share(unknown_before, tokens),
    }


def _names(old: Any, new: Any) -> dict[int, int]:
    """Old id to new id of the tokens that both have."""
    known = new.get_vocab()
    return {number: known[token] for token, number in old.get_vocab().items() if token in known}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
