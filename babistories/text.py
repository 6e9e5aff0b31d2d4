"""What can be said of a text without knowing that it is a story: its words, its repair, its language, its loops."""

import re

LOOP_WORDS = 15  # a loop is a phrase said three times or more in a row, over at least this many words
MIN_COMMON_SHARE = 0.15  # of the words that are among the commonest English ones; stories have about 0.45
MAX_FOREIGN_SHARE = 0.05  # of the letters that are not Latin

_WORD = re.compile(r"[^\W_]+")
_NOT_A_WORD = {code: " " for code in range(128) if not chr(code).isalnum()}
# Control and format characters that are no blanks.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_COMMON = (
    "the and to was he she it they her his of had that with for you were there said day not but so this all one "
    "very be is at who what have my your their him them when then from up out i we little could would did went saw "
    "as by on if no do are me our"
)
_COMMON_WORDS = frozenset(_COMMON.split()) | frozenset(_COMMON.title().split())
_CLOSING = "\"'”’»)]*_~ "


def tokens(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits.

    >>> tokens("Tom's hat-box, naïve!")
    ['tom', 's', 'hat', 'box', 'naïve']
    """
    text = text.lower()
    return text.translate(_NOT_A_WORD).split() if text.isascii() else _WORD.findall(text)


def repaired(text: str) -> str:
    """A text with its mojibake decoded and without characters that nobody sees.

    >>> repaired("Itâ€™s JosÃ©, she\\u200b said.")
    'It’s José, she said.'
    """
    if not text.isascii():
        import ftfy
        import ftfy.badness

        if ftfy.badness.is_bad(text):
            text = ftfy.fix_encoding(text)
    return _INVISIBLE.sub("", text)


def broken(text: str) -> bool:
    """Whether a one-line text holds characters that mean nothing: U+FFFD, unassigned, private, half a pair.

    >>> broken("Tom\\ufffds hat"), broken("José’s hat 🎩")
    (True, False)
    """
    return not text.isprintable() or (not text.isascii() and "\ufffd" in text)


def unfinished(text: str) -> bool:
    """Whether a text breaks off inside a sentence.

    >>> unfinished("The fox ran to"), unfinished('"Run," he said, "run!"')
    (True, False)
    """
    last = text.rstrip(_CLOSING)[-1:]
    return last.isalnum() or last in {",", ";", ":", "-", "–", "—", "&", "(", "“", "‘"}


def english(text: str, words: list[str]) -> bool:
    """Whether both halves of a text, given as its blank-separated words too, look like English.

    >>> text = "Der kleine Hund lief in den Wald und suchte seinen Ball unter dem alten Baum."
    >>> english(text, text.split()), english("The dog ran to the wood.", "The dog ran to the wood.".split())
    (False, True)
    """
    common = list(map(_COMMON_WORDS.__contains__, words))
    half = len(words) // 2
    if sum(common[:half]) < half * MIN_COMMON_SHARE or sum(common[half:]) < (len(words) - half) * MIN_COMMON_SHARE:
        return False
    if text.isascii():
        return True
    letters = [c for c in text if c.isalpha()]
    # Latin letters with all their marks lie below U+0250, and in one block above for Vietnamese and others.
    foreign = sum(not (c < "\u0250" or "\u1e00" <= c <= "\u1eff") for c in letters)
    return foreign <= len(letters) * MAX_FOREIGN_SHARE


def loops(words: list[str]) -> bool:
    """Whether a phrase is repeated in a loop, or half of the text is a copy of the other half.

    >>> loops("and the cat sat down".split() * 4), loops("they ran and ran and ran until they were home".split())
    (True, False)
    """
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    repeated = len(trigrams) - len(set(trigrams))
    if repeated < LOOP_WORDS // 3:
        return False
    if repeated > 0.45 * len(trigrams) and len(words) > 2 * LOOP_WORDS:
        return True
    seen: dict[tuple[str, str, str], int] = {}
    period = run = 0
    for at, trigram in enumerate(trigrams):
        distance = at - seen.get(trigram, -len(words))
        run = run + 1 if distance == period else 1
        period = distance
        seen[trigram] = at
        # `run` trigrams in a row repeat what stood `period` words before: run + 2 repeated words, and the first copy
        if run + 2 >= 2 * period and run + 2 + period >= LOOP_WORDS:
            return True
    return False
