"""What comes for one who waits and may be called away."""

from __future__ import annotations

import threading

import pytest

from miniagent_redis.runtime.inbox import Inbox
from miniagent_redis.runtime.pausing import Pause

LIMIT = 20.0


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


def test_what_comes_soon_costs_no_pause() -> None:
    inbox = Inbox[int](pauses=True, soon=LIMIT)
    threading.Timer(0.01, inbox.put, [1]).start()
    with pytest.raises(StopIteration) as end:
        next(inbox.next(go))
    assert end.value.value == 1


def test_who_may_pause_blocks_for_a_moment_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox[int](pauses=True, soon=0.05)
    assert isinstance(next(inbox.next(go)), Pause)
    monkeypatch.setattr(inbox, "_next_soon", go)
    assert isinstance(next(inbox.next(go)), Pause)
