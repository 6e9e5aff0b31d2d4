"""Training text: exchanges written by the grammar in other processes, tokenised, cut into batches.

    {work}/tokenizer/               made once, from the first exchanges
    {work}/shards/00000.npz         2,048 exchanges: tokens, lengths, where each answer begins, kinds

Which exchange stands in which shard, and the order of the batches, follow from the seed alone, so a run
that was killed goes on with the shards that are there and sees the same batches. Torch is not needed here:
the processes that write shards start fast.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from babymixtral.tokenizer import END_ID, PAD_ID, TURNS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHARD = 2048  # exchanges in a shard
WINDOW = 32  # shards that are shuffled together
GROUPS = 8  # lengths to which a batch is padded
ANSWER = 512  # tokens of an answer that the pipeline asks for


class Exchange(Protocol):
    """What the grammar writes (babymixtral.corpus.Exchange)."""

    @property
    def prompt(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def kind(self) -> str: ...


Grammar = Callable[[int, int], Exchange]  # (seed, index) -> exchange


def chat(exchange: Exchange) -> str:
    """The text of an exchange in the pipeline's chat form, without the tokenizer's own <s> and </s>."""
    return f"[INST] {exchange.prompt} [/INST] {exchange.answer}"


class Row(NamedTuple):
    """One tokenised exchange."""

    tokens: np.ndarray  # [length] uint16
    answer: int  # index of the answer's first token
    kind: str


def encode(tokenizer: Tokenizer, exchange: Exchange) -> Row:
    """The exchange as tokens: closed by </s>, unless the answer is longer than the pipeline asks for."""
    tokens = tokenizer.encode(chat(exchange)).ids
    answer = tokens.index(tokenizer.token_to_id(TURNS[1])) + 1
    closed = [*tokens, END_ID][: answer + ANSWER]
    return Row(np.array(closed, np.uint16), answer, exchange.kind)


def write_shard(path: Path, tokenizer_file: Path, grammar: Grammar, seed: int, indices: range) -> None:
    """Writes the exchanges of `indices` to `path`, which is complete as soon as it exists."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    rows = [encode(tokenizer, grammar(seed, index)) for index in indices]
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        np.savez(
            file,
            tokens=np.concatenate([row.tokens for row in rows]),
            lengths=np.array([len(row.tokens) for row in rows], np.int32),
            answers=np.array([row.answer for row in rows], np.int32),
            kinds=np.array([row.kind for row in rows]),
        )
    partial.replace(path)


def read_shard(path: Path) -> list[Row]:
    """The rows of one shard."""
    with np.load(path, allow_pickle=False) as shard:
        starts = np.cumsum(shard["lengths"])[:-1]
        tokens = np.split(shard["tokens"], starts)
        return [Row(*row) for row in zip(tokens, shard["answers"].tolist(), shard["kinds"].tolist(), strict=True)]


