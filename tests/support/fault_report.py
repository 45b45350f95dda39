"""What a test of faults counts and prints, so that its figures can be quoted and its run replayed.

Each run has a seed, printed with the figures at the end of the test session; MINIAGENT_TEST_SEED
repeats one. MINIAGENT_TEST_FAULTS=full runs the numbers of docs/guarantees.md in place of the
quick ones, and =part a fifth of them. MINIAGENT_TEST_FIGURES names a file to which the figures are
added, as JSON lines.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

_PROPERTY = "faults"


class FaultRun:
    """One test's dice, size and figures."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node
        self.seed = int(
            os.environ.get("MINIAGENT_TEST_SEED") or random.SystemRandom().getrandbits(32)
        )
        self.random = random.Random(self.seed)
        self.size = os.environ.get("MINIAGENT_TEST_FAULTS", "")
        self.is_full = self.size == "full"
        # Seconds for a program to say something: it fails its test before the whole process of
        # tests is ended, as that hangs.
        self.limit = float(node.config.getini("faulthandler_timeout")) - 30
        print(f"seed {self.seed}: MINIAGENT_TEST_SEED={self.seed} repeats this run")

    def times(self, quick: int, full: int) -> int:
        """Return how often to do something in this run."""
        part = full // 5 if self.size == "part" else 0
        return full if self.is_full else max(quick, part)

    def report(self, **figures: int | float | str) -> None:
        """Keep the figures, with the seed, for the end of the run; call it before the asserts."""
        figures = {"seed": self.seed, **figures}
        print("  ".join(f"{name} {_shown(value)}" for name, value in figures.items()))
        self._node.user_properties.append((_PROPERTY, figures))


def _shown(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> FaultRun:
    """Return the dice and the report of this test."""
    return FaultRun(request.node)


def show_figures(terminalreporter: Any) -> None:
    """Print the figures of every test of faults, those that failed too."""
    rows: list[tuple[str, dict[str, Any]]] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, value in report.user_properties:
                    if name == _PROPERTY:
                        rows.append((report.nodeid, value))
    if not rows:
        return
    terminalreporter.section("faults")
    for nodeid, figures in sorted(rows, key=lambda row: row[0]):
        terminalreporter.write_line(nodeid.rpartition("/")[2])
        terminalreporter.write_line(
            "    " + "  ".join(f"{name} {_shown(value)}" for name, value in figures.items())
        )
    if path := os.environ.get("MINIAGENT_TEST_FIGURES"):
        with open(path, "a", encoding="utf-8") as file:
            for nodeid, figures in rows:
                file.write(json.dumps({"test": nodeid, **figures}) + "\n")
