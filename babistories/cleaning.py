r"""Raw story -> (story, None) or (None, reason).

First what follows the story is cut: `CUTS` is the table of the families of such text, each with a name, a reason and
worked examples (all of them doctests). A cut begins at the start of a line or of a sentence outside quotation marks,
never inside a sentence, and takes everything from there to the end. Then `REJECTS` says what makes the rest unusable.

Cleaning is idempotent: a clean story stays as it is. What this module does not do: it corrects no grammar, it never
removes anything from the middle of a story, and it does not judge whether a story is good.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

MIN_CHARACTERS = 100  # published stories have about 890, the shortest real ones about 200


class Cleaned(NamedTuple):
    """What became of a raw story."""

    story: str | None  # the clean story, or None
    reason: str | None  # why there is none: a name of REJECTS
    rule: str | None  # the name of the family that acted: of CUTS when something was cut, else of REJECTS
    cut: str  # what was cut off the end
    text: str  # what was left after cutting, usable or not


@dataclass(frozen=True)
class Family:
    """What follows a story and is cut. `pattern` stands at a line start; at a sentence start too if `inline`."""

    name: str
    reason: str
    pattern: str
    examples: str
    inline: bool = True
    last: bool = False  # cut only where nothing, or nothing but another cut, comes after it
    about: re.Pattern[str] | None = None  # cut only where what comes after it speaks of this


# What a writer's remark speaks of, and a tale hardly ever does.
_WRITING = re.compile(
    r"\b(?:stor(?:y|ies)|tale|words?|vocabulary|sentences?|paragraphs?|prompt|readers?|reading|moral|lesson|values?|"
    r"characters?|verbs?|nouns?|adjectives?|dialogues?|twist|conflict|features?|language|simple|year[- ]olds?|"
    r"parents|teachers|adults?|educat\w+|teach(?:es|ing)?|concepts?|always|never|should|must|please|important)\b",
    re.IGNORECASE,
)

CUTS = (
    Family(
        "moral", "a moral is stated after the story",
        r"(?:and\s+)?(?:so,?\s+)?(?:the\s+|a\s+|our\s+|this\s+)?morale?s?(?:\s+(?:lesson|value|message)s?)?[*_]*"
        r"(?:\s*[:–—-]|\s+(?:of|is|here)\b)|(?:and\s+)?so,?\s+the\s+moral\b|"
        r"(?:the\s+)?lessons?\s+(?:of\s+(?:the|this|our)\s+(?:story|tale)|learned\s*:|is\s*:|:)|"
        r"(?:this|the|our)\s+(?:story|tale)\s+(?:teaches|tells|shows|reminds)\s+(?:us|you|children|kids)\b",
        """
        >>> cut("Tom shared his ball. Moral of the story: sharing is fun.")
        ('Tom shared his ball.', 'moral')
        >>> cut("Tom shared his ball. So the moral is to share.")
        ('Tom shared his ball.', 'moral')
        >>> cut("Tom shared his ball.\\n\\n**The moral:** Share!")
        ('Tom shared his ball.', 'moral')
        >>> cut('Tom had good morals. "The moral is to share," said Gran. They went home.')
        ('Tom had good morals. "The moral is to share," said Gran. They went home.', None)
        """,
    ),
    Family(
        "the_end", '"The end." that ends the story',
        r"[\"“]?(?:(?:the\s+end(?:\s+of\s+(?:the|our|this|my)\s+(?:story|tale))?|end\s+of\s+(?:the\s+)?story|fin)\b)"
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
        r"(?<=[(\[])notes?\b|notes?\s+(?:to|for|from|on|about)\s+(?:the\s+|all\s+)?(?:parent|reader|teacher|adult|"
        r"caregiver|educator|grown-?up|story|author|writer|editor|user)|"
        r"(?:author|writer|editor|parent|teacher|translator|publisher)['’]?s?['’]?\s+notes?\b|disclaimer\s*:",
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
        r"(?:p\.\s?s\.?|n\.\s?b\.?|explanation)[*_]*\s*:",
        """
        >>> cut("They hugged. Note: This story only uses simple words.")
        ('They hugged.', 'note')
        >>> cut("A card lay there. Note: the bird sang a note. Then it flew away.")
        ('A card lay there. Note: the bird sang a note. Then it flew away.', None)
        """,
        about=_WRITING,
    ),
    Family(
        "outline", "an outline, a list of words or questions",
        r"(?:\d+[.)]\s*)?(?:(?:the|story|main|simple|new|difficult|key|used|required|list(?:\s+of)?|discussion|plot|bad|"
        r"comprehension|sad|happy|unhappy|good|follow-?up|additional|some|three)\s+){0,4}"
        r"(?:characters?|settings?|plot|twist|conflict|dialogues?|endings?|themes?|keywords?|words?|vocabulary|"
        r"verbs?|nouns?|adjectives?|features?|foreshadowing|summary|title|genre|resolution|climax|questions?|"
        r"activit(?:y|ies)|glossary|definitions?|translations?|tags|word\s+count|reading\s+level|age\s+group|"
        r"introduction|conclusion|set-?up|payoff|key\s+points?|total\s+words?)"
        r"(?:\s+(?:used|included|in|from)\b[^.!?:]{0,60})?[*_]*\s*:",
        """
        >>> cut("She waved goodbye.\\n\\nCharacters: Mia, the fox")
        ('She waved goodbye.', 'outline')
        >>> cut("She waved goodbye. List of simple words used: fox, run, red")
        ('She waved goodbye.', 'outline')
        >>> cut("She waved goodbye.\\n- **Plot twist:** the fox was kind")
        ('She waved goodbye.', 'outline')
        >>> cut('His words were kind. He had one question: why? "Words: they can hurt," he said.')
        ('His words were kind. He had one question: why? "Words: they can hurt," he said.', None)
        """,
    ),
    Family(
        "heading", "a Markdown heading",
        r"\#{1,6}\s*\w[^\n]*|\*\*[^*\n]{1,80}\*\*\s*(?=\n|$)",
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
        >>> cut("They slept.\\n\\n---\\n\\nNote: This story uses simple words.")
        ('They slept.', 'separator')
        >>> cut("They slept.\\n\\n***\\n\\nThe next day it rained.")
        ('They slept.\\n\\n***\\n\\nThe next day it rained.', None)
        """,
        inline=False, last=True,
    ),
    Family(
        "turn", "an invented next turn, or the prompt again",
        r"(?:user|human|assistant|instructions?|prompt|response|answer|input|output|task|example|"
        r"(?:(?:possible|another|new|revised|second|next|simplified)\s+)?(?:story|version))\s*\d*[*_]*\s*:|"
        r"\[/?INST\]|</?s>|<\||(?:now,?\s+)?(?:please\s+)?(?:write|create|tell)\s+(?:me\s+)?(?:a|another)\s+"
        r"(?:short\s+|new\s+|simple\s+)*(?:story|tale)\s*(?:\(|which|that|about|with|using)|"
        r"remember\s+to\s+only\s+use\s+simple|the\s+story\s+(?:should\s+(?:use|contain)|has\s+the\s+following)",
        """
        >>> cut("They slept.\\n\\nUser 1: Nice! Now one about a fox")
        ('They slept.', 'turn')
        >>> cut("They slept. Write a short story (3-5 paragraphs) which only uses very simple words")
        ('They slept.', 'turn')
        """,
    ),
    Family(
        "remark", "the model speaks about its story",
        r"[(\[]?(?:i\s+hope\s+(?:you|this|that\s+you)\b.{0,30}\b(?:story|tale|helps?|enjoy)|"
        r"let\s+me\s+know\s+(?:if|what|how)\b|in\s+this\s+(?:story|tale),|(?:this|the)\s+(?:short\s+|simple\s+)*"
        r"(?:story|tale)\s+(?:uses|contains|includes|features|follows|demonstrates|incorporates|only\s+uses|"
        r"is\s+(?:suitable|meant|written|intended|appropriate|designed)|was\s+(?:written|generated|created)\s+"
        r"(?:for|with|by|using)|has\s+(?:a\s+(?:moral|twist|bad|happy)|\d)))",
        """
        >>> cut("They slept. I hope you enjoyed this little story!")
        ('They slept.', 'remark')
        >>> cut("They slept.\\n\\nThis story uses the verb swim.")
        ('They slept.', 'remark')
        >>> cut("This story was Tom's favourite. In this story there was a bear.")
        ("This story was Tom's favourite. In this story there was a bear.", None)
        """,
    ),
)  # fmt: skip

