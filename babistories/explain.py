"""One story before and after stage 5, with the rule that acted."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from babistories.files import DataError
from babistories.judging import Judge, Rules
from babistories.shards import Record
from babistories.sources import Raw, Unit, read
from babistories.summary import EXPLAINED


def explain(units: Iterable[Unit], shard: str, row: int, rules: Rules, ledger: Path) -> Iterator[str]:
    """What happens to one story, as lines to print. Raises DataError when there is no such story."""
    raw = next((raw for unit in units if unit.name == shard for raw in read(unit) if raw.row == row), None)
    if raw is None:
        raise DataError(f"there is no row {row} in a complete shard {shard} here: shards are named like 00_17")
    line, story, _ = Judge(rules).story(raw)
    yield f"{shard}, row {row}, {_asked(raw)}"
    yield from ("", "--- before", raw.text or "")
    if line["cut"]:
        yield from ("", f"--- cut by {line['rule']}: {EXPLAINED[line['rule']]}", line["cut"])
    if story is None:
        yield from ("", f"--- not kept, {line['reason']}: {EXPLAINED[line['reason']]}")
    else:
        yield from ("", "--- after", story)
    yield from ("", "--- does what it was asked")
    yield f"words {line['words']}, name {line['name']}, opening {line['opening']}, features {line['features']}"
    if entry := _entry(ledger, shard, row):
        yield from ("", f"--- in {ledger}", json.dumps(entry, ensure_ascii=False))


def _asked(raw: Raw) -> str:
    asked = raw.asked
    return (f"asked for the words {', '.join(asked.words) or 'none'}, the name {asked.name}, the opening "
            f"{asked.starting!r} and {', '.join(asked.features) or 'no features'}; finish: {raw.finish}")  # fmt: skip


def _entry(ledger: Path, shard: str, row: int) -> Record | None:
    """The ledger's line about a story, or None where it has none."""
    if not ledger.exists():
        return None
    start = json.dumps({"shard": shard, "row": row})[:-1]
    with open(ledger, encoding="utf-8", errors="replace", newline="\n") as file:
        found = next((line for line in file if line.startswith(start + ",")), None)
    return json.loads(found) if found else None
