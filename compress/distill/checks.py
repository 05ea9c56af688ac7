"""Looks at a teacher before a student is paid for: labels, head, vocabulary, quality."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.losses.base import Loss
from compress.tasks.base import Task
from compress.tasks.features import Feature

_UNNAMED = re.compile(r"^LABEL_\d+$")
_OUTPUTS = {  # what a task's outputs are, and the loss on labels and on a teacher that is for them
    "classes": ("classes", "hard_ce", "logits_kl"),
    "labels": ("labels with a yes or no each", "hard_bce", "logits_bce or logits_mse"),
    "value": ("one output, a value", "hard_mse", "logits_mse"),
    "span": ("places in a text", "hard_ce", "logits_kl"),
    "vector": ("embeddings", "hard_cosine or hard_contrastive", "embedding_mse or embedding_cosine"),
    "vocabulary": ("tokens of a vocabulary", "hard_ce", "logits_kl"),
}
_PAIRS = {
    "": "no pairs of texts to embed (the task embed with `text_pair`)",
    "scores": "pairs with a score (the task embed with `text_pair` and `target`; loss: hard_cosine)",
    "positives": "pairs that belong together (the task embed with `text_pair`; loss: hard_contrastive)",
}


def check_labels(teacher: Sequence[str], corpus: Sequence[str], source: str, reporter: Reporter) -> None:
    """Refuse a teacher whose outputs mean other labels, or the same in another order (MNLI checkpoints do that).

    A teacher whose labels have no names (LABEL_0, ...) is taken in the corpus's order, with a warning.
    """
    if not corpus or list(teacher) == list(corpus):
        return
    if all(_UNNAMED.match(name) for name in teacher):
        reporter.warn(f"{source}: its labels have no names; its outputs are read in the corpus's order {list(corpus)}")
        return
    if sorted(teacher) == sorted(corpus):
        raise InputError(
            f"{source}: the teacher's labels stand in the order {list(teacher)} and the corpus's in {list(corpus)}; "
            f"give the corpus's `prepare` step `labels: {list(teacher)}`"
        )
    raise InputError(
        f"{source}: the teacher's labels are {list(teacher)} and the corpus's {list(corpus)}; they must be the same. "
        f"Name them with `labels:` in `prepare`, or use a teacher of this task"
    )


def check_head(missing: Sequence[str], losses: Sequence[Loss], source: str, weighed: bool = False) -> bool:
    """Whether the teacher has a trained head. Raises InputError when it has none and a loss reads its outputs.

    weighed: whether its outputs also decide how much it counts among other teachers.
    """
    trained = not any("pooler." not in name for name in missing)
    if not trained and (weighed or any(loss.needs_teacher and "logits" in loss.needs for loss in losses)):
        raise InputError(
            f"{source}: has no trained head for this task ({', '.join(missing[:3])} would be random), and a loss reads "
            f"its outputs; fine-tune it with a `teach` step first, or use losses on hidden states and attention only"
        )
    return trained


def check_quality(score: float, chance: float, metric: str, source: str) -> None:
    """Refuse a teacher that is no better than a constant answer: distilling it would exit 0 with a useless student."""
    if score <= chance:
        raise InputError(
            f"{source}: the teacher's dev {metric} is {score:.4f} and a constant answer gets {chance:.4f}; there is "
            f"nothing to distil. Train it longer (`teach`), or check its labels"
        )


def check_outputs(losses: Sequence[Loss], output: str) -> None:
    """Raises InputError, with the loss to use, for one that takes the outputs for what they are not.

    A softmax over labels that are questions of their own, a yes or no of each place of a text (whose mean would count
    padding), a class where there is a score.
    """
    for loss in losses:
        if loss.outputs and output in _OUTPUTS and output not in loss.outputs:
            what, by_labels, by_teacher = _OUTPUTS[output]
            raise InputError(
                f"{loss.registered_name}: is for {_listed(loss.outputs)}, and this task has {what}; "
                f"use {by_teacher if loss.needs_teacher else by_labels}"
            )


def _listed(outputs: frozenset[str]) -> str:
    return ", ".join(_OUTPUTS[name][0] for name in _OUTPUTS if name in outputs)


def check_rows(losses: Sequence[Loss], task: Task) -> None:
    """Raises InputError for a loss on groups or on pairs of embeddings when the task's rows are none, or are others."""
    for loss in losses:
        name = loss.registered_name
        if "groups" in loss.needs and not task.grouped:
            kind = "embed" if task.output == "vector" else "regress"
            raise InputError(
                f"{name}: compares the candidates of a query, and the corpus's task does not say which rows are "
                f"those; name the column in `prepare`: `task: {{{kind}: {{text: query, text_pair: passage, "
                f"group: query_id}}}}`"
            )
        if loss.of_pairs and loss.of_pairs != task.pairs:
            has = "candidates of queries that nobody judged" if task.grouped and not task.pairs else _PAIRS[task.pairs]
            raise InputError(f"{name}: learns from {_PAIRS[loss.of_pairs]}, and this corpus has {has}")


