"""Flesch-Kincaid grade: how many years of school a text asks for, from the lengths of its sentences and words.

Syllables are counted by rule: groups of vowels, less the silent e, plus the vowels that stand together but are spoken
apart. Over the running words of simple stories the rule agrees with the CMU Pronouncing Dictionary for 99 of 100
(docs/CORPUS.md). It is made for English; numbers and abbreviations count as one syllable.
"""

import re
from functools import lru_cache

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# "Run!" she said. is one sentence: what goes on in lower case has not ended.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)]*(?=\s+[^\sa-z]|\s*$)")

_VOWELS = re.compile(r"[aeiou]+y?|y(?![aeiou])")
_SILENT = re.compile(
    # cake, hole, argue, lovely, something; not table
    r"(?:[^aeiouyl]|[aeiouyrl]l|[gqr]u)e(?=$|(?:ly|less|ful|ment|thing|body|one|times?|where|board|book)s?$)"
    r"|(?:[^aeioudtl]|[aeiouyrl]l|[aeiou]w)e(?=d$)"  # jumped, rolled; not wanted, puddled
    r"|(?:[^aeiouycghsxzl]|[aeiouyrl]l|th|[aeiou]gh|ey)e(?=s$)"  # cakes; not boxes
    r"|(?<=^ev)e(?=ning)"
)
_APART = re.compile(
    r"(?<![aeioucgqtsx])i[ao](?!u)|[rv]i(?=ous)|(?<![td])io$|eo(?!us|p|n|r)|aoi|[zl]oe$|[aeiou](?=ing)|[^aeiou]y(?=ing)"
    r"|uel$|[^aeioucq]ie[rt]$|uiet|[^gq]ui[dn](?!e)|reat[ei]|dea$|oa(?=$|h|la)|ael$|ium|eum|usual"
)


@lru_cache(maxsize=1 << 16)
def syllables(word: str) -> int:
    """The syllables of an English word, at least 1.

    >>> [syllables(word) for word in ("cake", "little", "wanted", "jumped", "idea", "Maria's")]
    [1, 2, 2, 1, 3, 3]
    """
    word = word.lower().replace("’", "'")
    if word.endswith("'s"):
        word = word[:-2] + ("es" if re.search(r"(?:[sxz]|[cs]h|[cgsz]e)'s$", word) else "s")
    return max(1, len(_VOWELS.findall(word)) - len(_SILENT.findall(word)) + len(_APART.findall(word)))


def grade(text: str) -> float:
    """The Flesch-Kincaid grade of a text: 0.39 words a sentence + 11.8 syllables a word - 15.59.

    >>> round(grade("The cat sat on the mat. It was happy."), 2)
    -0.72
    """
    words = WORD.findall(text)
    if not words:
        return 0.0
    sentences = max(1, len(_SENTENCE_END.findall(text)))
    return 0.39 * len(words) / sentences + 11.8 * sum(map(syllables, words)) / len(words) - 15.59
