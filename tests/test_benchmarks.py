"""The benchmarks run, and docs/performance.md shows the table that they print. No time counts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import environment

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"


def table(text: str) -> list[tuple[str, str]]:
    """Return name and first value of each row in ``text``; numbers in names are #, of any size."""
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|")]
    return [(re.sub(r"[\d,]*\d", "#", name).strip(), ours.strip()) for name, ours, *_ in rows]


def written(mark: str = "benchmark") -> str:
    found = re.search(
        f"<!-- {mark}: begin -->(.*)<!-- {mark}: end -->", PAGE.read_text("utf-8"), re.DOTALL
    )
    assert found
    return found[1]


def run_quickly(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("redis_server")
def test_a_quick_run_prints_every_row_of_the_table_in_the_documentation() -> None:
    printed = table(run_quickly())
    assert [name for name, _ in printed] == [name for name, _ in table(written())]
    assert all(ours for _, ours in printed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.usefixtures("redis_server")
def test_so_does_a_quick_run_with_open_streams() -> None:
    pytest.importorskip("gevent")
    pytest.importorskip("gunicorn")
    printed = run_quickly("--streams")
    assert [name for name, _ in table(printed)] == [name for name, _ in table(written("streams"))]
    (refused,) = [line for line in printed.splitlines() if "the next one" in line]
    assert refused.count("503, Retry-After: ") == 2
