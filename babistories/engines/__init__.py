"""Engines: prompts in, completions out. This module is light; torch is imported when a model is loaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from babistories.streams import Stream


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. The defaults are plain ancestral sampling; temperature 0 takes the likeliest."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512


@dataclass(frozen=True)
class Request:
    """One row to make. The engine puts `prompt` into its chat form, with `opening` already standing in the answer."""

    key: Any  # handed back with the completion
    prompt: str
    opening: str
    stream: Stream  # the noise that the text follows
    seed: int  # 63 bits, for servers that sample with their own generator


@dataclass(frozen=True)
class Completion:
    """What became of a request: the text after the opening (its first space kept), or an error."""

    key: Any
    text: str = ""
    tokens: int = 0  # new tokens, the end token not counted
    finish: str = "stop"  # "stop", "length" or "error"
    error: str = ""


class Engine(Protocol):
    """Something that completes prompts."""

    def generate(self, requests: Iterator[Request]) -> Iterator[list[Completion]]:
        """Complete requests, pulled one by one as there is room; yields those that finished at the same moment."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts for the manifest: device, versions, batch size, engine."""
        ...
