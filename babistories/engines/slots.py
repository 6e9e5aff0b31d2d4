"""Rows in the making, and the lane they share: what each forward pass works on.

A lane has a fixed number of slots. Each of its steps is one forward pass over a tile of tokens: the next token of
every row that has read its prompt, and in the room that is left the prompts of rows that came in. A row that ends
leaves its slot at once.

On a CPU a tile always has the same number of tokens, padded where there are fewer. So every product in the model
runs at one shape whatever the batch, and a row's numbers cannot depend on its neighbours.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from babistories.engines import Sampling
from babistories.engines.attention import PAGE, SCRATCH, Pool, Tile
from babistories.engines.sampling import choose
from babistories.streams import Stream


@dataclass(eq=False)
class Row:
    """A request in the making."""

    key: Any  # of the request
    stream: Stream
    tokens: list[int]  # the prompt's, then the new ones
    prompt_size: int
    limit: int  # tokens in all
    finish: str = ""  # "stop", "length" or "error" at the end
    stored: int = 0  # tokens whose keys and values are in the pages
    slot: int = -1
    pages: list[int] = field(default_factory=list)

    @property
    def new_tokens(self) -> list[int]:
        return self.tokens[self.prompt_size :]

    @property
    def pages_needed(self) -> int:
        return -(-self.limit // PAGE)


class Lane:
    """A fixed number of slots that go through the model together.

    `stops` are the tokens that end a text. `tile` is the number of tokens of a forward pass: on a CPU exactly, on a
    GPU (`pad` False) at most.
    """

    def __init__(self, model: PreTrainedModel, pool: Pool, slots: int, tile: int, pad: bool, sampling: Sampling,
                 stops: set[int]):
        self.model, self.pool, self.tile, self.pad = model, pool, tile, pad
        self.sampling, self.stops = sampling, stops
        self.slots = slots
        self.rows: list[Row] = []
        self.empty = list(range(slots - 1, -1, -1))
        self.table = np.full((slots + 1, 1), SCRATCH, dtype=np.int64)

    @property
    def has_room(self) -> bool:
        return bool(self.empty)

    def admit(self, row: Row) -> bool:
        """Give a row a slot and pages. False when there are too few free pages for now."""
        if (missing := row.pages_needed - len(self.pool.free)) > 0:
            if self.rows:
                return False
            self.pool.grow(missing)
        row.slot, row.pages = self.empty.pop(), self.pool.take(row.pages_needed)
        if (more := len(row.pages) - self.table.shape[1]) > 0:
            self.table = np.pad(self.table, ((0, 0), (0, more)), constant_values=SCRATCH)
        self.table[row.slot, : len(row.pages)] = row.pages
        self.rows.append(row)
        return True

    def run(self, stopped: threading.Event) -> list[Row]:
        """Steps until rows end, which are returned, or until `stopped` is set by another thread."""
        ended: list[Row] = []
        while not ended and not stopped.is_set():
            ended = self.step()
        return ended

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One forward pass, and the next token of every row that is ready for it. Returns the rows that ended."""
        parts = self.parts()
        logits = self.forward(parts)
        ready = [row for row, count in parts if row.stored + count == len(row.tokens)]
        steps = [len(row.tokens) - row.prompt_size for row in ready]
        chosen = choose(logits, [row.stream for row in ready], steps, self.sampling) if ready else []
        for row, count in parts:
            row.stored += count
        for row, token in zip(ready, chosen, strict=True):
            self._append(row, token)
        ended = [row for row in ready if row.finish]
        for row in ended:
            self._release(row)
        return ended

    def clear(self) -> None:
        """Drop all rows."""
        for row in list(self.rows):
            self._release(row)

    def parts(self) -> list[tuple[Row, int]]:
        """Rows with how many of their tokens go into this step: first those that wait for one, then prompts."""
        room = self.tile
        parts = []
        for row in sorted(self.rows, key=lambda row: len(row.tokens) - row.stored > 1):  # stable: first come first
            count = min(len(row.tokens) - row.stored, room)
            if count:
                parts.append((row, count))
                room -= count
        return parts

    def forward(self, parts: list[tuple[Row, int]]) -> torch.Tensor:
        """Logits (ready rows, vocabulary), float32, of the rows whose last token is among their part."""
        total = self.tile if self.pad else sum(count for _, count in parts)
        tokens, positions = np.zeros(total, dtype=np.int64), np.zeros(total, dtype=np.int64)
        rows = np.full(total, self.slots, dtype=np.int64)
        start, keep = 0, []
        for row, count in parts:
            here = slice(start, start := start + count)
            tokens[here] = row.tokens[row.stored : row.stored + count]
            positions[here] = np.arange(row.stored, row.stored + count)
            rows[here] = row.slot
            if row.stored + count == len(row.tokens):
                keep.append(start - 1)
        device = self.model.device
        tile = Tile(tokens, rows, positions, self.table, self.pool, device)
        with tile.running():
            out = self.model(
                input_ids=torch.from_numpy(tokens).to(device).unsqueeze(0),
                position_ids=torch.from_numpy(positions).to(device).unsqueeze(0),
                use_cache=False, logits_to_keep=torch.tensor(keep, dtype=torch.int64, device=device),
            )
        return out.logits[0].float()

    def _append(self, row: Row, token: int) -> None:
        if token < 0:
            row.finish = "error"
        elif token in self.stops:
            row.finish = "stop"
        else:
            row.tokens.append(token)
            if len(row.tokens) == row.limit:
                row.finish = "length"

    def _release(self, row: Row) -> None:
        self.rows.remove(row)
        self.empty.append(row.slot)
        self.table[row.slot] = SCRATCH
        self.pool.give_back(row.pages, wipe=row.finish == "error")
