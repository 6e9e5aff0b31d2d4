r"""Raw story -> (story, None) or (None, reason).

First what follows the story is cut: `CUTS` is the table of the families of such text. A cut begins at the start of a
line, or of a sentence outside quotation marks, never inside a sentence, and takes everything from there to the end.
Then `REJECTS` says what makes the rest unusable. Each row of both tables has a name, a reason and worked examples,
which are doctests.

A clean story stays as it is when it is cleaned again. What this module does not do: it corrects no grammar, removes
nothing from the middle of a story, and does not judge whether a story is good.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from babistories.cutting import Cutter, Family
from babistories.text import broken, english, loops, repaired, unfinished

MIN_CHARACTERS = 100  # the stories of the published corpus have about 890


class Cleaned(NamedTuple):
    """What became of a raw story."""

    story: str | None  # the clean story, or None
    reason: str | None  # why there is none: a name of REJECTS
    rule: str | None  # the family that acted: of CUTS where something was cut, else the name of REJECTS
    cut: str  # what was cut off the end
    text: str  # what was left after cutting, on one line, usable or not


@dataclass(frozen=True)
class Reject:
    """A kind of unusable story: `test(text, words, finish)` is true of it."""

    name: str
    reason: str
    test: Callable[[str, list[str], str | None], object]
    examples: str


_WRITING = re.compile(
    r"[^.!?]*\b(?:stor(?:y|ies)|words?|vocabulary|sentences?|paragraphs?|prompt|readers?|moral|characters?|verbs?|"
    r"nouns?|adjectives?|dialogues?|twist|conflict|features?|language|simple|year[- ]olds?|parents|teachers)\b",
    re.IGNORECASE,
)
_TALE = r"(?:story|tale)"

CUTS = (
    Family(
        "moral", "a moral is stated after the story",
        r"(?:and\s+)?(?:so,?\s+)?(?:the\s+|a\s+|our\s+)?morale?s?(?:\s+(?:lesson|value|message)s?)?[*_]*"
        r"(?:\s*[:–—-]|\s+(?:of|is|here)\b)|(?:and\s+)?so,?\s+the\s+moral\b|"
        rf"(?:the\s+)?lessons?\s+(?:of\s+(?:the|this|our)\s+{_TALE}|learned\s*:)|"
        rf"(?:this|the|our)\s+{_TALE}\s+(?:teaches|tells|shows|reminds)\s+(?:us|you|children|kids)\b",
        """
        >>> cut("Tom shared his ball. Moral of the story: sharing is fun.")
        ('Tom shared his ball.', 'moral')
        >>> cut("Tom shared his ball. So the moral is to share.")
        ('Tom shared his ball.', 'moral')
        >>> cut("Tom shared his ball.\\n\\n**The moral:** Share!")
        ('Tom shared his ball.', 'moral')
        >>> cut('Tom had good morals. "Oh. The moral is to share," said Gran. They went home.')
        ('Tom had good morals. "Oh. The moral is to share," said Gran. They went home.', None)
        """,
    ),
    Family(
        "the_end", '"The end." where the story ends',
        rf"(?:(?<=\n)[\"“])?(?:the\s+end(?:\s+of\s+(?:the|our|this|my)\s+{_TALE})?|end\s+of\s+(?:the\s+)?story)\b"
        r"[^\w\n]*",
        """
        >>> cut("They all slept well. The end.")
        ('They all slept well.', 'the_end')
        >>> cut("They all slept well.\\n\\n~ THE END ~\\n\\nOnce upon another time, a cat sat.")
        ('They all slept well.', 'the_end')
        >>> cut("The end of the day came. The endless sea slept. It was the end.")
        ('The end of the day came. The endless sea slept. It was the end.', None)
        >>> cut("By the end of the day they were home. The end? No! The fox came back.")
        ('By the end of the day they were home. The end? No! The fox came back.', None)
        """,
        last=True,
    ),
    Family(
        "note_to", "a note to whoever reads the story aloud",
        r"(?<=[(\[])notes?\b|notes?\s+(?:to|for|from|on)\s+(?:the\s+|all\s+)?(?:parents?|readers?|teachers?|adults?|"
        rf"caregivers?|educators?|grown-?ups?|{_TALE}|authors?|writers?|editors?|users?)\b|disclaimer\s*:|"
        r"(?:author|writer|editor|parent|teacher|translator)(?:s|['’]s|s['’])?\s+notes?\b",
        """
        >>> cut("They hugged. (Note to parents: talk about sharing.)")
        ('They hugged.', 'note_to')
        >>> cut("They hugged.\\n\\n*Author's note* I wrote this for my son.")
        ('They hugged.', 'note_to')
        """,
    ),
    Family(
        "note", "a note about the text",
        r"(?:please\s+|side\s+|foot|important\s+|quick\s+|final\s+)?(?:notes?[*_]*\s*:|note\s+that\b)|"
        r"(?:p\.\s?s\.?|explanation)[*_]*\s*:",
        """
        >>> cut("They hugged. Note: This story only uses simple words.")
        ('They hugged.', 'note')
        >>> cut("A card lay there. Note: the bird sang a note. Then it flew away.")
        ('A card lay there. Note: the bird sang a note. Then it flew away.', None)
        """,
        about=_WRITING,
    ),
    Family(
        "outline", "an outline or a list of words",
        r"(?:\d+[.)]\s*)?(?:(?:the|story|main|simple|new|difficult|key|used|required|list(?:\s+of)?|plot|bad|sad|"
        r"happy|unhappy|good)\s+){0,4}(?:characters?|settings?|plot|twist|conflict|dialogues?|endings?|themes?|"
        r"keywords?|words?|vocabulary|verbs?|nouns?|adjectives?|features?|foreshadowing|word\s+count|reading\s+level)"
        r"(?:\s+(?:used|included|in|from)\b[^.!?:]*)?[*_]*\s*:",
        """
        >>> cut("She waved goodbye.\\n\\nCharacters: Mia, the fox")
        ('She waved goodbye.', 'outline')
        >>> cut("She waved goodbye. List of simple words used: fox, run, red")
        ('She waved goodbye.', 'outline')
        >>> cut("She waved goodbye.\\n- **Plot twist:** the fox was kind")
        ('She waved goodbye.', 'outline')
        >>> cut('His words were kind. "Yes. Words: they can hurt," he said. He had new words: please and thanks.')
        ('His words were kind. "Yes. Words: they can hurt," he said. He had new words: please and thanks.', None)
        """,
    ),
    Family(
        "label", "a section after the story: questions, activities, a title",
        r"[>*_•–—\d.)-]*+\s*(?:(?:discussion|comprehension|follow-?up|some|three|story|the)\s+){0,3}"
        r"(?:summary|title|genre|resolution|climax|questions?|activit(?:y|ies)|glossary|definitions?|translations?|"
        r"tags|age\s+group|introduction|conclusion|set-?up|payoff|key\s+points?)[^.!?:\n]{0,40}:",
        """
        >>> cut("They ate.\\n\\nQuestions for children:\\n1. Who ate?")
        ('They ate.', 'label')
        >>> cut("The owl spoke. Question: who ate it? Nobody knew.")
        ('The owl spoke. Question: who ate it? Nobody knew.', None)
        """,
        inline=False,
    ),
    Family(
        "heading", "a Markdown heading",
        r"\#{1,6}\s*\w|\*\*[^*\n]{1,80}\*\*\s*(?=\n|\Z)",
        """
        >>> cut("They slept.\\n\\n## A new story\\n\\nOnce upon a time")
        ('They slept.', 'heading')
        """,
        inline=False,
    ),
    Family(
        "separator", "a line drawn under the story",
        r"[-=_*~#](?:\s*[-=_*~#])+\s*",
        """
        >>> cut("They slept.\\n\\n---")
        ('They slept.', 'separator')
        >>> cut("They slept.\\n\\n***\\n\\nThe next day it rained.")
        ('They slept.\\n\\n***\\n\\nThe next day it rained.', None)
        """,
        inline=False, last=True,
    ),
    Family(
        "turn", "an invented next turn, or the prompt again",
        r"(?:user|human|assistant|instructions?|prompt|response|answer|input|output|task|example|(?:(?:possible|another|"
        r"new|revised|second|next|simplified)\s+)?(?:story|version))\s*\d*[*_]*\s*:|/?INST\]|</?s>|<\||"
        r"(?:now,?\s+)?(?:please\s+)?(?:write|create|tell)\s+(?:me\s+)?(?:a|another)\s+(?:short\s+|new\s+|simple\s+)*"
        rf"{_TALE}\s*(?:\(|which|that|about|with|using)|remember\s+to\s+only\s+use\s+simple|"
        r"the\s+story\s+(?:should\s+(?:use|contain)|has\s+the\s+following)",
        """
        >>> cut("They slept.\\n\\nUser 1: Nice! Now one about a fox")
        ('They slept.', 'turn')
        >>> cut("They slept. Write a short story (3-5 paragraphs) which only uses very simple words")
        ('They slept.', 'turn')
        """,
    ),
    Family(
        "remark", "the model speaks about its story",
        rf"i\s+hope\s+(?:you|this|that)\b[^.!?]*\b(?:{_TALE}|helps?)\b|let\s+me\s+know\s+(?:if|what|how)\s+you\b|"
        rf"(?:this|the)\s+(?:short\s+|simple\s+)*{_TALE}\s+(?:uses|contains|includes|features|demonstrates|"
        r"incorporates|only\s+uses|is\s+(?:suitable|meant|written|intended|appropriate|designed)\s+(?:for|to|with)|"
        r"was\s+(?:written|generated|created)\s+(?:for|with|by|using)|has\s+(?:a\s+(?:moral|twist|bad|happy)|\d))",
        """
        >>> cut("They slept. I hope you enjoyed this little story!")
        ('They slept.', 'remark')
        >>> cut("They slept.\\n\\nThis story uses the verb swim.")
        ('They slept.', 'remark')
        >>> cut("This story was Tom's favourite. In this story there was a bear.")
        ("This story was Tom's favourite. In this story there was a bear.", None)
        """,
    ),
    Family(
        "assistant", "an assistant speaks, or refuses to: no story comes before that",
        r"(?:sure|certainly|of\s+course|okay|absolutely)\b[,!.:]*\s+(?:here(?:['’]s|\s+is|\s+are)\b|i(?:\s+can|['’]d)\b)"
        rf"|here(?:['’]s|\s+is)\s+(?:a|an|the|your|my)\s+(?:short\s+|simple\s+|possible\s+|new\s+)*(?:{_TALE}|version)"
        r"\b|(?:as|i\s*['’a]m(?:\s+just)?)\s+an?\s+(?:ai|artificial\s+intelligence|(?:large\s+)?language\s+model)\b|"
        r"(?:i\s*['’a]m\s+|we\s+are\s+)?(?:(?:really\s+|so\s+)?sorry,?\s+(?:but\s+)?)?(?:i\s+|we\s+)?"
        r"(?:can(?:not|['’]t|\s+not)|(?:am\s+)?unable\s+to|won['’]t)\s+"
        r"(?:write|create|fulfill?|generate|provide|produce|assist|complete|comply)\b",
        """
        >>> clean("Sure, here is a story: Once upon a time there was a cat.")
        (None, 'assistant')
        >>> clean("Once upon a time there was a cat. As an AI, I cannot write about that.")
        (None, 'assistant')
        >>> clean('"Oh! Sure, here is your ball," said Tom.')
        (None, 'too_short')
        """,
        refuse=True,
    ),
)  # fmt: skip

_MARKUP = re.compile(r"[\\*#<>%^/@\[\]{}+()|`_]")
_ENTITY = re.compile(r"&#?\w+;")


def _markup(text: str) -> bool:
    return bool(
        _MARKUP.search(text) or "http" in text or "www." in text or "==" in text or "---" in text
        or ("&" in text and _ENTITY.search(text))
    )  # fmt: skip


REJECTS = (
    Reject(
        "empty", "nothing is left", lambda text, words, finish: not words,
        """
        >>> clean("\\n\\nThe end.")
        (None, 'empty')
        """,
    ),
    Reject(
        "broken", "characters that mean nothing and cannot be repaired", lambda text, words, finish: broken(text),
        """
        >>> clean("Tom saw a b\\ufffdg dog.")
        (None, 'broken')
        """,
    ),
    Reject(
        "markup", "markup or web text", lambda text, words, finish: _markup(text),
        """
        >>> [clean(text)[1] for text in ("Tom *sighed*.", "See http:x", "Salt &amp; milk.", "Tom (a boy) ran.")]
        ['markup', 'markup', 'markup', 'markup']
        """,
    ),
    Reject(
        "truncated", "breaks off inside a sentence",
        lambda text, words, finish: finish != "stop" and unfinished(text),
        """
        >>> clean("Tom saw a dog. The dog ran to", finish="length")
        (None, 'truncated')
        """,
    ),
    Reject(
        "too_short", f"shorter than {MIN_CHARACTERS} characters",
        lambda text, words, finish: len(text) < MIN_CHARACTERS,
        """
        >>> clean("Once there was a cat.\\n\\nThe end.")
        (None, 'too_short')
        """,
    ),
    Reject(
        "repetition", "goes round in a loop", lambda text, words, finish: loops(words),
        """
        >>> clean("One day Tom went out to play. " + "He ran up and down. " * 6)
        (None, 'repetition')
        """,
    ),
    Reject(
        "not_english", "not English", lambda text, words, finish: not english(text, words),
        """
        >>> clean("Es war einmal ein kleiner Hund, der lief jeden Morgen in den Wald. Dort suchte er einen Ball.")
        (None, 'not_english')
        """,
    ),
)  # fmt: skip

__test__ = {row.name: row.examples for row in (*CUTS, *REJECTS)}

_CUTTER = Cutter(CUTS)


def cut(text: str) -> tuple[str, str | None]:
    """Cut off what follows a story: (the story, the name of the family that was cut first in the text, or None)."""
    return _CUTTER.cut(text)[:2]


def examine(raw: str, finish: str | None = None, keep_paragraphs: bool = False) -> Cleaned:
    """Clean a story and say what was done.

    raw: the text, beginning with the story. finish: "stop" if the model ended it, "length" if the token limit did,
    None where that is not known. keep_paragraphs: keep line breaks instead of making one space of them.
    Any string will do; nothing is raised.

    >>> examine("Tom ran home. He hugged his mum and ate. The end.", "stop")[1:4]
    ('too_short', 'the_end', 'The end.')
    """
    whole = repaired(raw).strip()
    text, rule, reason = _CUTTER.cut(whole)
    words = text.split()
    line = " ".join(words)
    reason = reason or next((reject.name for reject in REJECTS if reject.test(line, words, finish)), None)
    story = None if reason else _paragraphs(text) if keep_paragraphs else line
    return Cleaned(story, reason, rule or reason, whole[len(text) :].strip(), line)


def _paragraphs(text: str) -> str:
    """Tidy line breaks: no blanks around them, at most one empty line."""
    lines = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def clean(raw: str, finish: str | None = None, keep_paragraphs: bool = False) -> tuple[str | None, str | None]:
    """(story, None), or (None, the name of the row of REJECTS that it falls under). See `examine`."""
    return examine(raw, finish, keep_paragraphs)[:2]
