"""A teacher with another tokenizer than its student's.

The teacher reads its own tokens of the same rows. Outputs of whole texts are compared as they are; outputs of words at
the words that both saw; states, queries, keys and values as means over common spans. For attention that mean is exact:
the mean of q k^T over the token pairs of two spans is the product of the spans' mean query and mean key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.core.trace import Trace
from compress.distill.pooling import averaging, on_spans
from compress.distill.readings import Reading, read_rows
from compress.distill.spans import REFUSE_BELOW, WARN_BELOW, coverage_of, shared_spans
from compress.distill.spelling import pieces_of
from compress.distill.teacher import Teacher
from compress.tasks.base import Task
from compress.tasks.batch import IGNORED, pad, padded
from compress.tasks.features import Feature, collator, encode_rows, with_unlabelled
from compress.train.batches import Batch, Collate

OWN = "own_"
_ROW = "row"
SAMPLE = 256


class AlignedTeacher(Teacher):
    """Runs another teacher on its own tokens of a batch, and puts both traces on the spans that they share.

    The batch comes from an `Interpreter` of the same `prefix`. over_tokens: the task's logits are scores of tokens
    (`[b, 2, s]` of `answer`), so that they move to spans too.
    """

    def __init__(
        self, inner: Teacher, *, prefix: str = OWN, over_tokens: bool = False, over_vocabulary: bool = False
    ) -> None:
        self.inner = inner
        self.prefix = prefix
        self.depth, self.width = inner.depth, inner.width
        self._over_tokens, self._over_vocabulary = over_tokens, over_vocabulary

    def want(self, wanted: Wanted) -> None:
        """Raises InputError for logits over a vocabulary, which mean other tokens on both sides."""
        if wanted.logits and self._over_vocabulary:
            raise InputError(
                "the teacher and the student have different vocabularies, so their logits over them cannot be "
                "compared; in the task mask use losses on hidden states and attention (by common spans), or hard_ce"
            )
        self.inner.want(wanted)

    def trace(self, batch: Mapping[str, Tensor]) -> Trace:
        """What the teacher says of its own tokens, on the common spans."""
        own = {name.removeprefix(self.prefix): held for name, held in batch.items() if name.startswith(self.prefix)}
        return self._moved(self.inner.trace(own), batch, "theirs")

    def align(self, student: Trace, batch: Mapping[str, Tensor]) -> Trace:
        """The student's trace on the common spans."""
        return self._moved(student, batch, "mine")

    def close(self) -> None:
        """Let the teacher go."""
        self.inner.close()

    def _moved(self, trace: Trace, batch: Mapping[str, Tensor], side: str) -> Trace:
        words = batch.get(f"{self.prefix}words_{side}")
        if words is not None:
            trace = replace(trace, outputs=words)
        spans = batch.get(f"{self.prefix}spans_{side}")
        if spans is None:
            return trace
        mask = batch[f"{self.prefix}spans"]
        if self._over_tokens and trace.labels is not None:
            named = spans.gather(1, trace.labels.clamp(min=0))
            trace = replace(trace, labels=named.masked_fill((trace.labels < 0) | (named < 0), IGNORED))
        return on_spans(trace, averaging(spans, mask.shape[1]), mask, over_tokens=self._over_tokens)


