"""SQuAD's measures of an answer (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def plain_words(text: str) -> list[str]:
    """The words of an answer as they are compared: lower case, without ASCII punctuation and English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def compare(said: str, true: str) -> tuple[float, float]:
    """(exact match, F1 over words) of one answer against one right answer."""
    mine, theirs = plain_words(said), plain_words(true)
    shared = sum((Counter(mine) & Counter(theirs)).values())
    return float(mine == theirs), 2 * shared / (len(mine) + len(theirs)) if shared else 0.0


def judged(said: str, answers: Sequence[str]) -> tuple[float, float]:
    """(exact match, F1), each the best over the right answers."""
    found = [compare(said, true) for true in answers]
    return max(exact for exact, _ in found), max(f1 for _, f1 in found)
