"""The undisturbed run that all others are held against, and the figures of a session of fault tests."""

import json
import os
import platform
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import pipeline
from tests.faults.pipeline import ROOT, STAGES, TORTURE, Stage

RESULTS = ROOT / "benchmarks" / "results" / "torture.json"
PAGE = ROOT / "docs" / "RELIABILITY.md"


class Figures:
    """What this session did and what it found, counted from several threads."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter({"lost rows": 0, "repeated rows": 0})
        self.lock = threading.Lock()

    def add(self, what: str, count: int = 1) -> None:
        with self.lock:
            self.counts[what] += count

    def compare_rows(self, folder: Path, wanted: Path) -> None:
        """Count rows of stories that were lost, or that stand in the files twice."""
        found, all_of_them = pipeline.rows(folder), pipeline.rows(wanted)
        self.add("lost rows", len(set(all_of_them) - set(found)))
        self.add("repeated rows", len(found) - len(set(found)))


FIGURES = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@dataclass(frozen=True)
class Point:
    """A stage with the folder as it is before it and after it, and the number of steps between."""

    stage: Stage
    before: Path
    after: Path
    steps: list[str]


@pytest.fixture(scope="session")
def points(tmp_path_factory) -> dict[str, Point]:
    """The whole pipeline, run once without a fault, stage by stage."""
    parent = tmp_path_factory.mktemp("undisturbed")
    folder = pipeline.prepare(parent / "0")
    found = {}
    for number, stage in enumerate(STAGES, start=1):
        after, log = pipeline.copy(folder, parent / str(number)), parent / f"{number}.log"
        pipeline.finish(stage.command(after), after, log=log)
        found[stage.name] = Point(stage, folder, after, log.read_text().splitlines())
        folder = after
    return found


def pytest_terminal_summary(terminalreporter) -> None:
    if not any(count for what, count in FIGURES.counts.items() if not what.endswith("rows")):
        return
    line = json.dumps(dict(sorted(FIGURES.counts.items())))
    terminalreporter.write_line(f"faults: {line}")
    if TORTURE and not terminalreporter.stats.get("failed") and not terminalreporter.stats.get("error"):
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
        facts = {"date": time.strftime("%Y-%m-%d"), "machine": machine, **json.loads(line)}
        RESULTS.write_text(json.dumps(facts, indent=1) + "\n")
        rows = "".join(f"| {what} | {count:,d} |\n" for what, count in json.loads(line).items())
        table = f"Run on {facts['date']}: {machine}.\n\n| what | count |\n|---|---|\n{rows}"
        text = re.sub(r"(<!-- torture -->\n).*(<!-- end -->)", rf"\g<1>{table}\2", PAGE.read_text(), flags=re.DOTALL)
        PAGE.write_text(text)
