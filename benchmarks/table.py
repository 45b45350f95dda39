"""The table: its rows, how it reads as Markdown, and its place in docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attrs import frozen

from .bench import Bench

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
_HEADINGS = "Measured", "Ours", "Raw", "Ours / raw", "At most"


@frozen
class Row:
    """One line of the table: numbers with their units, and what they should be."""

    label: str
    ours: str
    raw: str = ""
    ratio: float | None = None
    target: str = ""

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return self.label, self.ours, self.raw, ratio, self.target


def duration(seconds: float) -> str:
    """Render seconds as µs, or as ms from one on."""
    micro = seconds * 1e6
    return f"{micro:.0f} µs" if micro < 1000 else f"{micro / 1000:.3g} ms"


def markdown(rows: Iterable[Row], bench: Bench) -> str:
    """Return the table, and under it what it was measured with."""
    lines = [_line(_HEADINGS), "|---|--:|--:|--:|--:|", *(_line(row.cells()) for row in rows)]
    return "\n".join([*lines, "", _surroundings(bench)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _surroundings(bench: Bench) -> str:
    info = bench.raw.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    server = info.get("valkey_version", info["redis_version"])
    packages = filter(None, map(_found, ("redis", "hiredis", "orjson")))
    return (
        f"Python {platform.python_version()}, {', '.join(packages)}, {name} {server} on a Unix "
        f"socket, {os.cpu_count()} x {_processor()}."
    )


def _found(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def write(table: str) -> None:
    """Put the table between the two marks of docs/performance.md."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
