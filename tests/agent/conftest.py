"""Fixtures for tests of what an agent caches."""

from __future__ import annotations

import pytest

from tests.support.cached_turns import Turns


@pytest.fixture
def turns() -> Turns:
    """Return turns that share an empty cache."""
    return Turns()
