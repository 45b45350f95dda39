"""Sessions that are full and let go of their oldest exchanges, for tests of them."""

from __future__ import annotations

from miniagent_redis.models import Message, ThreadSlice
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager

LARGEST = 20_000
TEXT = "x" * 500


def say(store: RedisSessionManager, n: int, text: str = TEXT) -> None:
    move(store)
    turn = store.begin_turn("s", f"question {n} {text}")
    store.commit_turn(turn, [Message("assistant", f"answer {n} {text}")])


def move(store: RedisSessionManager) -> None:
    assert isinstance(store.clock, ManualClock)
    store.clock.advance(0.01)


def fill(store: RedisSessionManager, most: int = 100) -> int:
    """Have turns until the first of them has gone; return how many there were."""
    for n in range(most):
        say(store, n)
        if store.session_state("s").head:
            return n + 1
    raise AssertionError("nothing was let go of")


def texts(found: ThreadSlice) -> list[str]:
    return [" ".join(message.text.split()[:2]) for message in found.messages]


def at(store: RedisSessionManager, index: int) -> Message:
    """Return the message at a position."""
    return store.load_tail("s", 1, before=index + 1).messages[0]
