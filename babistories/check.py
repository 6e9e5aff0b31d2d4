"""A folder of shards held against its manifests: how far a run is, and what is missing, damaged or of another run.

    python -m babistories.check data/

Every complete shard is read: checksums, numbers of rows, the form of each line, and every recipe, drawn again from
the fingerprint's seed and, for stories, from the prompt and list files. Exit status 1 when anything is missing or not
as it should be.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from babistories import cli
from babistories.files import DataError
from babistories.folders import find
from babistories.manifests import ONE_CORPUS, differences
from babistories.plans import REFUSED, NamesAndOpenings, Plan, list_plan, prompt_file, story_plan
from babistories.prompts import answer_of
from babistories.shards import Record, Shard

STAGES = ("startings", "names", "stories")
_ENDLESS = 1 << 32  # answers, of a list shard: more rounds can be asked for at any time


@dataclass
class Findings:
    """What a check found, by stage."""

    complete: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)  # of the complete ones: made with --limit
    partial: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def problem_of(self, what: Shard | Path) -> Iterator[None]:
        """What goes wrong inside is a finding, not an end."""
        try:
            yield
        except DataError as error:
            self.problems.append(str(error))
        except OSError as error:
            self.problems.append(f"{error.filename or what}: {error.strerror or error}")

    @property
    def sound(self) -> bool:
        return not (self.problems or self.missing or self.partial.total())


def check(folder: Path, metaprompt_dir: Path) -> Findings:
    """Check all shards of a folder. Raises DataError only when there is no such folder."""
    found = Findings()
    for stage in STAGES:
        complete = find(folder, stage)
        partial = [shard for shard in find(folder, stage, ".partial") if shard not in complete]
        found.complete[stage], found.partial[stage] = len(complete), len(partial)
        for shard in tqdm([*complete, *partial], desc=stage, unit="shard", disable=not complete):
            with found.problem_of(shard):
                if shard in complete:
                    rows, of = check_shard(shard, metaprompt_dir)
                    found.limited[stage] += rows < of
                else:
                    fingerprint, records, _ = shard.read_partial()
                    rows = len(records)
                    _hold_against_recipes(shard, fingerprint, list(records.values()), metaprompt_dir)
                found.rows[stage] += rows
        found.problems += _other_runs([*complete, *partial])
        # A manifest is written before the text: one without a text or a partial file lost its text.
        for shard in find(folder, stage, ".manifest.json"):
            if shard not in complete and shard not in partial:
                found.problems.append(f"{shard.text} is missing, its manifest is there: make the shard again")
    if metaprompt_dir.is_dir():
        begun = {shard.name for suffix in (".txt", ".partial") for shard in find(folder, "stories", suffix)}
        wanted = sorted(path.stem.removeprefix("data") for path in metaprompt_dir.glob("data[0-9][0-9]_*.json"))
        found.missing = [name for name in wanted if name not in begun]
    return found


def check_shard(shard: Shard, metaprompt_dir: Path) -> tuple[int, int]:
    """Check one complete shard; returns how many rows it has of how many. DataError for the first that is wrong."""
    manifest = shard.read_manifest()
    if manifest is None:
        raise DataError(f"{shard.text} has no manifest: it was made by another program and cannot be checked")
    records = shard.read_records()
    if manifest["fingerprint"].get("shard") != shard.name:
        raise DataError(f"{shard.text} was made as {manifest['fingerprint'].get('shard')}: give it its name back")
    _hold_against_recipes(shard, manifest["fingerprint"], records, metaprompt_dir)
    return len(records), manifest["of"]


def _other_runs(shards: list[Shard]) -> Iterator[str]:
    """Shards that were made with another model or settings than most of a stage."""
    fingerprints = {}
    for shard in shards:
        with contextlib.suppress(DataError, OSError):  # a finding already
            if (fingerprint := shard.read_fingerprint()) is not None:
                fingerprints[shard] = {key: fingerprint.get(key) for key in ONE_CORPUS}
    kinds = Counter(json.dumps(common, sort_keys=True) for common in fingerprints.values())
    usual = json.loads(kinds.most_common(1)[0][0]) if kinds else {}
    for shard, common in fingerprints.items():
        if told := differences(usual, common):
            told = [one.replace("asked for", "but most have") for one in told]
            yield f"{shard.folder / shard.name} is from another run than most ({'; '.join(told)}): move its files away"


def _hold_against_recipes(shard: Shard, fingerprint: Record, records: list[Record], metaprompt_dir: Path) -> None:
    for problem in _recipe_problems(shard, fingerprint, records, metaprompt_dir):
        raise DataError(problem)


def _recipe_problems(shard: Shard, fingerprint: Record, records: list[Record], metaprompt_dir: Path) -> Iterator[str]:
    seed = fingerprint.get("seed")
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        yield f"{shard.folder / shard.name} was edited: its seed is {seed}"
        return
    run = {key: fingerprint.get(key) for key in ONE_CORPUS}
    if shard.stage != "stories":
        yield from _other_rows(shard, list_plan(shard, "", _ENDLESS, seed, run), records)
    elif prompt_file(metaprompt_dir, shard).exists():
        plan = story_plan(shard, metaprompt_dir, NamesAndOpenings.read(shard.folder), None, seed, run)
        sources = {"prompts": prompt_file(metaprompt_dir, shard).name, "names": "allnames.txt",
                   "startings": "allstartings.txt"}
        for key, name in sources.items():
            if plan.fingerprint[key] != fingerprint.get(key):
                yield f"{shard.folder / shard.name} was made with another {name} than the one there is now"
                return
        yield from _other_rows(shard, plan, records)


def _other_rows(shard: Shard, plan: Plan, records: list[Record]) -> Iterator[str]:
    """Rows that are not what the plan draws for them."""
    for record in records:
        if record["row"] >= plan.of:
            yield f"{shard.text}: there is no row {record['row']} to make"
            return
        ask = plan.ask(record["row"])
        if "skipped" in record:
            if not ask.problem and not record["skipped"].startswith(REFUSED):
                yield f"{shard.text}: row {record['row']} was passed over, but its record is good"
            continue
        for key, value in {"seed": ask.seed, **(ask.recipe or {})}.items():
            if record.get(key) != value:
                yield f"{shard.text}, row {record['row']}: {key} is not what the recipe draws"
        if ask.opening:
            try:
                answer = answer_of(record["text"], ask.prompt)
            except ValueError:
                answer = ""
            if not answer.startswith(ask.opening):
                yield f"{shard.text}, row {record['row']}: the text does not begin with its prompt and opening"


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=cli.ROOT / "data", help="default: data/")
    parser.add_argument("--metaprompt_dir", type=Path, default=cli.ROOT / "metaprompt", help="default: metaprompt/")
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    args = parser.parse_args(argv)
    found = check(args.folder, args.metaprompt_dir)
    if args.json:
        print(json.dumps(vars(found)))
        return 0 if found.sound else 1
    for stage in STAGES:
        print(f"{stage:10} {found.complete[stage]:6d} complete, {found.partial[stage]} in the making, "
              f"{found.rows[stage]:,d} rows"
              + f", {found.limited[stage]} shortened by --limit" * bool(found.limited[stage]))
    if found.missing:
        some = ", ".join(found.missing[:8]) + (", ..." if len(found.missing) > 8 else "")
        print(f"missing    {len(found.missing):6d} story shards: {some}")
    for problem in found.problems:
        print(f"problem    {problem}")
    print("all that is there is sound" if not found.problems else f"{len(found.problems)} problems")
    return 0 if found.sound else 1


if __name__ == "__main__":
    cli.run(main)
