"""What a run of stage 4 would do: its first prompts and its files, without a model; its cost, from a sample."""

import sys
from collections.abc import Callable, Sequence

from babistories.plans import Plan
from babistories.prompts import story_text
from babistories.shards import Shard
from babistories.work import Run

_PROMPTS, _SHARDS = 3, 5  # are shown


def dry_run(shards: Sequence[Shard], plan: Callable[[Shard], Plan]) -> int:
    """Print the first prompts, with the opening that the answer begins with, and what would be written."""
    first = plan(shards[0])
    asks = [first.ask(row) for row in range(min(_PROMPTS, first.rows))]
    lines = []
    for ask in asks:
        lines += [f"{first.shard.name}, row {ask.row}:", ask.problem or story_text(ask.prompt, ask.opening), ""]
    lines.append(f"Would be written to {first.shard.folder} ({len(shards):,} shards; nothing was written now):")
    for shard in shards[:_SHARDS]:
        names = f"{shard.text.name}, {shard.prompts.name}, {shard.manifest.name}"
        lines.append(f"  {names}: {_state(shard, plan(shard).rows)}")
    if len(shards) > _SHARDS:
        lines.append(f"  and so on, to {shards[-1].text.name}")
    print("\n".join(lines))
    return 0


def _state(shard: Shard, rows: int) -> str:
    if shard.text.exists():
        manifest = shard.read_manifest()
        there = manifest["rows"] if manifest else rows
        return "complete" if there >= rows else f"{there:,} of {rows:,} stories are there"
    if shard.partial.exists():
        return f"{len(shard.read_partial()[1]):,} of {rows:,} stories are there"
    return f"{rows:,} stories"


def estimate(run: Run) -> int:
    """Print what a run would cost."""
    from babistories.estimate import Estimate  # with what stage 5 needs

    asked = Estimate(run)
    print("loading the model; then a sample is made, which takes some minutes at most", file=sys.stderr)
    print(asked.told(asked.sample()))
    return 0
