"""Stage 3: composed prompts, and prompt files cut into shards."""

import json

import pytest

from babistories.prompts import FEATURES, Record


def test_composed_prompts_are_like_those_of_tinystories(tmp_path, run_script):
    run_script("metaprompt/compose_data.py", "--metaprompt_dir", tmp_path, "--data_idx", "0,3", "--count", 300)
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("data00.json", "data03.json"))
    assert len(first) == len(second) == 300 and first != second
    for value in first:
        assert set(value) == {"story", "instruction", "summary", "source"}
        record = Record.read(value)
        verb, noun, adjective = record.words
        assert f'the verb "{verb}", the noun "{noun}" and the adjective "{adjective}".' in record.prompt
        assert all(FEATURES[feature] in record.prompt for feature in record.features)
    before = (tmp_path / "data00.json").read_bytes()
    run_script("metaprompt/compose_data.py", "--metaprompt_dir", tmp_path, "--count", 300)
    assert (tmp_path / "data00.json").read_bytes() == before


def test_composing_does_not_replace_downloaded_prompts(tmp_path, run_script):
    (tmp_path / "data00.json").write_text('[{"source": "GPT-4"}]')
    done = run_script("metaprompt/compose_data.py", "--metaprompt_dir", tmp_path, "--count", 5, status=1)
    assert "was not made by this script" in done.stderr
    assert (tmp_path / "data00.json").read_text() == '[{"source": "GPT-4"}]'


def test_shards_of_a_thousand_with_bad_records_in_their_place(tmp_path, run_script):
    values = [{"instruction": {"prompt:": f"p{number}"}} for number in range(2345)]
    values[1500] = "bad"
    (tmp_path / "data07.json").write_text(json.dumps(values))
    done = run_script("metaprompt/split_data.py", "--metaprompt_dir", tmp_path)
    assert "2345 records in 3 shards, 1 cannot be used (record 1500 has no" in done.stdout
    shards = [json.loads((tmp_path / f"data07_{number}.json").read_text()) for number in range(3)]
    assert [len(shard) for shard in shards] == [1000, 1000, 345]
    assert sum(shards, []) == values


def test_only_the_named_files_are_split(tmp_path, run_script):
    for number in range(3):
        (tmp_path / f"data0{number}.json").write_text('[{"instruction": {"prompt:": "p"}}]')
    run_script("metaprompt/split_data.py", "--metaprompt_dir", tmp_path, "--data_idx", "1-2")
    assert sorted(path.name for path in tmp_path.glob("*_*.json")) == ["data01_0.json", "data02_0.json"]


@pytest.mark.parametrize(("content", "message"), [
    (None, "holds no data00.json"), (b"{}", "does not hold a JSON list"), (b"[1,", "is not JSON"),
    (b"[]", "no usable record"), (b'["\xff"]', "is not UTF-8"),
])
def test_unusable_files_are_named(tmp_path, run_script, content, message):
    if content is not None:
        (tmp_path / "data00.json").write_bytes(content)
    done = run_script("metaprompt/split_data.py", "--metaprompt_dir", tmp_path, status=1)
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*_*.json"))
