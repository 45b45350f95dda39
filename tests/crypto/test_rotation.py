"""Keys are changed while everybody works, and nobody finds a record that cannot be read."""

from __future__ import annotations

import itertools
import threading
from typing import Any

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.crypto import KeyRing, ring
from tests.support.keys import NEW, OLD, Source
from tests.support.words import lines, said

SESSIONS, TURNS, ROTATIONS = 3, 12, 4


def test_keys_are_rotated_under_load_and_nothing_is_unreadable(
    redis_url: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ring, "REFRESH", -1.0)  # each store asks again with every record
    keys = {"k0": OLD}
    sources = [Source(**keys) for _ in range(2)]  # two programs, which learn of it one by one
    stores = [RedisSessionManager(RedisConfig(url=redis_url, encryption_keys=s)) for s in sources]
    faults: list[object] = []
    begun, more = threading.Barrier(SESSIONS * 2 + 1), itertools.count()

    def work(store: RedisSessionManager, session_id: str) -> None:
        begun.wait()
        try:
            for _ in range(TURNS):
                turn = store.begin_turn(session_id, f"{next(more)}", on_busy="wait")
                store.commit_turn(turn, [said("ok")])
                if turn.thread.unreadable or store.load_thread(session_id).unreadable:
                    faults.append("unreadable")
        except Exception as exc:
            faults.append(exc)

    for number in range(SESSIONS):
        stores[0].create_session(f"s{number}")
    threads = [
        threading.Thread(target=work, args=(store, f"s{number}"))
        for number in range(SESSIONS)
        for store in stores
    ]
    for thread in threads:
        thread.start()
    begun.wait()
    for number in range(1, ROTATIONS + 1):
        keys[f"k{number}"] = bytes([number]) * 32
        # The second program can have the new key when it is asked, and does not use it yet.
        sources[1].ring = KeyRing(f"k{number - 1}", dict(keys))
        sources[0].ring = KeyRing(f"k{number}", dict(keys))
        stores[0].append_to_thread("s0", Message("user", "x"))
        sources[1].ring = KeyRing(f"k{number}", dict(keys))
    for thread in threads:
        thread.join()
    assert faults == []
    for number in range(SESSIONS):
        found = stores[1].load_thread(f"s{number}")
        assert found.unreadable == ()
        extra = ROTATIONS if number == 0 else 0
        assert len(found.messages) == 2 * 2 * TURNS + extra
    for store in stores:
        store.append_to_thread("s0", Message("user", "last"))
    records: Any = stores[0].client.lrange("thread:{s0}", -2, -1)
    assert all(record.startswith(b"enc1:k4:") for record in records)
    assert stores[1].get_session("s1") == {}  # written with the first key
    for store in stores:
        assert store.stats().unreadable_records == 0
        store.disconnect()


def test_a_reader_that_meets_a_new_key_asks_for_it_at_once(
    store_url: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ring, "REFRESH", -1.0)
    first, second = Source(a=OLD), Source(a=OLD)
    with (
        RedisSessionManager(RedisConfig(url=store_url, encryption_keys=first)) as writer,
        RedisSessionManager(RedisConfig(url=store_url, encryption_keys=second)) as reader,
    ):
        writer.create_session("s")
        assert reader.get_session("s") == {}
        assert second.asked == 1
        first.ring = second.ring = KeyRing("b", {"a": OLD, "b": NEW})
        writer.append_to_thread("s", Message("user", "hello"))
        assert lines(reader) == ["user:hello"]
        assert second.asked == 2
