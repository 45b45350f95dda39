"""fsck beside work: what goes on is no fault, what is stuck is, and all of it is looked at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import redis

from miniagent_redis import Message, RedisConfig, RedisSessionManager, ToolCall
from miniagent_redis.doctor.fsck import check
from miniagent_redis.models import new_id
from miniagent_redis.runtime.clock import ManualClock
from tests.support.findings import METADATA, only, thread


def test_the_open_call_of_a_turn_that_runs_is_no_fault(store: RedisSessionManager) -> None:
    turn = store.begin_turn("s", "Go")
    store.stage_step(turn, [Message("assistant", "", tool_calls=(ToolCall("c", "t"),))])
    assert check(store) == []


def test_a_turn_is_stuck_ten_minutes_after_its_lease(
    store: RedisSessionManager, clock: ManualClock
) -> None:
    store.begin_turn("s", "Hello?")
    clock.advance(30 + 599)
    assert check(store) == []
    clock.advance(2)
    found = only(check(store))
    assert (found.kind, found.problem) == (
        "stuck_turn",
        "its open turn has had no holder for 10 minutes",
    )


def test_a_turn_that_is_over_is_not_stuck(store: RedisSessionManager, clock: ManualClock) -> None:
    for end in (
        lambda turn: store.commit_turn(turn, [Message("assistant", "Yes.")]),
        lambda turn: store.abort_turn(turn),
        lambda turn: store.clear_thread("s"),
    ):
        end(store.begin_turn("s", "Hello?"))
        clock.advance(30 + 601)
        assert check(store) == []


def test_only_the_own_namespace_is_looked_at(store_url: str, store: RedisSessionManager) -> None:
    store.client.hset(METADATA, "bytes", 1)
    with RedisSessionManager(RedisConfig(url=store_url, namespace="acme")) as acme:
        acme.create_session("s", user_id="ada")
        acme.client.persist("acme:thread:{s}")
        acme.client.persist("acme:ops:{s}")
        acme.client.set("lock:acme:{job}", new_id())
        assert sorted(f.key for f in check(acme)) == ["acme:ops:{s}", "lock:acme:{job}"]
        assert [f.key for f in check(store)] == [METADATA]


def test_work_that_goes_on_meanwhile_is_no_fault_and_loses_nothing(redis_url: str) -> None:
    config = RedisConfig(url=redis_url)

    def work() -> None:
        with RedisSessionManager(config) as busy:
            for number in range(150):
                busy.commit_turn(busy.begin_turn("s", "Hi"), [Message("assistant", str(number))])
                busy.create_session(f"t{number}", user_id="ada")
                busy.begin_turn(f"t{number}", "Hi")
                if number % 2:
                    busy.clear_thread(f"t{number}")
                    busy.delete_session(f"t{number}")

    with RedisSessionManager(config) as store, ThreadPoolExecutor() as pool:
        store.create_session("s", user_id="ada")
        working = pool.submit(work)
        looks = 0
        while not working.done():
            assert check(store, repair=True) == []
            looks += 1
        working.result()
        assert looks > 1
        assert store.session_state("s").message_count == 300
        assert len(store.list_sessions("ada", limit=1000)) == 76


def test_many_sessions_and_long_threads_are_gone_through_to_their_ends(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    for number in range(300):
        store.create_session(f"s{number}", user_id="ada")
    store.append_to_thread("s7", [Message("user", str(number)) for number in range(2500)])
    assert check(store) == []
    client.lset("thread:{s7}", 2499, thread(store)[0])  # type: ignore[arg-type]
    assert [f.kind for f in check(store)] == ["counter"]
