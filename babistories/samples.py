"""Stories read from any file, and fair samples of millions of things in bounded memory.

A thing's place (its shard and row, its number in a file) is hashed, and the things with the lowest hashes are the
sample: every thing has the same chance, the order of reading does not matter, and the same corpus gives the same
sample again. A larger sample holds the smaller one.
"""

import hashlib
import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from babistories.files import DataError

END_OF_TEXT = "<|endoftext|>"
_FIELDS = ("story", "text")

Item = TypeVar("Item")


def place_key(place: str) -> int:
    """The 64 bits that decide whether the thing at a place is in a sample.

    >>> place_key("00_0:12") == place_key("00_0:12") != place_key("00_0:13")
    True
    """
    return int.from_bytes(hashlib.blake2b(place.encode(), digest_size=8).digest(), "big")


class FairSample(Generic[Item]):
    """The `size` things with the lowest keys among all that are offered.

    >>> sample = FairSample(3)
    >>> for number in range(1000):
    ...     if sample.wants(key := place_key(str(number))):
    ...         sample.add(key, number)
    >>> sample.items()
    [634, 958, 669]
    """

    def __init__(self, size: int):
        self.size = size
        self._heap: list[tuple[int, int, Item]] = []  # negated keys: the largest key is on top
        self._added = 0  # keeps items with the same key from being compared

    def wants(self, key: int) -> bool:
        """Whether a thing with this key would be in the sample now. Asked first, so that most need not be made."""
        return len(self._heap) < self.size or (self.size > 0 and key < -self._heap[0][0])

    def add(self, key: int, item: Item) -> None:
        """Put in a thing that is wanted; the one with the largest key goes when there are too many."""
        self._added += 1
        entry = (-key, -self._added, item)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def items(self) -> list[Item]:
        """The sample in the order of its keys, which is a random order of the things."""
        return [item for _, _, item in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]


def read_stories(path: Path) -> Iterator[str]:
    """The stories of a file in one of three forms, told apart by its first line.

    A JSON string a line, a JSON object a line (with the story under "story" or "text"), or plain text in which
    `<|endoftext|>` stands between stories. Raises DataError when there is no file or a line is not what the first was.
    """
    try:
        # Only "\n" ends a line: a story may hold other separators.
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            yield from (_json_lines if _is_json(first) else _plain_text)(path, file)
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{path} not found") from None


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), str | dict)
    except ValueError:
        return False


def _json_lines(path: Path, file: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            story: Any = json.loads(line)
        except ValueError:
            story = None
        if isinstance(story, dict):
            story = next((story[field] for field in _FIELDS if field in story), None)
        if not isinstance(story, str):
            raise DataError(f'{path}, line {number}: no JSON string and no object with a "story" or "text"')
        yield story


def _plain_text(path: Path, file: Iterator[str]) -> Iterator[str]:
    story = ""
    for line in file:
        while END_OF_TEXT in line:
            end, line = line.split(END_OF_TEXT, 1)
            if (story + end).strip():
                yield (story + end).strip()
            story = ""
        story += line
    if story.strip():
        yield story.strip()
