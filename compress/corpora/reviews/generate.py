"""Sentences from templates and words, the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from compress.corpora.reviews import lexicon
from compress.corpora.reviews.lexicon import Words
from compress.corpora.reviews.templates import ASIDES, CLAUSES, SLICES, Template

LABELS = ("negative", "positive")
HELD_WORD, HELD_TEMPLATE = 0.2, 0.2  # most often that a slot takes one
HELD_BOOST = 2.5  # a held-out word comes so many times as often as another
OPENED = 0.2
BARE = 0.95  # share of embedded clauses that turn nothing themselves
WEIGHTS = {
    "plain": 8, "negation": 4, "contrast": 4, "intensity": 3, "distractor": 2,
    "conditional": 1, "reported speech": 1, "comparison": 1, "double negation": 1,
}  # fmt: skip
_SLOT = re.compile(r"\{(\w)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])(?!use)")


class Reviewer:
    """Writes the sentences of one split; at most one held-out word or template in each.

    held: whether the last sentence had one.
    """

    def __init__(self, split: str, rng: random.Random) -> None:
        self.split = split
        self.rng = rng
        self.held = False
        self.domain = ""
        self.product = ""

    def sentence(self, phenomenon: str, verdict: int) -> str:
        """A sentence of one slice whose label is `verdict` (1 or -1)."""
        self.held = False
        self.domain = self.rng.choice(list(lexicon.PRODUCTS))
        self.product = self._word(lexicon.PRODUCTS[self.domain])
        text = self._expand(self._template(SLICES[phenomenon], verdict), verdict)
        if self.rng.random() < OPENED:
            place = f"in {self._word(lexicon.CITIES)}" if self.rng.random() < 0.3 else self._word(lexicon.OPENERS)
            text = f"{place}, {text}"
        text = _ARTICLE.sub(r"\1n ", text)
        return text[0].upper() + text[1:] + self.rng.choice("...!")

    def _template(self, templates: Sequence[Template], verdict: int) -> Template:
        fitting = [t for t in templates if t.only in (0, verdict)]
        held = [t for t in fitting if t.split == self.split]
        if held and not self.held and self.rng.random() < HELD_TEMPLATE:
            self.held = True
            return self.rng.choice(held)
        return self.rng.choice([t for t in fitting if not t.split])

    def _word(self, words: Words) -> str:
        held = words.held.get(self.split, ())
        share = len(held) / (len(held) + len(words.shared))
        if held and not self.held and self.rng.random() < min(HELD_WORD, HELD_BOOST * share):
            self.held = True
            return self.rng.choice(held)
        return self.rng.choice(words.shared)

    def _expand(self, template: Template, verdict: int) -> str:
        polarity = verdict * (template.sign or 1)
        return _SLOT.sub(lambda match: self._slot(match[1], polarity), template.text)

    def _slot(self, slot: str, polarity: int) -> str:
        if slot.lower() in lexicon.POLAR:
            wanted = polarity if slot.islower() else -polarity
            return self._word(lexicon.POLAR[slot.lower()][wanted > 0])
        match slot:
            case "r":
                return self._word(lexicon.POLAR["a"][self.rng.random() < 0.5])
            case "C" | "D":
                verdict = polarity if slot == "C" else -polarity
                pool = SLICES["plain"] if self.rng.random() < BARE else CLAUSES
                return self._expand(self._template(pool, verdict), verdict)
            case "X":
                either = self.rng.choice((-1, 1))
                return self._expand(self._template(ASIDES, either), either)
            case "N":
                return self._subject()
            case _:
                return self._word(self._list(slot)) if slot != "p" else self.product

    def _list(self, slot: str) -> Words:
        return {
            "n": lexicon.ASPECTS[self.domain],
            "d": lexicon.DEGREES,
            "k": lexicon.COPULAS,
            "o": lexicon.OTHERS,
            "x": lexicon.ELSEWHERE,
        }[slot]

    def _subject(self) -> str:
        noun = self._word(lexicon.ASPECTS[self.domain])
        chance = self.rng.random()
        if chance < 0.1:
            return f"this {self.product}"
        if chance < 0.2:
            return f"the {noun} of this {self.product}"
        return f"its {noun}" if chance < 0.3 else f"the {noun}"


def reviews(split: str, count: int, seed: int, seen: set[str], held_only: bool = False) -> dict[str, list[str]]:
    """`count` rows (`text`, `label`, `slice`), each slice balanced over the labels, none in `seen` (which grows).

    held_only: for every sentence one held-out word or template is drawn, never more. In about a
    quarter of them it does not show: a product or noun that the sentence then does not name.
    """
    rng = random.Random(f"reviews {seed} {split}")
    writer = Reviewer(split, rng)
    cells = [(phenomenon, verdict) for phenomenon, weight in WEIGHTS.items() for verdict in (-1, 1) * weight]
    rows: list[tuple[str, str, str]] = []
    while len(rows) < count:
        phenomenon, verdict = cells[len(rows) % len(cells)]
        text = writer.sentence(phenomenon, verdict)
        if text.casefold() in seen or (held_only and not writer.held):
            continue
        seen.add(text.casefold())
        rows.append((text, LABELS[verdict > 0], phenomenon))
    rng.shuffle(rows)
    return {name: [row[i] for row in rows] for i, name in enumerate(("text", "label", "slice"))}
