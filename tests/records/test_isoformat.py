"""Times as they are shown: as datetime writes them, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.models import isoformat


@given(st.floats(0, 253_402_300_799) | st.integers(0, 253_402_300_799))
def test_it_is_what_datetime_writes(seconds: float) -> None:
    said = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    assert isoformat(seconds) == said


@pytest.mark.parametrize("seconds", [0.9999999, 1764000000.9999999, 1764000000.0005, 1.0, 5])
def test_a_second_that_is_nearly_over_is_no_thousand_milliseconds(seconds: float) -> None:
    said = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    assert isoformat(seconds) == said
    assert datetime.fromisoformat(isoformat(seconds)).timestamp() == pytest.approx(
        seconds, abs=2e-3
    )
