"""`vocab`: tokens that the texts do not need, out of the tokenizer and the embedding together.

A vocabulary holds what the web needed; a task needs a part of it, and in a small model the embedding is most of the
bytes. Speed does not change (a lookup costs the same in a smaller table), save for scores over the vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator

from compress.anatomy.base import structure_of
from compress.core.errors import Fault, InputError, JobError
from compress.prune.base import PRUNERS, Change, Job, Pruner
from compress.prune.coverage import coverage, covered, ids_of
from compress.prune.rows import named_ids, same_outputs, table, with_rows
from compress.prune.tokenizers.base import Cutter
from compress.prune.tokenizers.edit import bare, bound_ids, cut_tokenizer, cutter_of, tokens_by_id

SAMPLES = 32
"""Rows of texts on which the outputs of both models are compared."""
DRAWN = 8
"""Inputs drawn from the kept tokens, on which they are compared too."""
LONGEST = 64
"""Tokens of such a row."""


@PRUNERS.register("vocab")
class Vocab(Pruner):
    """Keep the tokens that the training texts use, and cut the tokenizer with the embedding.

    A text whose tokens all stay is cut as before and predicted as before, bit for bit; `compress/prune/tokenizers`
    proves the first for WordPiece, byte-level BPE and Unigram, and every run compares both. Other texts are spelled
    with more tokens, or hold unknown ones.
    """

    order: ClassVar[int] = 10

    min_count: int = Field(1, ge=0, description="how often the training texts must use a token for it to stay")
    size: int | None = Field(None, ge=8, description="at most that many tokens, the most frequent; null: no limit")
    ratio: float | None = Field(
        None, gt=0, lt=1, description="at least that share of the tokens goes, the rarest first; null: no limit"
    )
    keep: list[str] | str | None = Field(
        None, description="texts whose tokens stay however rare they are: a list, or a file with a text on each line"
    )
    characters: bool = Field(
        True, description="all single characters stay, so that any word can still be spelled (bytes always stay)"
    )

    @model_validator(mode="after")
    def _something_goes(self) -> Vocab:
        if self.size is not None and self.ratio is not None:
            raise ValueError("size and ratio: both say how many tokens stay; give one of them")
        if self.min_count == 0 and self.size is None and self.ratio is None:
            raise ValueError("min_count: 0 keeps every token; set it to 1 or more, or give size or ratio")
        return self

    def files(self) -> list[Path]:
        """The file of texts to keep, whose content decides the result."""
        return [Path(self.keep)] if isinstance(self.keep, str) else []

    def preflight(self) -> list[Fault]:
        """A file of texts that is not there."""
        return [Fault("keep", f"{one}: no such file; give a list of texts, or a file with a text on each line")
                for one in self.files() if not one.is_file()]  # fmt: skip

    def cut(self, job: Job) -> Change:
        """The model and tokenizer of fewer tokens.

        Raises InputError for an unknown family, a tokenizer that cannot be cut, a corpus without texts, tokens that the
        embedding has no row for, when nothing would go or when more must stay than `size` or `ratio` allow; JobError
        when covered text is not cut or predicted as before.
        """
        structure_of(job.model)
        rows_before = len(table(job.model))
        cutter = cutter_of(job.tokenizer)
        known = tokens_by_id(cutter)
        if known[-1][0] >= rows_before:
            raise InputError(
                f"vocab: the tokenizer has a token of id {known[-1][0]} and the model {rows_before} rows; they do not "
                "belong together"
            )
        texts = [row for row in job.texts() if any(row)]
        if not texts:
            raise InputError("vocab: the corpus has no training texts, so no token is seen; give a corpus with texts")
        counts = _count(job.tokenizer, texts)
        bound = bound_ids(cutter, job.tokenizer) | named_ids(job.model, known[-1][0] + 1)
        kept = self._kept(job.tokenizer, cutter, counts, bound, texts)
        if len(kept) >= rows_before:
            raise InputError("vocab: every token stays, so nothing is pruned; raise min_count, or give size or ratio")
        tokenizer, rows = cut_tokenizer(job.tokenizer, cutter, kept, job.model.config)
        smaller = with_rows(job.model, rows)
        told = coverage(job.tokenizer, tokenizer, texts)
        if told["kept_texts"] != told["covered_texts"]:
            raise JobError("vocab: the cut tokenizer cuts covered text into other tokens; it is not kept")
        proven = same_outputs(job.model, smaller, rows, [*_samples(job, tokenizer, texts), *_drawn(tokenizer, rows)])
        return Change(smaller, tokenizer, {
            "tokens": [len(known), len(rows)], "rows": [rows_before, len(rows)],
            "bytes_saved": _bytes(job.model) - _bytes(smaller), "proven_on": proven, "train": told,
        })  # fmt: skip

    def _kept(
        self, tokenizer: Any, cutter: Cutter, counts: Counter[int], bound: set[int], texts: Sequence[Sequence[str]]
    ) -> set[str]:
        """The tokens that stay, by content."""
        known = tokens_by_id(cutter)
        name = dict(known)
        always = cutter.bound() | {name[number] for number in bound if number in name}
        always |= cutter.characters() if self.characters else set()
        for number in _count(tokenizer, [(text,) for text in self._texts()]):
            always |= cutter.with_parts(name[number])
        always |= _behind_unknown(tokenizer, cutter, texts, counts)
        limit = self._limit(len(known))
        if len(always) > limit:
            name_of, nearest = ("size", len(always)) if self.size else ("ratio", _down(1 - len(always) / len(known)))
            raise InputError(
                f"{name_of}: {limit} of {len(known)} tokens may stay, and {len(always)} must (special tokens, "
                f"characters or bytes, keep); nearest is {name_of} {nearest}"
            )
        frequent = sorted((-counts[number], number) for number, _ in known if counts[number] >= self.min_count)
        for _, number in frequent:
            more = cutter.with_parts(name[number]) - always
            if len(always) + len(more) <= limit:
                always |= more
        return always

    def _limit(self, known: int) -> int:
        if self.ratio is not None:
            return known - round(self.ratio * known)
        return known if self.size is None else self.size

    def _texts(self) -> list[str]:
        """The texts of `keep`. Raises InputError for a file that cannot be read."""
        if not isinstance(self.keep, str):
            return self.keep or []
        try:
            return Path(self.keep).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"keep: {self.keep} cannot be read as text ({error}); give a list, or a UTF-8 file"
            ) from error


def _count(tokenizer: Any, rows: Iterable[Sequence[str]]) -> Counter[int]:
    """How often each token is used."""
    counts: Counter[int] = Counter()
    for row in ids_of(tokenizer, rows):
        for text in row:
            counts.update(text)
    return counts


def _behind_unknown(tokenizer: Any, cutter: Cutter, texts: Sequence[Sequence[str]], counts: Counter[int]) -> set[str]:
    """What keeps unknown words unknown; looked for only where there are some."""
    unknown, found = tokenizer.unk_token_id, set[str]()
    if unknown is None or not counts[unknown]:
        return found
    plain = bare(tokenizer)
    for row, ids in zip(texts, ids_of(tokenizer, texts), strict=True):
        for text, numbers in zip(row, ids, strict=True):
            if unknown in numbers:
                found |= cutter.behind_unknown(text, plain)
    return found


def _samples(job: Job, tokenizer: Any, texts: Sequence[Sequence[str]]) -> Iterator[tuple[Any, Any]]:
    """Inputs of covered texts from all over the corpus, as the old and the new tokenizer give them."""
    spread = [texts[place] for place in range(0, len(texts), max(1, len(texts) // (4 * SAMPLES)))][: 4 * SAMPLES]
    chosen = [row for row, same in zip(spread, covered(job.tokenizer, tokenizer, spread), strict=True) if same]
    names = job.tokenizer.model_input_names
    for row in chosen[:SAMPLES]:
        given = [
            {name: torch.tensor([value]) for name, value in one(*row[:2], truncation=True, max_length=LONGEST).items()
             if name in names}
            for one in (job.tokenizer, tokenizer)
        ]  # fmt: skip
        yield given[0], given[1]


def _drawn(tokenizer: Any, rows: Sequence[int]) -> Iterator[tuple[Any, Any]]:
    """Inputs of kept tokens in any order, so that rare ones are looked at too, and texts that none covers."""
    draw, ends = torch.Generator().manual_seed(0), list(tokenizer("")["input_ids"])
    first = len(ends) // 2
    for _ in range(DRAWN):
        inner = torch.randint(len(rows), (LONGEST // 4,), generator=draw).tolist()
        new = torch.tensor([[*ends[:first], *inner, *ends[first:]]])
        mask = torch.ones_like(new)
        yield {"input_ids": torch.tensor(rows)[new], "attention_mask": mask}, {"input_ids": new, "attention_mask": mask}


def _bytes(model: Any) -> int:
    return sum(value.numel() * value.element_size() for value in model.parameters())


def _down(value: float) -> float:
    """Three digits, rounded down, so that what is named can be met."""
    return int(value * 1000) / 1000
