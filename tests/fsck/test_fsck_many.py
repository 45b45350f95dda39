"""fsck of many sessions: they are asked for together, and each is told of by itself."""

from __future__ import annotations

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.telemetry import Exchange
from tests.support.instruments import Notes

SESSIONS = 250


def test_sessions_are_asked_for_a_hundred_at_a_time(store_url: str) -> None:
    notes = Notes()
    with RedisSessionManager(RedisConfig(url=store_url), instrumentation=notes) as store:
        for number in range(SESSIONS):
            store.create_session(f"s{number}", user_id="ada")
            store.append_to_thread(f"s{number}", [Message("user", str(number))])
        store.parts.index.flush()
        check(store)  # after which the server knows the script
        notes.ended.clear()
        assert check(store) == []
    exchanges = notes.of(Exchange)
    looks = [each for each in exchanges if each.operation == "inspect_session"]
    assert sum(each.commands for each in looks) == SESSIONS
    assert max(each.commands for each in looks) == 100
    assert len(exchanges) < SESSIONS


def test_a_fault_is_told_of_the_session_that_has_it(store: RedisSessionManager) -> None:
    for number in range(SESSIONS):
        store.create_session(f"s{number}", user_id="ada")
        store.append_to_thread(f"s{number}", [Message("user", str(number))])
    store.parts.index.flush()
    faulty = {"s7": "counter", "s77": "expiry", "s177": "unreadable", "s207": "not_indexed"}
    store.client.hset("metadata:{s7}", "bytes", 1)
    store.client.persist("thread:{s77}")
    store.client.lset("thread:{s177}", 0, "[")
    store.client.zrem("user:{ada}:sessions", "s207")
    found = {(each.session_id, each.kind) for each in check(store)}
    assert found == {*faulty.items(), ("s177", "counter")}
    left = {(each.session_id, each.kind) for each in check(store, repair=True) if not each.repaired}
    assert left == {("s177", "unreadable")}
    assert [each.kind for each in check(store)] == ["unreadable"]


def test_threads_of_any_length_are_read_to_their_ends(store: RedisSessionManager) -> None:
    lengths = {"a": 600, "b": 600, "c": 1001, "d": 1, "e": 1000}
    for session_id, length in lengths.items():
        store.create_session(session_id)
        store.append_to_thread(session_id, [Message("user", "x")] * length)
    store.parts.index.flush()
    assert check(store) == []
    for session_id in lengths:
        store.client.lset(f"thread:{{{session_id}}}", -1, "[")
    unreadable = [each.session_id for each in check(store) if each.kind == "unreadable"]
    assert sorted(unreadable, key=str) == sorted(lengths)


def test_how_far_it_has_come_is_told(store: RedisSessionManager) -> None:
    for number in range(150):
        store.create_session(f"s{number}")
    told: list[str] = []
    check(store, tell=told.append)
    assert "151 sessions looked at" in told
    assert "0 of 65 indexes of 151 sessions looked at" in told
