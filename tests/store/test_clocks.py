"""Clocks that are wrong: that of a machine with a client, and that of the server when it jumps."""

from __future__ import annotations

import pytest
import redis

from miniagent_redis.errors import SessionBusy
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock, SystemClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.words import OpenStore, said

Store = RedisSessionManager
HOUR = 3600.0
JUMPS = [-HOUR, -50.0, 50.0, HOUR]


class WrongClock(SystemClock):
    """The clock of a machine that is ``off`` seconds ahead of all others."""

    def __init__(self, off: float) -> None:
        self._off = off

    def time(self) -> float:
        return super().time() + self._off


def wait_a_moment(store: Store) -> None:
    """Wait until the server's clock shows another millisecond."""
    core = store.parts.core
    now = core.now_ms(core.call("TIME"))
    while core.now_ms(core.call("TIME")) <= now + 1:
        pass


def listed(store: Store) -> list[str]:
    """Return the sessions as they are listed, which is by the last use that the list shows."""
    entries = list(store.list_sessions("ada"))
    assert entries == sorted(entries, key=lambda entry: str(entry["last_activity"]), reverse=True)
    assert len(entries) == len(store.list_sessions())
    return [str(entry["session_id"]) for entry in entries]


@pytest.mark.parametrize("off", [-HOUR, HOUR])
def test_sessions_are_listed_by_the_servers_clock_whatever_that_of_a_client(
    real_store: Store, off: float
) -> None:
    with Store(real_store.config, clock=WrongClock(off)) as wrong:
        for store, name in [(real_store, "a"), (wrong, "b"), (real_store, "c"), (wrong, "d")]:
            store.create_session(name, user_id="ada")
            wait_a_moment(store)
        assert listed(real_store) == ["d", "c", "b", "a"]
        for store, name in [(wrong, "b"), (real_store, "a"), (wrong, "d"), (real_store, "c")]:
            store.append_to_thread(name, Message("user", "x"))
            store.parts.index.flush()
            wait_a_moment(store)
        assert listed(wrong) == ["c", "d", "a", "b"]


def test_a_clock_that_is_behind_makes_no_session_due_before_its_time(real_store: Store) -> None:
    with Store(real_store.config, clock=WrongClock(-HOUR)) as wrong:
        wrong.create_session("s", user_id="ada", ttl=600)
        assert not real_store.parts.expiry.has_due()
        wrong.touch_session("s")
        wrong.parts.index.flush()
        assert real_store.sweep() == 0
    assert listed(real_store) == ["s"]


def test_a_clock_that_is_ahead_takes_no_entry_out_whose_session_is_just_being_made(
    real_store: Store,
) -> None:
    with Store(real_store.config, clock=WrongClock(HOUR)) as wrong:
        now = round(SystemClock().time() * 1000)
        real_store.parts.index.enter("s", "ada", now, now + 60_000)
        assert list(wrong.list_sessions("ada")) == []
        real_store.create_session("s", user_id="ada")
        assert listed(wrong) == ["s"]


def test_sessions_that_are_used_after_the_clock_was_put_back_are_listed_by_that_use(
    store: Store, clock: ManualClock
) -> None:
    clock.advance(HOUR)
    for name in "ab":
        store.create_session(name, user_id="ada", ttl=2 * HOUR)
    clock.advance(-HOUR)
    for name in "bab":
        clock.advance(1)
        store.touch_session(name)
        store.parts.index.flush()
    assert listed(store) == ["b", "a"]


@pytest.mark.parametrize("jump", JUMPS)
def test_the_lease_of_a_holder_that_died_ends_within_one_lease_of_any_jump(
    store: Store, clock: ManualClock, jump: float
) -> None:
    store.create_session("s", user_id="ada", ttl=3 * HOUR)
    store.begin_turn("s", "one")
    clock.advance(jump)
    if jump < 0:
        with pytest.raises(SessionBusy) as caught:
            store.begin_turn("s", "two", on_busy="reject")
        assert caught.value.lease_remaining <= store.config.lease_ttl
        clock.advance(store.config.lease_ttl)
    assert store.begin_turn("s", "two", on_busy="reject").resumed


