"""The sentences of the generated reviews: how each phenomenon turns the polarity of its words into a verdict.

A line is `SIGN [SPLIT] | text`. SIGN `+`: the verdict is the polarity of the words; `-`: it is the opposite; `+p`,
`-n`: likewise, for positive (negative) words only; `P` or `N`: the verdict is positive (negative) whatever the words.
SPLIT `dev` or `test`: held out. Slots, with q the polarity that SIGN and the verdict ask for:
`{a}` adjective, `{m}` adverb, `{v}` verb, `{b}` its base form, `{e}` effect on the writer, `{t}` what a thing was: all
of polarity q; `{A}` .. `{T}` of polarity -q; `{r}` adjective of either polarity;
`{C}` a clause of verdict q, `{D}` one of -q, `{X}` one of either about something that is not reviewed;
`{N}` what is reviewed (`the soup`), `{n}` its noun, `{p}` the product, `{d}` degree, `{k}` was, felt,
seemed .., `{o}` somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass

PLAIN = """
+ | {N} {k} {d} {a}
+ | {N} {k} {a}
+ | I thought {N} {a}
+ | I was {e} by {N}
+ | I found {N} {a}
+ | I {v} {N}
+ | {N} {e} me
+ | {N} turned out {a}
+ | {N} struck me as {a}
+ | {N} was {t}
+ | {N} was {m} done
+ | {N} was {m} made
+ | this {p} has a {a} {n}
+ | what a {a} {n}
+ | I {v} the {a} {n}
+ | {N} {k} {a} and {a}
+ dev | I thought {N} {d} {a}
+ dev | I was so {e} by {N}
+ test | I found {N} {d} {a}
+ test | {N} turned out {d} {a}
"""

NEGATION = """
- | {N} was not {d} {a}
- | {N} was not {a}
- | {N} never {k} {a}
- | {N} did not feel {a}
- | {N} did not seem {a}
- | I would not call {N} {a}
- | nobody would call {N} {a}
- | {N} {k} by no means {a}
- | there was nothing {a} about {N}
- | I did not find {N} {a}
- | I cannot say that {N} was {a}
- | {N} {k} in no way {a}
- | I did not {b} {N}
- | {N} was not {t}
- | {N} never {e} me
- | {N} was not {m} done
- | I was not {e} by {N}
+ | I could not have been more {e} by {N}
+ | I have never seen a more {a} {n}
- dev | nobody here would call {N} {a}
- dev | I could not call {N} {a}
+ dev | I have never yet seen a more {a} {n}
- test | I would not really call {N} {a}
- test | {N} did not feel {d} {a}
+ test | I have never once seen a more {a} {n}
"""

DOUBLE = """
+ | I cannot deny that {C}
+ | there is no doubt that {C}
- | it is not true that {C}
- | it would be wrong to say that {C}
- | I doubt that {C}
+ | I do not doubt that {C}
+ | nobody can deny that {C}
- | I cannot say that {C}
+ | nobody can doubt that {C}
- | it is wrong that {C}
+ | {N} was anything but {A}
+ dev | we cannot deny that {C}
- dev | I doubt very much that {C}
+ test | you cannot deny that {C}
- test | it is not true at all that {C}
"""

CONTRAST = """
+ | {D}, but {C}
+ | although {D}, {C}
+ | {C}, although {D}
+ | even though {D}, {C}
+ | {C}, even though {D}
+ | {D}, yet {C}
+ | despite the {A} {n}, {C}
+ | {C}, despite the {A} {n}
+ | {D}; still, {C}
+ dev | {D}, but still {C}
+ dev | {C}, despite its {A} {n}
+ test | {D}, and yet {C}
+ test | despite its very {A} {n}, {C}
"""

INTENSITY = """
- | {N} {k} hardly {a}
- | {N} {k} scarcely {a}
- | {N} {k} far from {a}
-p | {N} {k} barely {a}
- | {N} {k} less than {a}
- | I hardly found {N} {a}
- | {N} hardly {e} me
- | I would hardly call {N} {a}
+ | {N} {k} more than {a}
+n | {N} was too {a} to bear
-p | {N} was too {a} for its own good
-p | {N} was not nearly {a} enough
-p | {N} could have been more {a}
+n | {N} could not have been more {a}
+p | {N} could not have been more {a}
- dev | I thought {N} hardly {a}
-p dev | I found {N} barely {a}
+ dev | I found {N} more than {a}
- test | I found {N} far from {a}
- test | I thought {N} scarcely {a}
+ test | I thought {N} more than {a}
"""

COMPARISON = """
P | this {p} {k} better than the other one, which was {r}
N | the other {p}, which was {r}, {k} better than this one
P | I liked this {p} better than the other one, which was {r}
N | I liked the other {p}, which was {r}, better than this one
P | I prefer this {p} to the other one, which was {r}
N | I prefer the other {p}, which was {r}, to this one
- | this {p} {k} less {a} than the other one
+ | this {p} {k} more {a} than the other one
+ | the other {p} {k} less {a} than this one
- | the other {p} {k} more {a} than this one
- | this {p} was not as {a} as the other one
P dev | this {p} {k} far better than the other one, which was {r}
N dev | the other {p}, which was {r}, {k} far better than this one
- dev | this {p} {k} far less {a} than the other one
P test | this {p} {k} much better than the other one, which was {r}
N test | the other {p}, which was {r}, {k} much better than this one
- test | this {p} {k} much less {a} than the other one
"""

CONDITIONAL = """
- | this {p} would have been {a} if {N} had not been so {A}
- | if {N} had not been so {A}, this {p} would have been {a}
- | without the {A} {n}, this {p} would have been {a}
- | this {p} would have been {a} without the {A} {n}
-p | if {N} had been {a}, I would have liked this {p}
-n | if {N} had been {a}, I would have hated this {p}
+ | even if {N} had been {A}, this {p} would have been {a}
+ | this {p} would have been {a} even if {N} had been {A}
+ | even without the {a} {n}, this {p} would have been {a}
+p | if you want a {a} {n}, this {p} is for you
-p | if you want a {a} {n}, this {p} is not for you
-p | I wish {N} had been {d} {a}
-p | {N} should have been {a}
- | had {N} not been {A}, this {p} would have been {a}
- dev | if only {N} had not been so {A}, this {p} would have been {a}
+ dev | even if {N} had been {d} {A}, this {p} would have been {a}
-p dev | I wish that {N} had been {a}
- test | without the very {A} {n}, this {p} would have been {a}
+ test | even if {N} had been that {A}, this {p} would have been {a}
-p test | {N} should have been {d} {a}
"""

REPORTED = """
+ | {o} called {N} {r}, yet {C}
+ | {o} called {N} {a}, and I agree
- | {o} called {N} {a}, but I disagree
+ | {o} said that {C}, and that was right
- | {o} said that {C}, and that was wrong
+ | just as {o} said, {C}
- | I disagree with {o} that {C}
+ | I agree with {o} that {C}
- | {o} was wrong to call {N} {a}
+ | {o} was right to call {N} {a}
+ | {o} {V} {N}, but I {v} it
+ | I {v} {N}, but {o} {V} it
+ | {o} told me that {D}, but in truth {C}
- dev | {o} said that {C}, but I disagree
+ dev | {o} found {N} {a}, and I agree
+ dev | whatever {o} said, {C}
- test | {o} thought {N} {a}, but I disagree
+ test | {o} said that {C}, and I agree
+ test | {o} said that {D}, but {C}
"""

DISTRACTOR = """
+ | {X}, but {C}
+ | {X}, and {C}
+ | {X} that day, and {C}
+ | {C}, and {X} that day
+ | before we came {X}, and then {C}
+ | {X}; anyway, {C}
+ dev | before we came {X}, but then {C}
+ test | {X} that day; anyway, {C}
"""

ELSEWHERE = """
+ | {x} was {a}
+ | {x} was {d} {a}
+ | {x} {e} me
- | {x} was not {a}
+ | I found {x} {a}
+ | {x} was {t}
"""


@dataclass(frozen=True)
class Template:
    """One line: `sign` 1 or -1 (0 when `only` alone decides), `only` the verdict it is limited to, if any."""

    text: str
    sign: int
    only: int
    split: str


def _parse(block: str) -> tuple[Template, ...]:
    templates = []
    for line in block.strip().splitlines():
        head, text = line.split(" | ", 1)
        mark, *split = head.split()
        sign = {"+": 1, "-": -1}.get(mark[0], 0)
        limit = {"p": 1, "n": -1, "P": 1, "N": -1}.get(mark[-1], 0)
        templates.append(Template(text, sign, limit * (sign or 1), split[0] if split else ""))
    return tuple(templates)


SLICES = {
    "plain": _parse(PLAIN),
    "negation": _parse(NEGATION),
    "double negation": _parse(DOUBLE),
    "contrast": _parse(CONTRAST),
    "intensity": _parse(INTENSITY),
    "comparison": _parse(COMPARISON),
    "conditional": _parse(CONDITIONAL),
    "reported speech": _parse(REPORTED),
    "distractor": _parse(DISTRACTOR),
}
"""Phenomenon to its templates."""

CLAUSES = (*SLICES["plain"], *SLICES["negation"], *SLICES["intensity"])
"""What stands for `{C}` and `{D}`."""

ASIDES = _parse(ELSEWHERE)
"""What stands for `{X}`."""
