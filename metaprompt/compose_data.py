"""Prompts without a download: records like those of TinyStories, composed from the repo's own word lists.

Writes data{NN}.json, a JSON list of records with drawn words and features, as split_data.py reads them. The words
are the simple ones that the bundled model knows. For a corpus after the published recipe, take the records of
TinyStories_all_data.tar.gz instead (README). The prompts are free to use in any way.

    cd metaprompt && python compose_data.py --data_idx 0 --count 100000
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from babistories import cli
from babistories.files import DataError, atomic_writer, exclusive, make_folder
from babistories.prompts import FEATURES, tinystories_prompt
from babymixtral import words

FEATURE_COUNTS = (0.3, 0.4, 0.2, 0.1)  # shares of prompts with 0, 1, 2 and 3 features


def compose(draw: random.Random) -> dict:
    """One record. Its words are a verb, a noun and an adjective, as in TinyStories."""
    chosen = [draw.choice(list(kind)) for kind in (words.verbs(), words.nouns(), words.adjectives())]
    count = draw.choices(range(len(FEATURE_COUNTS)), FEATURE_COUNTS)[0]
    features = draw.sample(list(FEATURES), count)
    prompt = tinystories_prompt(chosen, features, draw.random() < 0.5, draw.random() < 0.5)
    instruction = {"prompt:": prompt, "words": chosen, "features": features}
    return {"story": "", "instruction": instruction, "summary": "", "source": "composed"}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--metaprompt_dir", type=Path, default=Path(__file__).resolve().parent,
                        help="write here (default: where this script stands)")
    parser.add_argument("--data_idx", type=cli.indices, default=[0], help="files to make, such as 0-24 (default 0)")
    parser.add_argument("--count", type=cli.number(int, 1, 10**7), default=100_000,
                        help="records a file (default 100000)")
    parser.add_argument("--seed", type=cli.number(int, 0), default=0, help="default 0")
    args = parser.parse_args(argv)

    folder = make_folder(args.metaprompt_dir)
    paths = [folder / f"data{idx:02d}.json" for idx in args.data_idx]
    for path in paths:
        if path.exists() and b'"composed"' not in path.read_bytes()[:9999]:
            raise DataError(f"{path} was not made by this script: move it away, or name another --data_idx")
    for idx, path in zip(args.data_idx, paths, strict=True):
        draw = random.Random(f"{args.seed}/{idx}")
        with exclusive(folder / f".{path.stem}.lock"), atomic_writer(path) as file:
            json.dump([compose(draw) for _ in tqdm(range(args.count), desc=path.name, unit="record")], file)
    print(f"{len(paths)} x {args.count} records composed in {folder}")
    return 0


if __name__ == "__main__":
    cli.run(main)
