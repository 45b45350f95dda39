"""What comes for one who waits and may be called away."""

from __future__ import annotations

import pytest

from miniagent_redis.runtime.inbox import Inbox
from miniagent_redis.runtime.pausing import Pause


class CalledAwayError(Exception):
    """Why a test goes."""


def go() -> None:
    raise CalledAwayError


def test_what_came_in_a_pause_is_taken_before_the_bell_behind_it_is_heard() -> None:
    inbox = Inbox[int](pauses=True)
    steps = inbox.next(go)
    assert isinstance(next(steps), Pause)
    inbox.put(1)
    inbox.put(None)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == 1
    with pytest.raises(CalledAwayError):
        next(inbox.next(go))
