"""Events tell gaps: watchers miss nothing in silence, whatever happens to Redis or the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from miniagent_redis import Event, EventType, Message, RedisConfig, SessionNotFound
from miniagent_redis.errors import StoreUnavailable, TurnUncertain
from miniagent_redis.models import OpenTurn, new_id
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.fault_report import FaultRun
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until

Store = RedisSessionManager
LIMIT = 60.0
END = "the end"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--appendfsync", "no") as started:
        yield started


def number(event_id: str) -> int:
    return int(event_id.partition("-")[2])


def covered(events: list[Event]) -> list[int]:
    """Return the numbers of the events seen and of those that were told to be missing."""
    numbers: list[int] = []
    for event in events:
        if event.type is EventType.GAP:
            first = number(event.data["after"]) + 1
            numbers.extend(range(first, first + event.data["missed"]))
        else:
            numbers.append(number(event.id))
    return numbers


def watched(store: Store, seen: list[Event]) -> None:
    """Watch until the last event, going on like a client that comes back after each ending."""
    after = ""
    while not (seen and seen[-1].data.get("message", {}).get("content") == END):
        for event in store.watch("s", after, timeout=LIMIT):
            seen.append(event)
            after = event.id
            if event.data.get("message", {}).get("content") == END:
                return


def insist(store: Store, text: str) -> None:
    """Append one message, once, however often it has to be tried."""
    operation_id = new_id()
    end = time.monotonic() + LIMIT
    while True:
        try:
            store.append_to_thread("s", Message("system", text), operation_id=operation_id)
            return
        except (StoreUnavailable, TurnUncertain):
            assert time.monotonic() < end


def shake(server: RedisServer, proxy: Proxy, faults: FaultRun) -> str:
    """Do one of the things that happen to servers and networks, and set it right again."""
    kind = faults.random.choice(("kill", "freeze", "cut", "cut", "refuse", "black hole", "trim"))
    pause = threading.Event().wait
    if kind == "kill":
        server.kill()
        server.start()
    elif kind == "freeze":
        server.pause()
        pause(faults.random.uniform(0, 0.3))
        server.resume()
    elif kind == "refuse":
        proxy.refuse()
        proxy.cut()
        pause(faults.random.uniform(0, 0.2))
        proxy.listen()
    elif kind == "black hole":
        proxy.is_black_hole = True
        pause(faults.random.uniform(0, 0.2))
        proxy.is_black_hole = False
        proxy.cut()
    elif kind == "trim":  # more than a thousand events while nobody could read
        proxy.refuse()
        proxy.cut()
        server.client().xtrim("events:{s}", maxlen=2, approximate=False)
        proxy.listen()
    else:
        proxy.cut()
    return kind


def test_each_watcher_sees_every_event_once_or_is_told_of_a_gap(
    faults: FaultRun, server: RedisServer
) -> None:
    shakes = faults.times(6, 150)
    watchers = 3
    seen: list[list[Event]] = [[] for _ in range(watchers)]
    with (
        Proxy(server.socket, faults.random) as proxy,
        ThreadPoolExecutor() as pool,
        Store(RedisConfig(url=server.url)) as writer,
        Store(RedisConfig(url=proxy.url)) as reader,
    ):
        writer.create_session("s")
        watching = [pool.submit(watched, reader, each) for each in seen]
        until(lambda: all(seen))
        written = 1
        for _ in range(shakes):
            for _ in range(faults.random.randrange(1, 8)):
                insist(writer, str(written))
                written += 1
            shake(server, proxy, faults)
        insist(writer, END)
        written += 1
        for each in watching:
            each.result(LIMIT)
    gaps = sum(event.type is EventType.GAP for events in seen for event in events)
    numbers = [covered(events) for events in seen]
    lost = sum(len(set(range(1, written + 1)) - set(each)) for each in numbers)
    doubled = sum(len(each) - len(set(each)) for each in numbers)
    faults.report(faults=shakes, watchers=watchers, events=written, gaps=gaps, lost=lost,
                  doubled=doubled)  # fmt: skip
    assert all(each == list(range(1, written + 1)) for each in numbers)


def write_large(store: Store, events: int, size: int) -> float:
    """Append messages of that size; return the median time of one, in seconds."""
    times = []
    for _ in range(events):
        message = Message("system", "x" * size)
        began = time.perf_counter()
        store.append_to_thread("s", message)
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


@pytest.mark.parametrize("reads_on", [True, False], ids=["slow", "stuck"])
def test_a_slow_reader_has_all_in_order_or_a_gap_and_the_writer_never_waits(
    faults: FaultRun, server: RedisServer, reads_on: bool
) -> None:
    events, size = faults.times(150, 1500), faults.times(20_000, 50_000)
    config = RedisConfig(url=server.url, max_session_size=2**30)
    with Store(config) as store, Store(config) as reader:
        store.create_session("s")
        alone = write_large(store, events // 10, size)
        watcher = reader.watch("s", "")
        seen = [next(watcher)]
        largest = 0
        commands = store.client.info("stats")["total_commands_processed"]
        # The reader takes one event for ten that are written, or none at all.
        beside = 0.0
        for _ in range(10):
            beside += write_large(store, events // 10, size) / 10
            if reads_on:
                seen.extend(next(watcher) for _ in range(events // 100))
            links: list[dict[str, Any]] = store.client.client_list()
            largest = max(largest, *(int(link["omem"]) for link in links))
        spent = store.client.info("stats")["total_commands_processed"] - commands
        total = store.read_events("s", limit=1000)[-1]
        while seen[-1].id != total.id:
            seen.append(next(watcher))
        watcher.close()  # type: ignore[attr-defined]
    last = 1 + events // 10 + events // 10 * 10
    gaps = [event for event in seen if event.type is EventType.GAP]
    faults.report(events=last, bytes_each=size, read=len(seen) - len(gaps), gaps=len(gaps),
                  missed=sum(gap.data["missed"] for gap in gaps), output_buffer=largest,
                  write_alone=alone * 1000, write_beside=beside * 1000, commands=spent)  # fmt: skip
    assert covered(seen) == list(range(1, number(total.id) + 1))
    assert bool(gaps) == (last > 1200)
    assert largest <= 2**20  # it pulls: nothing waits for it at the server
    # One command for each message, with its parts in the script, whoever reads or not.
    assert all(before.id != after.id for before, after in pairwise(seen))


def test_a_server_that_lost_its_data_is_an_error_and_never_silence(faults: FaultRun) -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        store.create_session("s")
        watcher = store.watch("s", "")
        assert next(watcher).type is EventType.SESSION_CREATED
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(next, watcher)
            if faults.random.random() < 0.5:
                until(lambda: store.parts.core.connections.listening.count == 1)
            server.kill()
            server.start()
            with pytest.raises(SessionNotFound):
                waiting.result(LIMIT)


def test_a_server_that_came_back_with_older_data_shows_as_a_gap() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        store.create_session("s")
        insist(store, "kept")
        server.client().save()
        for n in range(5):
            insist(store, f"lost {n}")
        watcher = store.watch("s", "")
        seen = [next(watcher) for _ in range(7)]
        server.kill()
        server.start()
        for n in range(9):  # the numbers of those that were lost are given again, and more
            insist(store, f"new {n}")
        seen += [next(watcher) for _ in range(10)]
        watcher.close()  # type: ignore[attr-defined]
    texts = [event.data["message"]["content"] for event in seen[8:]]
    assert (seen[7].type, seen[7].data["missed"]) == (EventType.GAP, None)
    assert texts == [f"new {n}" for n in range(9)]


def test_an_outage_longer_than_the_timeout_is_an_error(server: RedisServer) -> None:
    with Store(RedisConfig(url=server.url)) as store:
        store.create_session("s")
        watcher = store.watch("s", "", timeout=0.3)
        next(watcher)
        server.kill()
        with pytest.raises(StoreUnavailable):
            next(watcher)
        with pytest.raises(StoreUnavailable):
            next(store.watch("s", ""))


def test_who_waits_for_a_turn_waits_on_through_cuts(faults: FaultRun, server: RedisServer) -> None:
    cuts = faults.times(5, 200)
    with (
        Proxy(server.socket, faults.random) as proxy,
        ThreadPoolExecutor() as pool,
        Store(RedisConfig(url=server.url)) as holder,
        Store(RedisConfig(url=proxy.url)) as waiter,
    ):
        holder.create_session("s")
        turn = holder.begin_turn("s", "one")
        waiting = pool.submit(waiter.begin_turn, "s", "two", busy_timeout=LIMIT)
        channel = "events:{s}"
        for _ in range(cuts):
            until(lambda: holder.client.pubsub_numsub(channel)[0][1] or waiting.done())
            threading.Event().wait(faults.random.uniform(0, 0.02))
            proxy.cut()
            assert not waiting.done()
        holder.commit_turn(turn, [Message("assistant", "1")])
        opened: OpenTurn = waiting.result(LIMIT)
        faults.report(cuts=cuts, turns_begun=2)
        assert (opened.resumed, opened.staged[0].text) == (False, "two")
        assert [m.text for m in opened.thread.messages] == ["one", "1"]
