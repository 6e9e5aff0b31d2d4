"""Stage 3: cut the prompt files into shards of 1,000 prompts.

Reads data{NN}.json (of TinyStories_all_data.tar.gz, or made by compose_data.py) and writes data{NN}_{K}.json. A
record that cannot be used keeps its place, so that the others keep their numbers; it is counted here and passed over
by generate.py. A file of 100,000 records gives the shards 0 to 99; what is left over is its last, shorter shard.

    cd metaprompt && python split_data.py
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from babistories import cli
from babistories.files import DataError, atomic_writer, exclusive
from babistories.prompts import Record, read_json_list

PROMPTS_A_SHARD = 1000


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--metaprompt_dir", type=Path, default=Path(__file__).resolve().parent,
                        help="the folder of the prompt files (default: where this script stands)")
    parser.add_argument("--data_idx", type=cli.indices, default=None,
                        help="only these, such as 0 or 0-24 (default: all)")
    args = parser.parse_args(argv)

    folder = args.metaprompt_dir
    paths = sorted(folder.glob("data[0-9][0-9].json"))
    if args.data_idx is not None:
        paths = [folder / f"data{idx:02d}.json" for idx in args.data_idx]
    if not paths:
        raise DataError(f"{folder} holds no data00.json: put the files of TinyStories_all_data.tar.gz there, "
                        "or run metaprompt/compose_data.py")
    for path in tqdm(paths, unit="file"):
        values = read_json_list(path, "metaprompt/compose_data.py, or unpack TinyStories_all_data.tar.gz,")
        problems = [f"{row} {problem}" for row, value in enumerate(values) if (problem := Record.read(value).problem)]
        if len(problems) == len(values):
            raise DataError(f"{path} holds no usable record: unpack TinyStories_all_data.tar.gz again")
        with exclusive(folder / f".{path.stem}.lock"):
            for number, start in enumerate(range(0, len(values), PROMPTS_A_SHARD)):
                with atomic_writer(folder / f"{path.stem}_{number}.json") as file:
                    json.dump(values[start : start + PROMPTS_A_SHARD], file)
        tqdm.write(f"{path.name}: {len(values)} records in {-(-len(values) // PROMPTS_A_SHARD)} shards"
                   + (f", {len(problems)} cannot be used (record {'; '.join(problems[:3])})" if problems else ""))
    return 0


if __name__ == "__main__":
    cli.run(main)
