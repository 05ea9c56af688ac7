"""The words of the generated reviews.

A word after `dev:` or `test:` is held out: it comes in that split and in no other. Nouns, names, places and adverbs
are held out freely. A held-out polarity word is derived from one that train has (`brilliant`: `brilliantly`,
`a joy`: `joyful`) and begins with it, so that a subword vocabulary finds the word inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HELD_OUT = ("dev", "test")


@dataclass(frozen=True)
class Words:
    """A list of words: those of every split, and those that only dev or only test has."""

    shared: tuple[str, ...]
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def all(self) -> set[str]:
        """Every word of the list."""
        return set(self.shared).union(*self.held.values())


def words(text: str) -> Words:
    """Words from `a, b, c | dev: d, e | test: f`."""
    shared, *rest = text.split("|")
    held = {name.strip(): _listed(body) for name, body in (part.split(":") for part in rest)}
    return Words(_listed(shared), held)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for word in text.split(",") if word.strip())


PRODUCTS = {
    "film": words("film, movie, drama, comedy, thriller, sequel | dev: remake | test: documentary"),
    "restaurant": words("restaurant, bistro, diner, cafe, place, pizzeria | dev: brasserie | test: tavern"),
    "hotel": words("hotel, hostel, resort, inn, lodge, guesthouse | dev: motel | test: chalet"),
    "book": words("book, novel, memoir, biography, paperback, story | dev: anthology | test: saga"),
    "gadget": words("phone, camera, laptop, tablet, speaker, watch | dev: headset | test: printer"),
}

ASPECTS = {
    "film": words(
        "acting, plot, script, ending, soundtrack, cast, dialogue, camera work, first half, final scene, opening,"
        "music, villain, hero, pacing, direction, costume design, chase, romance, humour"
        "| dev: screenplay, narration, makeup | test: cinematography, choreography, finale"
    ),
    "restaurant": words(
        "soup, pasta, service, waiter, dessert, wine list, steak, bread, salad, coffee, menu, chef, sauce, breakfast,"
        "lunch, dinner, fish, terrace, kitchen, seafood"
        "| dev: risotto, appetizer, bartender | test: curry, gravy, brunch"
    ),
    "hotel": words(
        "room, bed, lobby, pool, staff, bathroom, view, garden, reception, gym, lift, shower, balcony, location,"
        "pillow, porter, bar, spa, beach, corridor"
        "| dev: sauna, mattress, concierge | test: jacuzzi, minibar, courtyard"
    ),
    "book": words(
        "prose, chapter, author, style, dialogue, ending, plot, cover, translation, preface, heroine, narrator,"
        "opening, setting, pacing, argument, detective, mystery, language, epilogue"
        "| dev: foreword, storyline, protagonist | test: prologue, subplot, imagery"
    ),
    "gadget": words(
        "screen, battery, keyboard, design, sound, price, software, lens, charger, display, handset, microphone, app,"
        "touchpad, menu, manual, stand, setup, update, case"
        "| dev: firmware, hinge, zoom | test: touchscreen, casing, cable"
    ),
}

ELSEWHERE = words(
    "the weather, the traffic, my mood, the train ride, the parking, the news that day, my headache, the drive home,"
    "the bus, the walk back, the city, our flight, my week, the neighbourhood, the queue outside, the taxi"
    "| dev: our bus ride, my train | test: our taxi ride, the drive back"
)

OTHERS = words(
    "the critics, my brother, my sister, the guide, a friend, my boss, the neighbours, a colleague, my parents,"
    "the newspaper, everyone, my wife, my husband, the advert, Anna, Peter, Maria, Tom, Julia, Omar, Nina, Victor"
    "| dev: Ingrid, Marcus, my nephew, a blogger | test: Beatrice, Rashid, my cousin, the columnist"
)

CITIES = words(
    "Paris, Rome, Berlin, Madrid, London, Vienna, Boston, Lisbon, Prague, Oslo, Dublin, Chicago"
    "| dev: Athens, Toronto, Kyoto | test: Warsaw, Seattle, Nairobi"
)

OPENERS = words(
    "honestly, in the end, to be fair, all in all, for me, frankly, as it happens, in short, this time, once again,"
    "after two days, on Sunday, after all the fuss, to my surprise"
    "| dev: on Tuesday, in hindsight | test: on Friday, when all is said and done"
)

DEGREES = words(
    "very, really, quite, truly, so, extremely, rather, remarkably, simply, utterly, absolutely, deeply, completely,"
    "surprisingly, wonderfully, especially"
    "| dev: thoroughly, immensely, exceptionally | test: totally, hugely, positively"
)

COPULAS = words("was, was, was, felt, seemed, proved, looked | dev: appeared | test: remained")

GOOD = words(
    "good, great, superb, brilliant, excellent, thoughtful, wonderful, charming, impressive, lovely, perfect, clever,"
    "beautiful, pleasant, splendid, memorable, enjoyable, elegant, fantastic, outstanding, graceful, tasteful,"
    "flawless, skilful, reliable, admirable, magnificent, fresh, convincing, inspired, marvellous, faultless"
    "| dev: joyful | test: delightful"
)

BAD = words(
    "bad, terrible, awful, dull, boring, poor, dreadful, horrible, disappointing, clumsy, weak, bland, mediocre, ugly,"
    "lousy, unpleasant, unreliable, forgettable, tasteless, tedious, shoddy, sloppy, miserable, lifeless, careless,"
    "pathetic, annoying, stale, unconvincing, uninspired, useless, graceless, joyless"
    "| dev: messy | test: wasteful"
)

GOOD_MANNER = words(
    "superbly, beautifully, cleverly, wonderfully, elegantly, gracefully, splendidly, perfectly, impressively"
    "| dev: brilliantly, charmingly | test: delightfully, magnificently"
)

BAD_MANNER = words(
    "badly, poorly, terribly, clumsily, carelessly, horribly, sloppily, awfully, miserably"
    "| dev: dreadfully, weakly | test: blandly, dully"
)

GOOD_VERBS = words("loved, enjoyed, adored, admired, liked, appreciated")
BAD_VERBS = words("hated, disliked, detested, regretted, loathed, despised")
GOOD_BASE = words("love, enjoy, adore, admire, like, appreciate")
BAD_BASE = words("hate, dislike, detest, regret, loathe, despise")
GOOD_EFFECT = words("delighted, charmed, impressed, pleased, moved, thrilled")
BAD_EFFECT = words("disappointed, bored, annoyed, tired, irritated, appalled")
GOOD_MATTER = words("a delight, a joy, a triumph, a pleasure, a treat, a success")
BAD_MATTER = words("a mess, a disaster, a failure, a bore, a letdown, a waste of time")

POLAR = {
    "a": (BAD, GOOD),
    "m": (BAD_MANNER, GOOD_MANNER),
    "v": (BAD_VERBS, GOOD_VERBS),
    "b": (BAD_BASE, GOOD_BASE),
    "e": (BAD_EFFECT, GOOD_EFFECT),
    "t": (BAD_MATTER, GOOD_MATTER),
}
"""Slot to its negative and positive words."""