def reads_unlabelled(choice: str, losses: Sequence[Loss], present: bool, labelled: bool) -> bool:
    """Whether unlabelled rows are trained on: `choice` is auto, use or ignore, `present` that the corpus has some.

    auto takes them when every loss can do without labels, or leaves unlabelled rows out, and one reads the teacher.
    A task without labels (`labelled` false) can always use them. Raises InputError for a `use` that cannot be.
    """
    if choice == "ignore" or (choice == "auto" and not present):
        return False
    if not present:
        raise InputError("unlabeled: use, and the corpus has no unlabeled split; give one, or leave this option out")
    if not labelled:
        return True
    needing = [loss.registered_name for loss in losses if loss.needs_labels and not loss.skips_unlabelled]
    learns = any(loss.needs_teacher or not loss.needs_labels for loss in losses)
    if choice == "use" and needing:
        raise InputError(f"unlabeled: use, and {', '.join(needing)} needs a label for every row; take that loss out")
    if choice == "use" and not learns:
        names = ", ".join(loss.registered_name for loss in losses)
        raise InputError(f"unlabeled: use, and {names} learns from labels only; add a loss that reads the teacher")
    return learns and not needing


def check_vocabulary(start: Any, tokenizer: Any, source: str) -> None:
    """Refuse a start whose tokenizer is not the student's: its embedding rows would mean other tokens."""
    mine, theirs = start.get_vocab(), tokenizer.get_vocab()
    if mine != theirs:
        unequal = sum(mine.get(token) != number for token, number in theirs.items())
        raise InputError(
            f"{source}: its vocabulary ({len(mine)} tokens) is not that of `tokenizer` ({len(theirs)} tokens; "
            f"{unequal} of them differ); leave `tokenizer` out, and the student keeps the start's"
        )


def check_one_tokenizer(
    first: Any, other: Any, rows: tuple[Sequence[Feature], Sequence[Feature]], sources: tuple[str, str]
) -> None:
    """Refuse two teachers that read a text differently: each row is encoded once, for all of them.

    rows: some rows of the corpus as the first encodes them, and as the other does. Raises InputError for another
    vocabulary, another splitting of a text, and second texts that only the other tells from first ones.
    """
    way_out = (
        "several teachers in one step need one tokenizer; distil from one after the other (two `distill` steps, the "
        "second with `start:`)"
    )
    mine, theirs = first.get_vocab(), other.get_vocab()
    if mine != theirs:
        raise InputError(
            f"{sources[1]}: its vocabulary ({len(theirs)} tokens) is not that of {sources[0]} ({len(mine)} tokens): "
            f"{way_out}"
        )
    for one, two in zip(*rows, strict=True):
        if list(one["input_ids"]) != list(two["input_ids"]):
            raise InputError(f"{sources[1]}: splits texts into other tokens than {sources[0]}: {way_out}")
        if "token_type_ids" not in one and any(two.get("token_type_ids", ())):
            raise InputError(
                f"{sources[1]}: reads which text of a pair a token is from, and {sources[0]} does not; name "
                f"{sources[1]} first in `teachers`, since the first one's tokenizer is used"
            )
