"""Words as they stand in a text: what may be replaced, without the punctuation that clings to it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORM = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
_BRACKETED = re.compile(r"\[.*\]|<.*>", re.DOTALL)

_ENGLISH = """
a about above after again against ain't all am an and any are aren't as at be because been before being below between
both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for from
further had hadn't has hasn't have haven't having he her here hers herself him himself his how i if in into is isn't
it its itself just may me might more most must my myself n't 's 're 've 'll 'd 'm no nor not now of off on once only
or other ought our ours ourselves out over own same shall she should shouldn't so some such than that the their theirs
them themselves then there these they this those through to too under until up upon us very was wasn't we were weren't
what when where which while who whom whose why will with won't would wouldn't you your yours yourself yourselves s t
re ve ll d m nt lrb rrb
"""
FUNCTION_WORDS = frozenset(_ENGLISH.split())


class Replaceable:
    """Tells the words that may be replaced from those that are kept.

    Kept are the given words (None: English function words), numbers and whatever holds a digit, what has no letter,
    and what stands in brackets, as special tokens do.
    """

    def __init__(self, kept: Iterable[str] | None) -> None:
        self.kept = FUNCTION_WORDS if kept is None else frozenset(word.casefold() for word in kept)
        self._cores: dict[str, str] = {}

    def core(self, word: str) -> str:
        """The word without punctuation around it; empty when it is kept."""
        if word not in self._cores:
            self._cores[word] = self._core(word)
        return self._cores[word]

    def _core(self, word: str) -> str:
        core = parts(word)[1]
        plain = core.isalpha() or core.replace("-", "").replace("'", "").isalpha()
        kept = core.casefold() in self.kept or word.casefold() in self.kept or _BRACKETED.fullmatch(word)
        return core if plain and not kept else ""


def parts(word: str) -> tuple[str, str, str]:
    """What stands before, the word itself, what stands after: `("` `well-made` `.")` of `("well-made.")`."""
    found = _FORM.fullmatch(word)
    assert found is not None
    before, core, after = found.groups()
    return before, core, after


def dressed(word: str, new: str) -> str:
    """`new` in the place of a word: its punctuation around it, and a capital letter where the word had one."""
    before, core, after = parts(word)
    if new.islower() and core[:1].isupper():
        new = new.upper() if len(core) > 1 and core.isupper() else new[:1].upper() + new[1:]
    return f"{before}{new}{after}"
