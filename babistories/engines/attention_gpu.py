"""Attention over pages on a GPU: plain PyTorch, right before fast."""

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from babistories.engines.attention import PAGE, Pool, Tile


class GpuPool(Pool):
    """Keys and values (pages, PAGE, kv heads, size)."""

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tile: Tile,
               scale: float, window: int | None) -> torch.Tensor:
        if layer not in self.layers:
            self.layers[layer] = [torch.zeros(self.pages, PAGE, len(new), new.shape[-1], dtype=new.dtype,
                                              device=new.device) for new in (key, value)]
        keys, values = self.layers[layer]
        if "runs" not in tile.plans:
            tile.plans["runs"] = _runs(tile)
        page, place = tile.write_to
        keys[page, place], values[page, place] = key.transpose(0, 1), value.transpose(0, 1)

        out = query.new_empty(query.shape[1], query.shape[0], value.shape[-1])
        for which, pages, positions in tile.plans["runs"]:  # (rows, tokens of each), (rows, pages), as which
            asked = query[:, which].transpose(0, 1)  # (rows, heads, tokens, size)
            key, value = (table[pages].flatten(1, 2).transpose(1, 2) for table in (keys, values))
            seen = torch.arange(pages.shape[1] * PAGE, device=query.device)
            mask = seen <= positions[:, None, :, None]
            if window:
                mask &= seen > positions[:, None, :, None] - window
            made = scaled_dot_product_attention(asked, key, value, attn_mask=mask, scale=scale, enable_gqa=True)
            out[which] = made.transpose(1, 2)
        return out


def _runs(tile: Tile) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """The tile's tokens in groups that go through one call: single tokens of many rows, then each row's prompt."""
    rows, counts = np.unique(tile.rows, return_counts=True)
    single = np.flatnonzero(np.isin(tile.rows, rows[counts == 1]))
    groups = [single[:, None]] if len(single) else []
    groups += [np.flatnonzero(tile.rows == row)[None] for row in rows[counts > 1]]
    runs = []
    for which in groups:
        positions = tile.positions[which]
        pages = tile.pages[tile.rows[which[:, 0]], : positions.max() // PAGE + 1]
        runs.append(tuple(torch.from_numpy(array).to(tile.device) for array in (which, pages, positions)))
    return runs  # type: ignore[return-value]
