"""Fixtures: a data directory of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from miniagent_redis.embedded.attach import attach


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory that is not there yet, and stop whatever a failed test left in it."""
    path = tmp_path / "data"
    yield path
    if path.is_dir():
        attach(path).close()