def _begin_worker() -> None:
    """One thread for the tokenizer, and an end to this process when the one that started it is gone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = parent_process()
    if parent is None:
        return

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class Shards:
    """The shards of a run: those that are missing are written in the background while training goes on.

    With `workers` 0 they are written when they are asked for. A shard that is not there yet is waited for.
    """

    def __init__(self, work: Path, grammar: Grammar, seed: int, exchanges: int, workers: int):
        self.folder = work / "shards"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tokenizer = work / "tokenizer" / "tokenizer.json"
        self._grammar, self._seed = grammar, seed
        self._indices = [
            range(start, min(start + SHARD, exchanges)) for start in range(0, exchanges, SHARD)
        ]
        self._rows: dict[int, list[Row]] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._written: dict[int, Future[None]] = {}
        missing = [number for number in range(len(self)) if not self.path(number).exists()]
        if workers and missing:
            self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker)
            self._written = {n: self._pool.submit(write_shard, *self._task(n)) for n in missing}

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, number: int) -> list[Row]:
        if number not in self._rows:
            if number in self._written:
                self._written[number].result()
            elif not self.path(number).exists():
                write_shard(*self._task(number))
            self._rows[number] = read_shard(self.path(number))
        return self._rows[number]

    def path(self, number: int) -> Path:
        return self.folder / f"{number:05}.npz"

    def waiting(self) -> int:
        """How many shards are still to be written in the background."""
        return sum(not future.done() for future in self._written.values())

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _task(self, number: int) -> tuple[Path, Path, Grammar, int, range]:
        return self.path(number), self._tokenizer, self._grammar, self._seed, self._indices[number]


@dataclass(frozen=True)
class Batch:
    """Sequences in one long row, grouped by length.

    Attributes:
        shapes: (sequences, padded length) of each group.
        tokens, positions: [padded tokens] int64.
        real: [padded tokens] float32, one over the number of real tokens, zero on padding.
        before, targets: [answer tokens] int64: where the state stands that must predict the target.
        kinds: [answer tokens], the kind of exchange.
    """

    shapes: list[tuple[int, int]]
    tokens: np.ndarray
    positions: np.ndarray
    real: np.ndarray
    before: np.ndarray
    targets: np.ndarray
    kinds: np.ndarray


def batch_of(rows: list[Row], groups: int = GROUPS) -> Batch:
    """The rows as one batch.

    >>> batch = batch_of([Row(np.array([1, 7, 8, 2]), 2, "story"), Row(np.array([1, 7, 2]), 2, "story")], 1)
    >>> batch.shapes, batch.tokens.tolist()
    ([(2, 4)], [1, 7, 2, 3, 1, 7, 8, 2])
    >>> batch.before.tolist(), batch.targets.tolist()
    ([1, 5, 6], [2, 8, 2])
    """
    ordered = sorted(rows, key=lambda row: len(row.tokens))
    shapes, tokens, positions, before, kinds = [], [], [], [], []
    start = 0
    for bounds in np.array_split(np.arange(len(ordered)), min(groups, len(ordered))):
        group = [ordered[index] for index in bounds]
        length = len(group[-1].tokens)
        padded = np.full((len(group), length), PAD_ID, np.int64)
        for line, row in zip(padded, group, strict=True):
            line[: len(row.tokens)] = row.tokens
            before.append(np.arange(start + row.answer - 1, start + len(row.tokens) - 1))
            kinds.append(np.repeat(row.kind, len(row.tokens) - row.answer))
            start += length
        shapes.append(padded.shape)
        tokens.append(padded.ravel())
        positions.append(np.tile(np.arange(length), len(group)))
    flat, places = np.concatenate(tokens), np.concatenate(before)
    real = (flat != PAD_ID).astype(np.float32)
    return Batch(
        shapes, flat, np.concatenate(positions), real / real.sum(), places, flat[places + 1],
        np.concatenate(kinds),
    )  # fmt: skip


class Place(NamedTuple):
    """How far the stream of batches has been read: the next batch to come."""

    epoch: int = 0
    window: int = 0
    batch: int = 0


def batches(shards: Shards, tokens: int, seed: int, place: Place = Place()) -> Iterator[tuple[Place, Batch]]:
    """Batches of about `tokens` real tokens without end, from `place` on, each with the place after it.

    The first time through, shards come in the order in which they are written, later in a random order. All
    exchanges of a window of shards are shuffled; what does not fill its last batch is left out.
    """
    epoch, first_window, first_batch = place
    while True:
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(shards)) if epoch else np.arange(len(shards))
        windows = [order[start : start + WINDOW].tolist() for start in range(0, len(order), WINDOW)]
        for window in range(first_window, len(windows)):
            rows = [row for number in windows[window] for row in shards[number]]
            shuffled = np.random.default_rng([seed, epoch, window]).permutation(len(rows))
            ends = np.cumsum([len(rows[index].tokens) for index in shuffled])
            count = max(1, int(ends[-1]) // tokens)
            cuts = np.searchsorted(ends, tokens * np.arange(1, count), side="left") + 1
            parts = np.split(shuffled, cuts)
            parts[-1] = parts[-1][: np.searchsorted(ends, tokens * count) + 1 - (cuts[-1] if count > 1 else 0)]
            for number in range(first_batch, count):
                yield Place(epoch, window, number + 1), batch_of([rows[index] for index in parts[number]])
            first_batch = 0
        epoch, first_window = epoch + 1, 0
