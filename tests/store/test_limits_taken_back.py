"""A request that passed its limits and came to nothing: it is taken back, once."""

from __future__ import annotations

import pytest

from miniagent_redis.errors import RateLimited
from miniagent_redis.models import RateLimit
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.limits import Admission
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy

Store = RedisSessionManager
RULES = [
    RateLimit(per="session", requests=2, tokens=9, window=60),
    RateLimit(per="namespace", requests=9, window=600),
]


def admitted(store: Store) -> Admission:
    admission = store.parts.limits.admission(RULES, "s", "ada")
    admission.ask()
    return admission


def counts(store: Store, what: str = "requests") -> tuple[int, int]:
    """Return the counts of the window that the session is in and of the one before."""
    key = store.parts.core.keys.rate_limit_of("session", "s", what, 60_000)
    found = store.client.hmget(key, "current", "previous")
    current, previous = (int(count) for count in found if count is not None)
    return current, previous


@pytest.fixture(autouse=True)
def early_in_a_window(clock: ManualClock) -> None:
    clock.set(clock.time() // 600 * 600 + 100.0)


def test_what_was_taken_back_leaves_room_for_another(store: Store) -> None:
    admitted(store)
    admission = admitted(store)
    with pytest.raises(RateLimited):
        admitted(store)
    for _ in range(2):
        admission.take_back()
    admitted(store)
    with pytest.raises(RateLimited):
        admitted(store)
    assert counts(store, "tokens") == (0, 0)


def test_it_is_taken_from_the_window_it_was_counted_in(store: Store, clock: ManualClock) -> None:
    admission = admitted(store)
    clock.advance(60)
    admitted(store)
    assert counts(store) == (1, 1)
    for _ in range(2):
        admission.take_back()
    assert counts(store) == (1, 0)


def test_nothing_is_taken_when_that_window_is_over(store: Store, clock: ManualClock) -> None:
    admission = admitted(store)
    clock.advance(120)
    admitted(store)
    admission.take_back()
    assert counts(store) == (1, 0)


def test_nothing_is_taken_for_a_request_that_was_refused(store: Store) -> None:
    for _ in range(2):
        admitted(store)
    refused = store.parts.limits.admission(RULES, "s", "ada")
    with pytest.raises(RateLimited):
        refused.ask()
    refused.take_back()
    assert counts(store) == (2, 0)


def test_a_repetition_after_a_lost_reply_takes_nothing_twice(
    lossy_store: Store, proxy: Proxy
) -> None:
    admitted(lossy_store)
    proxy.lose_replies(1)
    admission = admitted(lossy_store)
    proxy.lose_replies(1)
    admission.take_back()
    assert sum(counts(lossy_store)) == 1
