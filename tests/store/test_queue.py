"""Who waits for a busy session gets it in the order of coming, over all processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import redis

from miniagent_redis.config import RedisConfig
from miniagent_redis.errors import InvalidInput, SessionBusy, SessionNotFound
from miniagent_redis.models import OpenTurn, new_id
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store import turn_opening
from miniagent_redis.store import turn_queue as queue
from miniagent_redis.store.keys import GRACE_MS
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.courses import abort, begin, line_up, prepare, run
from tests.support.foreign import put
from tests.support.servers import RedisServer
from tests.support.stored import dump
from tests.support.waiting import let_time_pass, until
from tests.support.words import OpenStore, lines, said

Store = RedisSessionManager
LIMIT = 20.0


@pytest.fixture
def session(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_LONGEST_WAIT", 60.0)
    store.create_session("s")


def waiting(client: redis.Redis) -> list[str]:
    """Return the tickets in the queue, in their order."""
    text: Any = client.get("queue:{s}") or b""
    return [one.partition(":")[0] for one in text.decode().split()]


@pytest.fixture
def waiter(client: redis.Redis, clock: ManualClock) -> Iterator[Any]:
    """Yield a function that begins a turn in another thread and returns once that one waits."""
    with ThreadPoolExecutor(50) as pool, ExitStack() as stack:

        def begin(store: Store, message: str, **options: Any) -> Future[OpenTurn]:
            before = len(waiting(client))
            future = pool.submit(store.begin_turn, "s", message, **options)
            stack.callback(let_time_pass, clock, 60, future.done)  # nobody waits for ever
            until(lambda: len(waiting(client)) == before + 1)
            return future

        yield begin


def committed(store: Store, turn: OpenTurn) -> OpenTurn:
    store.commit_turn(turn, [said(turn.staged[0].text)])
    return turn


# --- in order -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("session")
def test_who_came_first_is_first_over_all_processes(
    store: Store, open_store: OpenStore, waiter: Any
) -> None:
    stores = [store, open_store(), open_store()]
    running = store.begin_turn("s", "0")
    futures = [waiter(stores[n % 3], str(n)) for n in range(1, 10)]
    for future in futures:
        committed(store, running)
        running = future.result(LIMIT)
    committed(store, running)
    assert [line for line in lines(store) if line.startswith("user")] == [
        f"user:{n}" for n in range(10)
    ]


@pytest.mark.usefixtures("session")
def test_nobody_who_comes_later_is_before_those_who_wait(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    prepared = store.begin_turn("s", "one")
    assert run(store, clock, line_up("aa"))[0] == b"busy"
    committed(store, prepared)
    with pytest.raises(SessionBusy):
        store.begin_turn("s", "two", on_busy="reject")
    assert run(store, clock, line_up("bb"))[0] == b"busy"
    assert run(store, clock, line_up("aa"))[0] == b"ok"
    assert waiting(client) == ["bb"]


@pytest.mark.usefixtures("session")
def test_who_interrupts_is_before_all_and_the_others_keep_their_order(
    store: Store, client: redis.Redis, waiter: Any
) -> None:
    store.begin_turn("s", "0")
    first, second = waiter(store, "1"), waiter(store, "2")
    before = waiting(client)
    interrupting = store.begin_turn("s", "now", on_busy="interrupt")
    assert waiting(client) == before
    committed(store, interrupting)
    committed(store, first.result(LIMIT))
    committed(store, second.result(LIMIT))
    assert [line for line in lines(store) if line.startswith("user")] == [
        "user:now", "user:1", "user:2",
    ]  # fmt: skip


@pytest.mark.usefixtures("session")
def test_who_finishes_an_abandoned_turn_first_keeps_its_place(
    store: Store, client: redis.Redis, clock: ManualClock, waiter: Any
) -> None:
    store.begin_turn("s", "abandoned")
    clock.advance(31)
    ticket = new_id()
    resumed = store.begin_turn("s", "1", ticket=ticket)
    assert resumed.resumed
    second = waiter(store, "2", busy_timeout=6000)
    clock.advance(20)
    resumed = store.renew_lease(resumed)
    clock.advance(20)
    committed(store, resumed)
    assert waiting(client)[0] == ticket
    committed(store, store.begin_turn("s", "1", ticket=ticket))
    committed(store, second.result(LIMIT))
    assert [line for line in lines(store) if line.startswith("user")] == [
        "user:abandoned", "user:1", "user:2",
    ]  # fmt: skip


@pytest.mark.usefixtures("session")
def test_who_took_over_a_turn_without_a_ticket_holds_up_nobody(
    store: Store, clock: ManualClock
) -> None:
    store.begin_turn("s", "abandoned")
    clock.advance(31)
    committed(store, store.begin_turn("s", "1"))
    assert not store.begin_turn("s", "2", on_busy="reject").resumed


@pytest.mark.parametrize("ticket", ["", "x", "a" * 31, "A" * 32, 5, b"a" * 32])
def test_what_is_no_ticket_is_refused(store: Store, ticket: Any) -> None:
    with pytest.raises(InvalidInput, match="a ticket is 32 hexadecimal digits"):
        store.begin_turn("s", "one", ticket=ticket)


# --- one try for each turn ------------------------------------------------------------------------


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("many", [3, 12])
def test_a_turn_costs_the_same_few_tries_however_many_wait(
    store: Store, waiter: Any, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    tries: list[object] = []

    def begin_turn(*args: Any, **options: Any) -> Any:
        tries.append(args)
        return operation(*args, **options)

    operation = vars(turn_opening)["begin_turn"]
    monkeypatch.setattr(turn_opening, "begin_turn", begin_turn)
    running = store.begin_turn("s", "0")
    futures = [waiter(store, str(n)) for n in range(many)]
    until(lambda: len(tries) >= 1 + 2 * many)  # each found it busy, and again once it listened
    for future in futures:
        committed(store, running)
        running = future.result(LIMIT)
    # Each tried again to get it, and before that once to renew the tickets of those behind.
    assert len(tries) <= 1 + 4 * many


def test_400_who_wait_all_get_their_turn_over_few_connections(
    redis_url: str, redis_server: RedisServer
) -> None:
    store = Store(RedisConfig(url=redis_url, max_connections=10, pool_timeout=60))
    store.create_session("s")
    running = store.begin_turn("s", "first")
    errors: list[BaseException] = []
    client: Any = redis_server.client()
    before = len(client.client_list())  # stores of other tests that are not collected yet, too

    def work(n: int) -> None:
        try:
            committed(store, store.begin_turn("s", str(n), busy_timeout=600))
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(400)]
    for thread in threads:
        thread.start()
    until(lambda: errors or len(waiting(client)) == 400, 120)
    connections = len(client.client_list()) - before
    running = store.renew_lease(running)
    committed(store, running)
    for thread in threads:
        thread.join(300)
    assert errors == []
    assert connections <= 20  # ten of ours, one that listens, those of this test
    assert store.session_state("s").message_count == 802
    assert waiting(client) == []
    client.close()
    store.disconnect()


# --- who died or gave up --------------------------------------------------------------------------


@pytest.mark.usefixtures("session")
def test_a_ticket_ends_by_itself_unless_it_is_renewed(store: Store, clock: ManualClock) -> None:
    running = store.begin_turn("s", "one")
    run(store, clock, line_up("aa"))  # and dies
    run(store, clock, line_up("bb"))
    committed(store, running)
    clock.advance(3)
    assert run(store, clock, line_up("bb"))[0] == b"busy"
    clock.advance(3.001)
    assert run(store, clock, line_up("cc"))[0] == b"busy"
    assert run(store, clock, line_up("bb"))[0] == b"ok"


@pytest.mark.usefixtures("session")
def test_who_died_holds_up_those_behind_it_no_longer_than_its_ticket(
    store: Store, clock: ManualClock, waiter: Any
) -> None:
    running = store.begin_turn("s", "one")
    run(store, clock, line_up("aa"))  # and dies
    behind = waiter(store, "two", busy_timeout=6000)
    committed(store, running)
    let_time_pass(clock, 0.02, behind.done)
    assert behind.result(LIMIT).staged[0].text == "two"


@pytest.mark.usefixtures("session")
def test_the_tickets_of_all_who_wait_here_are_renewed_by_the_first(
    store: Store, client: redis.Redis, clock: ManualClock, waiter: Any
) -> None:
    running = store.begin_turn("s", "0")
    futures = [waiter(store, str(n), busy_timeout=6000) for n in range(1, 4)]
    before = waiting(client)

    def is_another(seen: object) -> bool:
        return client.get("queue:{s}") != seen

    for _ in range(5):
        seen: Any = client.get("queue:{s}")
        let_time_pass(clock, 0.02, partial(is_another, seen))
        running = store.renew_lease(running)
    assert waiting(client) == before
    committed(store, running)
    for future in futures:
        committed(store, future.result(LIMIT))


@pytest.mark.usefixtures("session")
def test_who_gives_up_leaves_the_queue_and_wakes_the_next(
    store: Store, client: redis.Redis, clock: ManualClock, waiter: Any
) -> None:
    running = store.begin_turn("s", "one")
    first = waiter(store, "two", busy_timeout=1)
    second = waiter(store, "three", busy_timeout=600)
    tickets = waiting(client)
    clock.advance(1)
    with pytest.raises(SessionBusy):
        first.result(LIMIT)
    until(lambda: waiting(client) == tickets[1:])
    committed(store, running)
    assert second.result(LIMIT).staged[0].text == "three"


def test_who_leaves_a_free_session_wakes_the_next(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    prepare(store)
    for call in (begin(), line_up("aa"), line_up("bb"), abort("", "")):
        run(store, clock, call)
    with client.pubsub() as listening:
        listening.subscribe("events:{s}")
        until(lambda: client.pubsub_numsub("events:{s}")[0][1] == 1)
        run(store, clock, ("leave_queue", ["aa"]))
        heard: list[Any] = []

        def hears() -> bool:
            message: Any = listening.get_message(timeout=0.1)
            heard.append(message["data"] if message else None)
            return b"queue_moved bb" in heard

        until(hears)


@pytest.mark.usefixtures("session")
def test_the_end_of_the_session_ends_the_wait_of_all_and_leaves_nothing(
    store: Store, client: redis.Redis, waiter: Any
) -> None:
    store.begin_turn("s", "one")
    futures = [waiter(store, str(n)) for n in range(5)]
    store.delete_session("s")
    for future in futures:
        with pytest.raises(SessionNotFound):
            future.result(LIMIT)
    assert client.exists("queue:{s}") == 0


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("hours", [-0.5, 0.5])
def test_a_clock_that_jumps_keeps_nobody_waiting(
    store: Store, clock: ManualClock, hours: float
) -> None:
    running = store.begin_turn("s", "one")
    run(store, clock, line_up("aa"))  # and dies
    run(store, clock, line_up("bb"))
    clock.advance(hours * 3600)
    committed(store, running)
    assert run(store, clock, line_up("bb"))[0] == b"ok"


# --- what is stored -------------------------------------------------------------------------------


def test_the_queue_is_kept_for_a_minute_after_the_last_look(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    prepare(store)
    run(store, clock, begin())
    run(store, clock, line_up("aa"))
    left: Any = client.pttl("queue:{s}")
    assert 50_000 < left <= 60_000 < GRACE_MS


def test_a_session_that_nobody_waits_for_has_no_queue(store: Store, client: redis.Redis) -> None:
    prepare(store)
    committed(store, store.begin_turn("s", "two"))
    assert client.exists("queue:{s}") == 0
    assert client.hget("metadata:{s}", "next") is None


@pytest.mark.parametrize("kind", ["list", "hash", "set", "zset", "stream"])
def test_something_foreign_in_the_place_of_the_queue_is_told_and_left_alone(
    store: Store, client: redis.Redis, clock: ManualClock, kind: str
) -> None:
    prepare(store)
    run(store, clock, begin())
    put(client, "queue:{s}", kind)
    before = dump(client)
    for call in (line_up("aa"), ("leave_queue", ["aa"])):
        assert run(store, clock, call) == [b"wrongtype", b"queue:{s}", kind.encode()]
    assert dump(client) == before


@pytest.mark.usefixtures("session")
def test_who_left_the_queue_is_not_brought_back_by_those_who_renew_its_ticket(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.begin_turn("s", "one")
    run(store, clock, line_up("aa", "bb"))
    assert waiting(client) == ["aa"]
    run(store, clock, line_up("bb"))
    run(store, clock, line_up("aa", "bb"))
    assert waiting(client) == ["aa", "bb"]
