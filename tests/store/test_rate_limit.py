"""Rate limits: the sliding window counter, told truly to the millisecond."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput, RateLimited
from miniagent_redis.models import RateLimit
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy
from tests.support.stored import dump
from tests.support.words import OpenStore

Store = RedisSessionManager


class Model:
    """The sliding window counter in plain Python, on whole milliseconds."""

    def __init__(self, limit: int, window: int) -> None:
        self.limit, self.window = limit, window
        self.counts: dict[int, int] = {}

    def allows(self, now: int, cost: int) -> bool:
        number = now // self.window
        passed = now % self.window
        before = self.counts.get(number - 1, 0) * (self.window - passed)
        used = before // self.window + self.counts.get(number, 0)
        if used + cost > self.limit:
            return False
        self.counts[number] = self.counts.get(number, 0) + cost
        return True


def test_requests_within_the_limit_pass_and_tell_what_is_left(store: Store) -> None:
    left = [store.check_rate_limit("k", 3, 60).remaining for _ in range(3)]
    assert left == [2, 1, 0]
    status = store.check_rate_limit("k", 3, 60)
    assert not status.allowed
    assert 0 < status.retry_after <= 120
    assert store.rate_limit("other", 3, 60)


def test_a_refused_request_is_not_counted(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    for _ in range(3):
        store.rate_limit("k", 3, 60)
    before = dump(client)
    for _ in range(10):
        assert not store.rate_limit("k", 3, 60)
    assert dump(client) == before
    clock.advance(120)
    assert [store.rate_limit("k", 3, 60) for _ in range(4)] == [True] * 3 + [False]


def test_a_key_is_limited_for_several_windows_at_once(store: Store) -> None:
    passed = 0
    for _ in range(50):
        short = store.rate_limit("ada", max_requests=3, window=3600)
        long = store.rate_limit("ada", max_requests=40, window=86400)
        passed += short and long
    assert passed == 3
    assert not store.rate_limit("ada", max_requests=40, window=86400)


def test_a_limit_is_shared_by_all_instances(store: Store, open_store: OpenStore) -> None:
    other = open_store()
    assert [s.rate_limit("k", 3) for s in (store, other, store, other)] == [True] * 3 + [False]


def test_a_key_lives_two_windows(store: Store, client: redis.Redis) -> None:
    store.rate_limit("k", 3, 10)
    assert 15_000 < client.pttl("rate_limit:{k}:10000") <= 20_000  # type: ignore[operator]


@settings(max_examples=60, deadline=None, database=None)
@given(
    limit=st.integers(1, 20),
    # Not of a few ms: the server forgets the key by its own clock, which does not stand still.
    window=st.sampled_from([5000, 7001, 60_000]),
    requests=st.lists(
        st.tuples(st.integers(0, 25), st.integers(1, 4)), min_size=1, max_size=40
    ),
)  # fmt: skip
def test_requests_pass_as_in_the_model_and_after_the_wait_that_was_told(
    memory: Store, limit: int, window: int, requests: list[tuple[int, int]]
) -> None:
    memory.client.flushdb()
    start = 1_900_000_000_000
    clock = ManualClock(start / 1000)
    memory = RedisSessionManager(memory.config, clock=clock)
    model = Model(limit, window)
    now = start
    for pause, cost in requests:
        cost = min(cost, limit)
        now += pause * max(1, window // 10)
        clock.set(now / 1000)
        status = memory.check_rate_limit("k", limit, window / 1000, cost=cost)
        assert status.allowed == model.allows(now, cost)
        if status.allowed:
            assert status.retry_after == 0
            continue
        wait = round(status.retry_after * 1000)
        assert 1 <= wait <= 2 * window
        if wait > 1:
            clock.set((now + wait - 1) / 1000)
            assert not memory.check_rate_limit("k", limit, window / 1000, cost=cost).allowed
        now += wait
        clock.set(now / 1000)
        assert memory.check_rate_limit("k", limit, window / 1000, cost=cost).allowed
        assert model.allows(now, cost)


def test_both_backends_count_alike(store: Store, clock: ManualClock) -> None:
    model = Model(5, 1000)
    for step in range(60):
        clock.advance([0, 0.05, 0.173, 0.4][step % 4])
        now = round(clock.time() * 1000)
        assert store.rate_limit("k", 5, 1) == model.allows(now, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_requests": 0}, "limit"),
        ({"max_requests": -1}, "limit"),
        ({"max_requests": 1.5}, "whole numbers"),
        ({"max_requests": "5"}, "whole numbers"),
        ({"max_requests": None}, "whole numbers"),
        ({"max_requests": math.nan}, "whole numbers"),
        ({"max_requests": True}, "whole numbers"),
        ({"cost": 0}, "cost"),
        ({"cost": 11}, "cost"),
        ({"cost": 1.5}, "whole numbers"),
        ({"window": 0}, "window"),
        ({"window": -5}, "window"),
        ({"window": math.nan}, "window"),
        ({"window": "60"}, "window"),
    ],
    ids=str,
)
def test_a_limit_that_makes_no_sense_is_refused(
    store: Store, client: redis.Redis, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        store.check_rate_limit("k", **options)
    assert dump(client) == {}


def test_the_servers_clock_counts_where_no_other_is_given(real_store: Store) -> None:
    assert [real_store.rate_limit("k", 2, 3600) for _ in range(3)] == [True, True, False]
    assert 0 < real_store.check_rate_limit("k", 2, 3600).retry_after <= 7200


@settings(max_examples=60, deadline=None, database=None)
@given(
    limit=st.integers(1, 20),
    # Powers of two: all times are exact as floats, so nothing is left to rounding.
    window=st.sampled_from([8, 64, 1024]),
    requests=st.lists(
        st.tuples(st.integers(0, 25), st.integers(1, 4)), min_size=1, max_size=60
    ),
)  # fmt: skip
def test_it_agrees_with_the_sliding_window_counter_of_the_limits_library(
    memory: Store, limit: int, window: int, requests: list[tuple[int, int]]
) -> None:
    memory.client.flushdb()
    clock = ManualClock(1_900_000_000.0)
    memory = RedisSessionManager(memory.config, clock=clock)
    theirs = SlidingWindowCounterRateLimiter(MemoryStorage())
    item = RateLimitItemPerSecond(limit, window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limits.storage.memory.time.time", clock.time)
        for pause, cost in requests:
            cost = min(cost, limit)
            clock.advance(pause * window / 64)
            ours = memory.check_rate_limit("k", limit, window, cost=cost).allowed
            assert ours == theirs.hit(item, "k", cost=cost)


RULES = [
    RateLimit(per="user", requests=3, window=60),
    RateLimit(per="session", requests=2, window=60),
    RateLimit(per="namespace", tokens=100, window=600),
]


def test_a_request_that_one_limit_refuses_is_counted_by_none(
    store: Store, client: redis.Redis
) -> None:
    for session in ("a", "a", "b"):
        store.check_rate_limits(RULES, session_id=session, user_id="ada")
    before = dump(client)
    with pytest.raises(RateLimited, match="3 requests per user in 60 s") as caught:
        store.check_rate_limits(RULES, session_id="b", user_id="ada")
    assert (caught.value.rule, caught.value.key) == (RULES[0], "user ada")
    assert dump(client) == before
    store.check_rate_limits(RULES, session_id="b", user_id="eve")
    with pytest.raises(RateLimited, match="2 requests per session"):
        store.check_rate_limits(RULES, session_id="b", user_id="eve")


def test_a_refused_request_passes_after_the_wait_that_was_told_and_not_before(
    store: Store, clock: ManualClock
) -> None:
    # Redis removes keys by its own clock: stay near it, 20 s into the windows.
    now = round(clock.time()) // 600 * 600_000 + 20_000
    clock.set(now / 1000)
    store.check_rate_limits(RULES, session_id="a", user_id="ada")
    store.check_rate_limits(RULES, session_id="a", user_id="ada")
    store.parts.limits.charge_tokens(RULES, 250, session_id="a", user_id="ada")
    with pytest.raises(RateLimited) as caught:
        store.check_rate_limits(RULES, session_id="a", user_id="ada")
    assert caught.value.rule == RULES[2]  # which takes longest
    wait = round(caught.value.retry_after * 1000)
    clock.set((now + wait - 1) / 1000)
    with pytest.raises(RateLimited):
        store.check_rate_limits(RULES, session_id="z", user_id="zoe")
    clock.set((now + wait) / 1000)
    store.check_rate_limits(RULES, session_id="z", user_id="zoe")


def test_a_turn_without_tokens_counts_for_nothing(store: Store, client: Any) -> None:
    before = dump(client)
    store.parts.limits.charge_tokens(RULES, 0, session_id="a", user_id="ada")
    assert dump(client) == before


def test_without_a_user_a_session_is_a_user_of_its_own(store: Store) -> None:
    rules = [RateLimit(per="user", requests=1, window=60)]
    for session in ("a", "b"):
        store.check_rate_limits(rules, session_id=session)
        with pytest.raises(RateLimited):
            store.check_rate_limits(rules, session_id=session)


def test_a_repetition_after_a_lost_reply_is_not_counted_again(
    lossy_store: Store, proxy: Proxy
) -> None:
    proxy.lose_replies(2)
    assert lossy_store.check_rate_limit("k", 5, 600).remaining == 4
    assert proxy.lost == 2
    rules = [RateLimit(per="user", requests=2, tokens=100, window=600)]
    for _ in range(2):
        proxy.lose_replies(1)
        lossy_store.check_rate_limits(rules, session_id="s")
    proxy.lose_replies(1)
    lossy_store.parts.limits.charge_tokens(rules, 60, session_id="s")
    key = lossy_store.parts.core.keys.rate_limit_of("session", "s", "tokens", 600_000)
    assert lossy_store.client.hget(key, "current") == b"60"


def test_all_limits_take_one_round_trip(lossy_store: Store, proxy: Proxy) -> None:
    lossy_store.check_rate_limits(RULES, session_id="a", user_id="ada")
    before = proxy.round_trips
    lossy_store.check_rate_limits(RULES, session_id="a", user_id="ada")
    assert proxy.round_trips == before + 1


def test_a_clock_that_goes_back_a_little_lets_nobody_pass(store: Store, clock: ManualClock) -> None:
    clock.set(clock.time() // 60 * 60 + 1.0)
    assert [store.rate_limit("k", 2, 60) for _ in range(3)] == [True, True, False]
    clock.advance(-3)
    status = store.check_rate_limit("k", 2, 60)
    assert not status.allowed
    clock.advance(status.retry_after - 0.001)
    assert not store.rate_limit("k", 2, 60)
    clock.advance(0.001)
    assert store.rate_limit("k", 2, 60)


def _passed(url: str) -> int:
    rules = [RateLimit(per="namespace", requests=40, window=1_000_000)]
    passed = 0
    with Store(RedisConfig(url=url)) as store:
        for number in range(30):
            try:
                store.check_rate_limits(rules, session_id=f"s{number}")
                passed += 1
            except RateLimited:
                pass
    return passed


def test_processes_share_a_limit(redis_url: str) -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        assert sum(pool.map(_passed, [redis_url] * 4)) == 40


@pytest.mark.parametrize("back", [61, 125, 3600, 86_400])
def test_a_clock_that_goes_back_far_neither_begins_a_limit_anew_nor_keeps_it(
    store: Store, clock: ManualClock, back: int
) -> None:
    clock.set(clock.time() // 60 * 60 + 59.0)
    assert [store.rate_limit("k", 2, 60) for _ in range(3)] == [True, True, False]
    for _ in range(3):
        clock.advance(-back)
        assert not store.rate_limit("k", 2, 60)
    status = store.check_rate_limit("k", 2, 60)
    assert 0 < status.retry_after <= 120
    clock.advance(status.retry_after)
    assert store.rate_limit("k", 2, 60)
    assert not store.rate_limit("k", 2, 60)


def test_requests_that_were_counted_by_a_clock_that_was_ahead_lock_nobody_out(
    store: Store, clock: ManualClock
) -> None:
    rules = [RateLimit(per="user", requests=2, tokens=100, window=60)]
    clock.advance(3600)
    store.check_rate_limits(rules, session_id="s")
    store.parts.limits.charge_tokens(rules, 5000, session_id="s")
    clock.advance(-3600)
    with pytest.raises(RateLimited) as caught:
        store.check_rate_limits(rules, session_id="s")
    assert caught.value.retry_after <= 120
    clock.advance(caught.value.retry_after)
    store.check_rate_limits(rules, session_id="s")
