"""A cross-encoder as the teacher of embeddings: it reads both texts of a pair together and gives them one score.

The student embeds each text by itself, and a pair's score is the product of both embeddings (`Embed.score_of`). Losses
on rankings compare the two scores inside each query's candidates (Hofstätter et al. 2020, arXiv 2010.02666).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from transformers import AutoConfig

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError
from compress.core.pairs import halves
from compress.core.reporter import Reporter
from compress.core.trace import Trace
from compress.distill.align import AlignedTeacher, Interpreter
from compress.distill.teacher import Teacher
from compress.losses.base import Loss
from compress.tasks.base import Task
from compress.tasks.embed import Embed
from compress.train.folder import explained, quiet


def crossed_task(task: Task, losses: Sequence[Loss], source: str) -> Embed | None:
    """The task, when its teachers are cross-encoders: embeddings are trained by a loss on the candidates of a query.

    Without a loss that asks a teacher, when the one that is named, of `source`, has a head for pairs of candidates: the
    same student trained without it. Raises InputError for a loss beside such a one that reads what a cross-encoder does
    not have, and for a teacher without a head.
    """
    if not isinstance(task, Embed) or not task.grouped:
        return None
    if not any(loss.needs_teacher for loss in losses):
        return task if _scores_pairs(source) else None
    ranking = [loss.registered_name for loss in losses if "groups" in loss.needs]
    for loss in losses:
        if ranking and loss.needs_teacher and "groups" not in loss.needs:
            raise InputError(
                f"{loss.registered_name}: compares texts by themselves, and {ranking[0]} makes the teacher a "
                f"cross-encoder, which reads both texts of a pair together; use losses on rankings and on labels "
                f"beside it, or distil from a teacher of embeddings in a step of its own"
            )
    if ranking and not _scores_pairs(source):
        raise InputError(
            f"{source}: gives no scores of pairs, and {ranking[0]} under the task embed learns those of a "
            f"cross-encoder; take a teacher of the same rows under `regress` (a `teach` step, or a model with one "
            f"output), or embedding_mse for a teacher of embeddings"
        )
    return task if ranking else None


def _scores_pairs(source: str) -> bool:
    """Whether the model has a head over a text or a pair, by its own word."""
    with quiet(), explained(source):
        named = AutoConfig.from_pretrained(source).architectures or [""]
    return str(named[0]).endswith("ForSequenceClassification")


def all_pairs(rows: Sequence[Mapping[str, Any]], choice: str, reporter: Reporter) -> bool:
    """Whether all unlabelled rows are pairs, which a cross-encoder scores; `auto` leaves them out when some are not.

    Raises InputError for `use` then.
    """
    alone = sum(row.get("text_pair") is None for row in rows)
    if alone and choice == "use":
        raise InputError(
            f"unlabeled: use, and {alone} of {len(rows)} unlabelled rows have one text, which a cross-encoder cannot "
            f"score; give them a second text, or take them out"
        )
    if alone:
        reporter.warn(
            f"{alone} of {len(rows)} unlabelled rows have one text, which a cross-encoder cannot score; none is used"
        )
    return not alone


class CrossedTeacher(AlignedTeacher):
    """Runs a cross-encoder on the pairs of a batch, and makes scores of the student's embeddings."""

    def __init__(self, inner: Teacher, task: Embed, prefix: str) -> None:
        super().__init__(inner, prefix=prefix)
        self._task = task

    def want(self, wanted: Wanted) -> None:
        """Raises InputError for what is of one text: `crossed_task` refuses such losses before."""
        if replace(wanted, logits=True) != Wanted():
            raise InputError("a cross-encoder reads two texts together and has no states of one; compare scores only")
        self.inner.want(wanted)

    def align(self, student: Trace, batch: Mapping[str, Tensor]) -> Trace:
        """The student's embeddings `[2 n, d]` as scores of pairs `[n, 1]`, in the groups that the teacher's have."""
        if student.logits is None or student.labels is None:
            return student
        first, second, _ = halves(student.logits, student.labels)
        scores = self._task.score_of(first, second)
        counted = batch[f"{self.prefix}outputs"]
        return replace(
            student, logits=scores, outputs=counted, labels=None, groups=batch[f"{self.prefix}groups"],
            mask=batch[f"{self.prefix}attention_mask"].bool(), embedding=None, hidden=None,
        )  # fmt: skip


class PairReader(Interpreter):
    """The rows of `embed` as a cross-encoder reads them, beside the student's two texts; tokenizers may differ."""

    def __init__(self, task: Embed, student_tokenizer: Any, teacher_tokenizer: Any, max_length: int) -> None:
        super().__init__(task.as_pairs(), student_tokenizer, teacher_tokenizer, max_length)
        self.student_task = self._embed = task

    def teacher(self, inner: Teacher) -> CrossedTeacher:
        """A cross-encoder that reads the batches of `pairing`."""
        return CrossedTeacher(inner, self._embed, self.prefix)

    def compares_tokens(self, wanted: Wanted) -> bool:
        """No: scores of pairs are all that both have."""
        return False
