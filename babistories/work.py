"""The run: shards are opened one after the other, their rows flow through one engine, and come back in any order.

The engine asks for the next row whenever it has room, so a new shard starts while the last rows of the one before
are still being made. Over a range, shards that are complete, and shards that another process is writing, are passed
over; the latter are looked at again at the end, when that process has finished them or died.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tqdm import tqdm

from babistories.engines import Completion, Engine, Request
from babistories.files import DataError, HeldElsewhere
from babistories.plans import Ask, Plan
from babistories.shards import ShardWriter

PlanMaker = Callable[[], Plan]
_POLL_SECONDS = 2.0


@dataclass(eq=False)
class _OpenShard:
    """A shard while this process writes it."""

    plan: Plan
    writer: ShardWriter
    started: float = field(default_factory=time.monotonic)
    asked: dict[int, Ask] = field(default_factory=dict)  # rows at the engine
    all_asked: bool = False
    made: int = 0
    failed: int = 0


class Run:
    """Makes all shards of some plans with one engine, which is loaded when the first missing row is met.

    `plans` are functions because a plan reads its prompt file, and a range has thousands. `facts` goes into every
    manifest. `progress` shows rows, tokens a second and the time left on stderr.
    """

    def __init__(self, plans: Iterable[PlanMaker], load_engine: Callable[[], Engine], rows: int, unit: str,
                 facts: dict[str, str] | None = None):
        self.plans, self.load_engine, self.facts = list(plans), load_engine, facts or {}
        self.engine: Engine | None = None
        self.open: list[_OpenShard] = []
        self.failed = self.tokens = 0
        self.unusable = 0
        self.started = time.monotonic()
        self.bar = tqdm(total=rows, unit=unit, file=sys.stderr, dynamic_ncols=True, smoothing=0.05)

    def __call__(self) -> int:
        """Run to the end. Returns the exit status: 1 when rows failed and their shards stay partial."""
        try:
            waiting = self.plans
            while waiting:
                held: list[PlanMaker] = []
                first = next(requests := self._requests(waiting, held), None)
                if first is not None:
                    self.engine = self.engine or self.load_engine()
                    for completions in self.engine.generate(itertools.chain([first], requests)):
                        self._keep(completions)
                if len(held) == len(waiting):  # nothing but shards of others left
                    time.sleep(_POLL_SECONDS)
                waiting = held
        finally:
            for shard in self.open:
                shard.writer.close()
            self.bar.close()
        if self.failed:
            self._say(f"error: {self.failed} rows failed; their shards stay partial: run the same command again")
        if self.unusable:
            self._say(f"error: {self.unusable} shards were not made (see above)")
        return 1 if self.failed or self.unusable else 0

    def _requests(self, plans: list[PlanMaker], held: list[PlanMaker]) -> Iterator[Request]:
        for make_plan in plans:
            try:
                plan = make_plan()
                writer = ShardWriter(plan.shard, plan.fingerprint, plan.rows, plan.of).open()
            except DataError as error:
                if len(self.plans) == 1:
                    raise
                if isinstance(error, HeldElsewhere):
                    held.append(make_plan)
                    if plans is self.plans:
                        self._say(f"{error}: looked at again at the end")
                else:  # costs this shard, not the range
                    self.unusable += 1
                    self._say(f"error: {error}")
                continue
            if writer.complete:
                writer.close()
                self._say(f"{plan.shard.text} is complete: nothing to do")
                self.bar.update(plan.rows)
                continue
            yield from self._rows(_OpenShard(plan, writer))

    def _rows(self, shard: _OpenShard) -> Iterator[Request]:
        self.open.append(shard)
        missing = shard.writer.missing
        self.bar.update(shard.plan.rows - len(missing))
        if len(missing) < shard.plan.rows:
            self._say(f"{shard.plan.shard.partial}: going on after {shard.plan.rows - len(missing)} rows")
        for row in missing:
            ask = shard.plan.ask(row)
            if ask.problem:
                self._say(f"passed over: {ask.problem}")
                shard.writer.add({"row": row, "skipped": ask.problem})
                self.bar.update(1)
                continue
            assert ask.stream is not None
            shard.asked[row] = ask
            yield Request((shard, row), ask.prompt, ask.opening, ask.stream, ask.seed)
        shard.all_asked = True
        self._finish_if_done(shard)

    def _keep(self, completions: list[Completion]) -> None:
        by_shard: dict[_OpenShard, list[Completion]] = {}
        for completion in completions:
            by_shard.setdefault(completion.key[0], []).append(completion)
        for shard, group in by_shard.items():
            records = []
            for completion in group:
                ask = shard.asked.pop(completion.key[1])
                if completion.finish == "error":
                    shard.failed += 1
                    self._say(f"{shard.plan.shard.name}, row {ask.row}: {completion.error}")
                    continue
                records.append(shard.plan.keep(ask, completion))
                self.tokens += completion.tokens
            if records:
                shard.writer.add(*records)
            shard.made += len(records)
            self.bar.set_postfix_str(f"{self.tokens / (time.monotonic() - self.started):,.0f} tok/s", refresh=False)
            self.bar.update(len(group))
            self._finish_if_done(shard)

    def _finish_if_done(self, shard: _OpenShard) -> None:
        if not shard.all_asked or shard.asked:
            return
        seconds = time.monotonic() - shard.started
        if shard.failed:
            self.failed += shard.failed
        else:
            engine = self.engine.describe() if self.engine else {}
            facts = {**engine, **self.facts, **shard.plan.facts}
            shard.writer.finish({**facts, "seconds": round(seconds, 3), "made_in_last_run": shard.made})
            self._say(f"{shard.plan.shard.text}: {shard.writer.rows} rows in {seconds:.1f} s")
        shard.writer.close()
        self.open.remove(shard)

    def _say(self, message: str) -> None:
        tqdm.write(message, file=sys.stderr)
