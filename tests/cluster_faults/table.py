"""The faults of docs/faults.md, tried one by one: `make faults` prints fault, tests, outcome and seconds as Markdown.

python -m tests.cluster_faults.table [NUMBER ...]     some of them, by number; default: all
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "faults.md"
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
_ORDER = ("passed", "skipped", "failed")


@dataclass(frozen=True)
class Fault:
    """One row of docs/faults.md: its number, what goes wrong, what comes of it, and the ids of the tests."""

    number: int
    what: str
    outcome: str
    tests: tuple[str, ...]


def faults() -> list[Fault]:
    """All rows of docs/faults.md."""
    return [
        Fault(int(number), what, outcome, tuple(f"tests/{name}" for name in re.findall(r"`([^`]+::[^`]+)`", tests)))
        for number, what, outcome, tests in _ROW.findall(DOCUMENT.read_text())
    ]


class Outcomes:
    """A pytest plugin: the worst outcome and the seconds of every test."""

    def __init__(self) -> None:
        self.outcome: dict[str, str] = {}
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for a test's set-up, call and tear-down."""
        known = self.outcome.get(report.nodeid, "passed")
        self.outcome[report.nodeid] = max(known, report.outcome, key=_ORDER.index)
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def of(self, test: str) -> tuple[str, float]:
        """Outcome and seconds of a test with all its parameters."""
        ran = [name for name in self.outcome if name == test or name.startswith((f"{test}[", f"{test}::"))]
        worst = max((self.outcome[name] for name in ran), key=_ORDER.index, default="not run")
        return f"{worst} ({len(ran)})" if len(ran) > 1 else worst, sum(self.seconds[name] for name in ran)


def main(numbers: Sequence[str]) -> int:
    """Run the tests and print the table; pytest's exit code."""
    chosen = [fault for fault in faults() if not numbers or str(fault.number) in numbers]
    found = Outcomes()
    ids = list(dict.fromkeys(test for fault in chosen for test in fault.tests))
    code = pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={REPOSITORY}", *ids], plugins=[found])
    lines = ["| # | fault | test | outcome | seconds |", "|---|---|---|---|---|"]
    for fault in chosen:
        for test in fault.tests:
            outcome, seconds = found.of(test)
            lines.append(f"| {fault.number} | {fault.what} | `{test}` | {outcome} | {seconds:.1f} |")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
