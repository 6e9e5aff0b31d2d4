"""A folder of shards held against its manifests: how far a run is, and what is missing, damaged or of another run.

    python -m babistories.check data/

Every complete shard is read: checksums, numbers of rows, the form of each line; for stories also every recipe, drawn
again from the fingerprint's seed and the prompt and list files. Exit status 1 when anything is not as it should be.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from babistories import cli
from babistories.files import DataError
from babistories.plans import NamesAndOpenings, Plan, prompt_file, story_plan
from babistories.prompts import answer_of
from babistories.shards import ONE_CORPUS, Record, Shard, find, refuse_mixed

STAGES = ("startings", "names", "stories")


@dataclass
class Findings:
    """What a check found, by stage."""

    complete: Counter[str] = field(default_factory=Counter)
    partial: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(folder: Path, metaprompt_dir: Path) -> Findings:
    """Check all shards of a folder. Raises DataError only when there is no such folder."""
    found = Findings()
    for stage in STAGES:
        complete, partial = find(folder, stage), find(folder, stage, ".partial")
        found.complete[stage], found.partial[stage] = len(complete), len(set(partial) - set(complete))
        for shard in tqdm(complete, desc=stage, unit="shard", disable=not complete):
            try:
                found.rows[stage] += check_shard(shard, metaprompt_dir)
            except DataError as error:
                found.problems.append(str(error))
        for shard in partial:
            found.rows[stage] += max(0, shard.partial.read_bytes().count(b"\n") - 1) if shard not in complete else 0
        try:
            refuse_mixed(complete)
        except DataError as error:
            found.problems.append(str(error))
        # A manifest is written before the text: one without a text or a partial file lost its text.
        for shard in find(folder, stage, ".manifest.json"):
            if not shard.text.exists() and not shard.partial.exists():
                found.problems.append(f"{shard.text} is missing, its manifest is there: make the shard again")
    if metaprompt_dir.is_dir():
        begun = {shard.name for suffix in (".txt", ".partial") for shard in find(folder, "stories", suffix)}
        wanted = sorted(path.stem.removeprefix("data") for path in metaprompt_dir.glob("data[0-9][0-9]_*.json"))
        found.missing = [name for name in wanted if name not in begun]
    return found


def check_shard(shard: Shard, metaprompt_dir: Path) -> int:
    """Check one complete shard; returns its number of rows. Raises DataError for the first thing that is wrong."""
    manifest = shard.read_manifest()
    if manifest is None:
        raise DataError(f"{shard.text} has no manifest: it was made by another program and cannot be checked")
    try:
        records = shard.read_records()
        rows = [record["row"] for record in records]
        expected = manifest["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{shard.text} or its manifest was edited ({error}): delete both and make it again") from None
    if rows != list(range(expected)):
        raise DataError(f"{shard.text} holds {len(rows)} rows, its manifest says {expected}: "
                        "delete the shard and make it again")
    if manifest["fingerprint"].get("shard") != shard.name:
        raise DataError(f"{shard.text} was made as {manifest['fingerprint'].get('shard')}: give it its name back")
    if shard.stage == "stories" and prompt_file(metaprompt_dir, shard).exists():
        for problem in _recipe_problems(shard, manifest["fingerprint"], records, metaprompt_dir):
            raise DataError(problem)
    return len(rows)


def _recipe_problems(shard: Shard, fingerprint: Record, records: list[Record], metaprompt_dir: Path) -> Iterator[str]:
    lists = NamesAndOpenings.read(shard.folder)
    plan: Plan = story_plan(shard, metaprompt_dir, lists, None, fingerprint.get("seed", 0),
                            {key: fingerprint.get(key) for key in ONE_CORPUS})
    sources = {"prompts": prompt_file(metaprompt_dir, shard).name, "names": "allnames.txt",
               "startings": "allstartings.txt"}
    for key, name in sources.items():
        if plan.fingerprint[key] != fingerprint.get(key):
            yield f"{shard.text} was made with another {name} than the one there is now"
            return
    for record in records:
        ask = plan.ask(record["row"])
        if "skipped" in record:
            if not ask.problem:
                yield f"{shard.text}: row {record['row']} was passed over, but its record is good"
            continue
        for key, value in (ask.recipe or {}).items():
            if record.get(key) != value:
                yield f"{shard.prompts}, row {record['row']}: {key} is not what the recipe draws"
        try:
            answer = answer_of(record["text"], ask.prompt)
        except (ValueError, AttributeError):
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
        return 1 if found.problems else 0
    for stage in STAGES:
        print(f"{stage:10} {found.complete[stage]:6d} complete, {found.partial[stage]} in the making, "
              f"{found.rows[stage]:,d} rows")
    if found.missing:
        some = ", ".join(found.missing[:8]) + (", ..." if len(found.missing) > 8 else "")
        print(f"missing    {len(found.missing):6d} story shards: {some}")
    for problem in found.problems:
        print(f"problem    {problem}")
    print("all that is there is sound" if not found.problems else f"{len(found.problems)} problems")
    return 1 if found.problems or found.missing or found.partial.total() else 0


if __name__ == "__main__":
    cli.run(main)
