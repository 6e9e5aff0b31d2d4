"""Where text that is no story begins: families of patterns at line and sentence starts, and the search for them.

`cleaning` holds the table of the families. This module only knows where they may stand: at the start of a line, or
of a sentence that is not inside quotation marks, after any list markers, stars and brackets.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A kind of text that is no story. Its pattern stands at a line start, or at a sentence start too if `inline`."""

    name: str
    reason: str
    pattern: str  # of a regular expression without named groups; case does not matter
    examples: str  # doctests
    inline: bool = True
    last: bool = False  # only where nothing comes after it but the end of its line or another cut
    about: re.Pattern[str] | None = None  # only where what follows begins with this
    refuse: bool = False  # what comes before it is no story either: nothing is cut, the whole is refused


@dataclass(frozen=True)
class Found:
    """What a text holds: where the first cut begins and its family, and a family before it that refuses the text."""

    at: int
    rule: str | None
    refused: str | None


class Cutter:
    """Finds where text of the given families begins."""

    def __init__(self, families: Sequence[Family]):
        self._families = {family.name: family for family in families}

        def any_of(inline: bool) -> str:
            return "|".join(f"(?P<{f.name}>{f.pattern})" for f in families if f.inline is inline)

        body = rf"(?P<at>)(?:[>*_#~(\[•–—\s-]*+(?:{any_of(inline=True)})|{any_of(inline=False)})"
        self._at_start = re.compile(body, re.IGNORECASE)
        # The start of a line, or what ends the sentence before. Most stories have no such place: one fast search.
        self._later = re.compile(r"[.!?…\n](?:(?<=\S\n)|[\"'”’)\]*_~]*+\s)\s*+" + body, re.IGNORECASE)

    def find(self, text: str) -> Found:
        """The earliest cut of a text (which does not begin with a blank)."""
        places = []
        place = self._at_start.match(text) or self._later.search(text)
        while place:
            places.append(place)
            place = self._later.search(text, place.start("at") + 1)
        cut_at, rule, refused = len(text), None, None
        for place in reversed(places):  # from the end, because some things are cut only if nothing follows them
            family, at, end = self._families[place.lastgroup or ""], place.start("at"), place.end()
            line_start = place.start() == at or "\n" in text[place.start() : at]
            if not line_start and (not family.inline or _in_quotes(text, at)):
                continue
            if family.refuse:
                refused = family.name
            elif (not family.last or cut_at <= end or text[end] == "\n") and (
                family.about is None or family.about.match(text, end)
            ):
                cut_at, rule, refused = at, family.name, None
        return Found(cut_at, rule, refused)

    def cut(self, text: str) -> tuple[str, str | None, str | None]:
        """(The text without what is cut, the family that was cut first in the text, a family that refuses the text)."""
        rule = None
        while True:  # once more after a cut: something else may be the last thing now
            found = self.find(text)
            if found.rule is None:
                return text, rule, found.refused
            text, rule = text[: found.at].rstrip(), found.rule


def _in_quotes(text: str, at: int) -> bool:
    return text.count('"', 0, at) % 2 == 1 or text.count("“", 0, at) > text.count("”", 0, at)