# Talk of an assistant instead of a story; at the same places as cuts, but what comes before it is no story.
_ASSISTANT = (
    r"(?:sure|certainly|of\s+course|okay|absolutely)[,!.:]*\s+(?:here(?:['’]s|\s+is|\s+are)|i(?:\s+can|['’]d|['’]ll)\b)|"
    r"here(?:['’]s|\s+is)\s+(?:a|an|the|your|my)\s+(?:short\s+|simple\s+|possible\s+|new\s+)*(?:story|tale|version)|"
    r"as\s+an?\s+(?:ai|artificial|(?:large\s+)?language\s+model|assistant)\b|i(?:['’]m|\s+am)\s+an?\s+(?:ai|language\s+"
    r"model)\b|(?:(?:i(?:['’]m|\s+am)\s+)?(?:really\s+)?sorry,?\s+(?:but\s+)?)?(?:i|we)\s+(?:can(?:no|['’])?t|am\s+(?:not\s+able"
    r"|unable)\s+to|won['’]t)\s+(?:write|create|fulfill?|generate|provide|produce|assist|complete|comply)\b"
)

_DECORATION = r"[\s>*_~(\[•–—-]*"
_SENTENCE_END = r"[.!?…\n][\"'”’)\]*_~]*\s+"
_FAMILIES = {family.name: family for family in CUTS}
# One search finds the first place where anything of this can begin; most stories have none.
_ANY = re.compile(
    rf"(?:\A\s*|{_SENTENCE_END})(?P<at>(?!\s)(?:"
    + "|".join(f"(?P<{f.name}>{f.pattern})" for f in CUTS if not f.inline)
    + rf"|{_DECORATION}(?:"
    + "|".join(f"(?P<{f.name}>{f.pattern})" for f in CUTS if f.inline)
    + rf"|(?P<assistant>{_ASSISTANT}))))",
    re.IGNORECASE,
)