class Interpreter:
    """The rows of one task as the teacher reads them, and what joins them to the student's tokens.

    task: as which the teacher reads them. student_task: as which the student does, the same but for cross-encoders.
    max_length: the teacher's longest input. prefix: begins the names of the tensors that a batch carries for it, so
    that several teachers can stand beside each other.
    """

    def __init__(
        self, task: Task, student_tokenizer: Any, teacher_tokenizer: Any, max_length: int, prefix: str = OWN
    ) -> None:
        self.task = self.student_task = task
        self.mine, self.theirs = student_tokenizer, teacher_tokenizer
        self.max_length = max_length
        self.prefix = prefix
        self.over_tokens = task.output == "span"
        self.over_vocabulary = task.output == "vocabulary"
        self.by_word = task.token_level and not (self.over_tokens or self.over_vocabulary)
        self._heard = _heard(student_tokenizer, teacher_tokenizer) if self.over_vocabulary else None

    def teacher(self, inner: Teacher) -> AlignedTeacher:
        """A teacher that reads the batches of `pairing`."""
        return AlignedTeacher(
            inner, prefix=self.prefix, over_tokens=self.over_tokens, over_vocabulary=self.over_vocabulary
        )

    def features(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Feature]:
        """The rows as the teacher alone reads them."""
        return encode_rows(self.task, self.theirs, rows, self.max_length)

    def collate(self, features: list[Feature], generator: torch.Generator) -> Batch:
        """A batch of `features`. What a task draws is drawn for the student only."""
        if self.over_vocabulary:
            return pad(features, self.theirs.pad_token_id)
        return collator(self.task, self.theirs.pad_token_id)(features, generator)

    def compares_tokens(self, wanted: Wanted) -> bool:
        """Whether losses that read `wanted` compare anything smaller than a text (windows of one, say)."""
        whole_texts = replace(wanted, logits=False, embedding=False) == Wanted(logits=False)
        return self.over_tokens or not whole_texts or (wanted.logits and self.task.token_level)

    def paired(self, rows: Sequence[Mapping[str, Any]], max_length: int, wanted: Wanted) -> list[Feature]:
        """The student's features, each with the teacher's and, when tokens are compared, the spans of both.

        Of a row that is read in windows each of the student's gets the teacher's that shares most of it.
        """
        if not self.compares_tokens(wanted):
            mine = encode_rows(self.student_task, self.mine, rows, max_length)
            return [{**one, self.prefix: {_ROW: two}} for one, two in zip(mine, self.features(rows), strict=True)]
        joined = []
        for ours, told in zip(
            read_rows(self.task, self.mine, rows, max_length),
            read_rows(self.task, self.theirs, rows, self.max_length),
            strict=True,
        ):
            for feature, readings in ours:
                row, others = max(told, key=lambda one: _overlap(readings[0], one[1][0]))
                spans = [shared_spans(one, two) for one, two in zip(readings, others, strict=True)]
                joins: dict[str, Any] = {
                    "spans_mine": [one.mine for one in spans],
                    "spans_theirs": [one.theirs for one in spans],
                }
                if self.by_word:
                    joins |= {"words_mine": readings[0].words, "words_theirs": others[0].words}
                joined.append({**feature, self.prefix: {_ROW: row, **joins}})
        return joined

    def labelled(self, features: Sequence[Feature]) -> list[Feature]:
        """The same features; a teacher's row without a label, behind rows with one, gets one that no loss counts."""
        told = [feature[self.prefix][_ROW] for feature in features]
        known = [row for row in told if "labels" in row]
        filled = with_unlabelled(self.task, known, told[len(known) :]) if known else told
        return [
            {**feature, self.prefix: {**feature[self.prefix], _ROW: row}}
            for feature, row in zip(features, filled, strict=True)
        ]

    def pairing(self, collate: Collate) -> Collate:
        """The student's batches with the teacher's tensors under `prefix`, and the spans that join them."""

        def carry(features: list[Feature], generator: torch.Generator) -> Batch:
            batch = collate(features, generator)
            told = [feature[self.prefix] for feature in features]
            own = self.collate([feature[_ROW] for feature in told], torch.Generator())
            if "spans_mine" in told[0]:
                own |= self._joins(features, told, batch, own)
            return {**batch, **{f"{self.prefix}{name}": held for name, held in own.items()}}

        return carry

    def check(self, rows: Sequence[Mapping[str, Any]], max_length: int, reporter: Reporter) -> dict[str, Any]:
        """How well both tokenizers fit each other on rows spread over a corpus, for the manifest.

        Warns when under 90 % of the characters that the student reads lie in common spans of known tokens. Raises
        InputError under 10 %: one side then knows next to nothing of this text.
        """
        sample = list(rows)[:: max(1, len(rows) // SAMPLE)][:SAMPLE]
        both = zip(
            read_rows(self.task, self.mine, sample, max_length),
            read_rows(self.task, self.theirs, sample, self.max_length),
            strict=True,
        )
        # Of a row in windows the first ones: they begin at the same character. Of a pair of texts, both.
        found = coverage_of(pair for ours, told in both for pair in zip(ours[0][1], told[0][1], strict=True))
        says = (
            f"{found.characters:.1%} of the characters that the student reads are known to both tokenizers "
            f"(sample of {found.rows} rows; student {max_length} tokens long, teacher {self.max_length})"
        )
        if found.characters < REFUSE_BELOW:
            raise InputError(f"{says}; one of the two was made for other text. Choose another `tokenizer`")
        if found.characters < WARN_BELOW:
            reporter.warn(f"{says}; what the other tokens mean is not distilled")
        return asdict(found)

    def _joins(self, features: Sequence[Feature], told: Sequence[Feature], batch: Batch, own: Batch) -> Batch:
        """`spans_mine` `[b, s]`, `spans_theirs` `[b, t]` (-1: none), `spans` `[b, p]` bool, and for words outputs."""
        one, two = ([spans for row in told for spans in row[f"spans_{side}"]] for side in ("mine", "theirs"))
        if not len(batch["input_ids"]) == len(own["input_ids"]) == len(one):
            raise InputError(
                f"a row of the task {self.task.registered_name} gives a batch {len(batch['input_ids'])} rows of which "
                f"{len(one)} were read, so states of two tokenizers cannot be aligned; use losses on embeddings"
            )
        width, their_width = batch["input_ids"].shape[1], own["input_ids"].shape[1]
        mine, theirs = padded(one, width, -1), padded(two, their_width, -1)
        counts = mine.max(-1).values + 1
        spans = torch.arange(max(1, int(counts.max())))[None] < counts[:, None]
        joins = {"spans_mine": mine, "spans_theirs": theirs, "spans": spans}
        if self._heard is not None:
            changed = _changed(features, batch)
            joins["input_ids"] = _repeated(changed, batch["input_ids"], own["input_ids"], joins, self._heard)
        elif self.by_word:
            here = padded([row["words_mine"] for row in told], width, -1).masked_fill(~batch["outputs"], -1)
            there = padded([row["words_theirs"] for row in told], their_width, -2).masked_fill(~own["outputs"], -2)
            # Truncation cuts at different words, and a word of characters that a tokenizer drops has no token there.
            same = here[:, :, None] == there[:, None, :]
            joins |= {"words_mine": same.any(2), "words_theirs": same.any(1)}
        return joins


def _overlap(one: Reading, two: Reading) -> int:
    (begin, end), (first, last) = one.reach(), two.reach()
    return min(end, last) - max(begin, first)


def _heard(mine: Any, theirs: Any) -> Tensor:
    """For each token of the student `[v]` the one of the teacher that stands for it when a collator puts it in."""
    unknown = theirs.unk_token_id if theirs.unk_token_id is not None else theirs.mask_token_id
    pieces = pieces_of(mine, theirs)
    heard = torch.full((max(mine.get_vocab().values()) + 1,), unknown or 0)
    for number, found in pieces.items():
        if found:
            heard[number] = found[0]
    return heard


def _changed(features: Sequence[Feature], batch: Batch) -> Tensor:
    """Bool `[b, s]`: the student's tokens that the collator changed."""
    ids = batch["input_ids"]
    before = padded([row["input_ids"] for row in features], ids.shape[1], 0)
    return (ids != before) & (batch["attention_mask"] == 1)


def _repeated(changed: Tensor, mine: Tensor, theirs: Tensor, joins: Mapping[str, Tensor], heard: Tensor) -> Tensor:
    """The teacher's ids `[b, t]`, changed in every span in which the collator changed the student's `[b, s]`.

    A span with a hidden token is hidden whole from the teacher, so that it cannot see what the student has to guess.
    """
    one, two, count = joins["spans_mine"], joins["spans_theirs"], joins["spans"].shape[1]
    said = torch.where(changed, heard[mine.clamp(max=len(heard) - 1)], -1)
    # One more span takes what lies in none. Of several changes in one span the largest id counts, whatever the order.
    by_span = torch.full((len(mine), count + 1), -1)
    by_span = by_span.scatter_reduce(1, one.masked_fill(one < 0, count), said, "amax")
    new = by_span.gather(1, two.clamp(min=0))
    return torch.where((two >= 0) & (new >= 0), new, theirs)
