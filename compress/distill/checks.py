"""Looks at a teacher before a student is paid for: labels, head, vocabulary, quality."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.losses.base import Loss

_UNNAMED = re.compile(r"^LABEL_\d+$")


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


def check_head(missing: Sequence[str], losses: Sequence[Loss], source: str) -> bool:
    """Whether the teacher has a trained head. Raises InputError when it has none and a loss reads its outputs."""
    trained = not any("pooler." not in name for name in missing)
    if not trained and any(loss.needs_teacher and "logits" in loss.needs for loss in losses):
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
    learns = any(not loss.needs_labels for loss in losses)
    if choice == "use" and needing:
        raise InputError(f"unlabeled: use, and {', '.join(needing)} needs a label for every row; take that loss out")
    if choice == "use" and not learns:
        names = ", ".join(loss.registered_name for loss in losses)
        raise InputError(f"unlabeled: use, and {names} learns from labels only; add a loss that reads the teacher")
    return learns and not needing


def check_vocabulary(start: Any, teacher: Any, source: str) -> None:
    """Refuse a start whose tokenizer is not the teacher's: its embedding rows would mean other tokens."""
    mine, theirs = start.get_vocab(), teacher.get_vocab()
    if mine != theirs:
        unequal = sum(mine.get(token) != number for token, number in theirs.items())
        raise InputError(
            f"{source}: its vocabulary ({len(mine)} tokens) is not the teacher's ({len(theirs)} tokens; {unequal} of "
            f"them differ); start from a student that was built with this teacher's tokenizer"
        )
