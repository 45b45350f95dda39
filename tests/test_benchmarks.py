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


def written() -> str:
    found = re.search(
        "<!-- benchmark: begin -->(.*)<!-- benchmark: end -->", PAGE.read_text("utf-8"), re.DOTALL
    )
    assert found
    return found[1]


@pytest.mark.slow
@pytest.mark.usefixtures("redis_server")
def test_a_quick_run_prints_every_row_of_the_table_in_the_documentation() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    printed = table(done.stdout)
    assert [name for name, _ in printed] == [name for name, _ in table(written())]
    assert all(ours for _, ours in printed)
