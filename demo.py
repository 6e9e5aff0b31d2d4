"""The five stages on this machine with the bundled model: `make demo`. Writes demo/ only.

Run again, it continues where it was stopped, or says that all is complete. Any option is handed to the generating
stages; --stories N makes N stories instead of 64.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from babistories import cli
from babistories.shards import Shard

ROOT = Path(__file__).resolve().parent
DEMO = ROOT / "demo"
DATA, METAPROMPT, MODEL = DEMO / "data", DEMO / "metaprompt", ROOT / "babymixtral"


def stage(title: str, *command: object) -> None:
    """Run one command of the pipeline, shown as a user would type it."""
    words = [str(word.relative_to(ROOT)) if isinstance(word, Path) else str(word) for word in command]
    print(f"\n== {title}\n$ python {shlex.join(words)}", flush=True)
    if status := subprocess.run([sys.executable, *words], cwd=ROOT).returncode:
        sys.exit(status)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", type=cli.number(int, 1, 1000), default=64)
    args, options = parser.parse_known_args(argv)
    model = ["--model", MODEL, "--out_dir", DATA, *options]
    started = time.monotonic()

    stage("Stage 1: ways to open a story", "generate_starting.py", "--idx", "0-1", "--rounds", 6, *model)
    stage("Stage 1: the second question", "generate_starting.py", "--idx", "0-1p2", "--rounds", 6, *model)
    stage("Stage 2: first names", "generate_names.py", "--idx", "0-1", "--rounds", 6, *model)
    stage("The lists", "data/filter_starting.py", "--data_dir", DATA)
    stage("The lists", "data/filter_name.py", "--data_dir", DATA)
    compose = ["--metaprompt_dir", METAPROMPT, "--count", 1000]
    stage("Prompts without a download", "metaprompt/compose_data.py", *compose)
    stage("Stage 3: prompts in shards of 1,000", "metaprompt/split_data.py", "--metaprompt_dir", METAPROMPT)
    indices = ["--data_idx", 0, "--sub_data_idx", 0, "--limit", args.stories, "--metaprompt_dir", METAPROMPT]
    stage("Stage 4: stories", "generate.py", *indices, *model)
    stage("Stage 5: a clean corpus", "data/filter_tinystories.py", "--data_dir", DATA)

    stories = [json.loads(line) for line in (DATA / "stories_clean.txt").read_text(encoding="utf-8").split("\n")[:3]]
    print("\n== Three stories\n\n" + "\n\n".join(stories))
    manifest = Shard(DATA, "stories", 0, 0).read_manifest() or {}
    ledger = [json.loads(line) for line in (DATA / "ledger.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    kept = sum(row["kept"] for row in ledger)
    print(f"\n== {kept} of {len(ledger)} stories kept ({kept / len(ledger):.0%}), {time.monotonic() - started:.0f} s")
    print(f"openings {DATA / 'allstartings.txt'}\nnames    {DATA / 'allnames.txt'}\nprompts  {METAPROMPT}")
    print(f"stories  {DATA / '00_0.txt'}\ncorpus   {DATA / 'stories_clean.txt'}\nledger   {DATA / 'ledger.jsonl'}")
    print(f"report   {DATA / 'report.html'}")
    print(f"\n{manifest.get('notice', '')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