@pytest.mark.parametrize("jump", JUMPS)
def test_the_end_of_a_thread_can_be_cut_off_within_one_lease_of_any_jump(
    store: Store, clock: ManualClock, jump: float
) -> None:
    store.create_session("s", ttl=3 * HOUR)
    store.append_to_thread("s", Message("user", "x"))
    store.begin_turn("s", "one")
    clock.advance(jump)
    if jump < 0:
        with pytest.raises(SessionBusy):
            store.truncate_thread("s", 0)
        clock.advance(store.config.lease_ttl)
    assert store.truncate_thread("s", 0) == 1


@pytest.mark.parametrize("jump", JUMPS)
def test_a_turn_whose_holder_is_there_goes_on_through_any_jump(
    store: Store, clock: ManualClock, jump: float
) -> None:
    store.create_session("s", ttl=3 * HOUR)
    turn = store.begin_turn("s", "one")
    clock.advance(jump)
    for _ in range(3):
        store.renew_lease(turn)
        clock.advance(store.config.lease_ttl / 3)
        with pytest.raises(SessionBusy):
            store.begin_turn("s", "two", on_busy="reject")
    store.commit_turn(turn, [said("1")])
    assert [m.text for m in store.load_thread("s").messages] == ["one", "1"]


def test_a_lease_longer_than_that_of_who_waits_is_not_cut(
    open_store: OpenStore, clock: ManualClock
) -> None:
    patient, hasty = open_store(lease_ttl=300), open_store(lease_ttl=5)
    patient.create_session("s")
    turn = patient.begin_turn("s", "one")
    with pytest.raises(SessionBusy) as caught:
        hasty.begin_turn("s", "two", on_busy="reject")
    assert caught.value.lease_remaining == 300
    clock.advance(299)
    patient.commit_turn(turn, [said("1")])


@pytest.mark.parametrize("jump", JUMPS)
def test_a_session_has_its_usual_time_once_it_is_used_after_a_jump_and_back(
    store: Store, clock: ManualClock, jump: float
) -> None:
    store.create_session("s", user_id="ada", ttl=2 * HOUR)
    clock.advance(jump)
    store.touch_session("s")
    clock.advance(-jump)
    store.touch_session("s")
    assert store.session_state("s").expires_at == pytest.approx(clock.time() + 2 * HOUR)
    store.parts.index.flush()
    clock.advance(2 * HOUR - 1)
    assert store.sweep() == 0
    clock.advance(1)
    assert store.sweep() == 1


def test_the_lock_of_a_holder_that_died_ends_within_its_ttl_of_a_jump_back(
    store: Store, open_store: OpenStore, client: redis.Redis
) -> None:
    assert store.acquire_lock("a", ttl=7)
    # This is how it looks after the server's clock was put back by an hour.
    client.pexpire("lock:{a}", 3_607_000)
    other = open_store()
    assert not other.acquire_lock("a", ttl=90)
    assert 6000 < client.pttl("lock:{a}") <= 7000  # type: ignore[operator]
    assert store.release_lock("a")


def test_a_lock_that_was_taken_for_longer_than_others_want_it_is_not_cut(
    store: Store, open_store: OpenStore, client: redis.Redis
) -> None:
    assert store.acquire_lock("a", ttl=90)
    assert not open_store().acquire_lock("a", ttl=2)
    assert client.pttl("lock:{a}") > 80_000  # type: ignore[operator]


def test_a_lock_of_a_version_that_did_not_tell_its_ttl_is_left_as_it_is(
    store: Store, client: redis.Redis
) -> None:
    client.set("lock:{a}", "0123456789abcdef", px=3_607_000)
    assert not store.acquire_lock("a")
    assert client.pttl("lock:{a}") > 3_600_000  # type: ignore[operator]
