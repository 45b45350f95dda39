"""What is behind a turn: the server's share of it, memory, the sweep and the doctor."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from statistics import median
from typing import Any

from miniagent_redis import RedisSessionManager, SessionAgent
from miniagent_redis.fsck import check
from miniagent_redis.runtime.clock import ManualClock
from tests.support.servers import RedisServer
from tests.support.waiting import until

from .bench import Bench, config
from .table import Row, duration

_TTL = 60.0  # seconds


def rows(bench: Bench) -> Iterator[Row]:
    """Measure one after the other: nothing here has a raw counterpart."""
    micros, commands = _in_the_server(bench)
    yield Row("server time of begin + commit", duration(micros), target="85 µs")
    yield Row("commands that its scripts send in the server", f"{commands:.0f}", target="27")
    yield Row("memory of a message in a loaded thread", f"{_size(bench):,.0f} bytes", target="800")
    yield Row("ended sessions that are swept a second", f"{_swept(bench):,.0f}", target="1,500")
    yield Row("the doctor's look at a session of 20 messages", duration(_examined(bench)))


def _in_the_server(bench: Bench) -> tuple[float, float]:
    """Return seconds and commands of one turn, as the server counts them."""
    turns, client = bench.times(400, 10), bench.raw
    seconds: list[float] = []
    commands: list[float] = []
    for _ in range(bench.times(9, 2)):
        run = bench.turns("upkeep", turns)
        client.config_resetstat()
        run()
        found: Any = client.info("commandstats")
        scripts = found.pop("cmdstat_evalsha")
        seconds.append(scripts["usec"] / 1e6 / turns)
        # Besides, this connection asked for statistics.
        sent = sum(one["calls"] for name, one in found.items() if "config" not in name)
        commands.append((sent - ("cmdstat_info" in found)) / turns)
    return median(seconds), median(commands)


def _size(bench: Bench) -> float:
    """Return the bytes of a message in a thread of questions and answers."""
    turns = bench.times(500, 50)
    bench.turns("size", turns)()
    bench.store.load_thread("size")  # what is made only once
    tracemalloc.start()
    thread = bench.store.load_thread("size")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(thread.messages) == 2 * turns
    return size / (2 * turns)


def _swept(bench: Bench) -> float:
    """Return how many ended sessions an agent's background thread removes in a second."""
    count, clock = bench.times(5000, 50), ManualClock()
    with RedisServer() as server:
        settings = config(server.url)
        with RedisSessionManager(settings, clock=clock) as store:
            for number in range(count):
                store.create_session(f"s{number}", user_id="ada", ttl=_TTL)
            store.parts.index.flush()
            clock.advance(_TTL + 1)
        client: Any = server.client()
        with SessionAgent(redis_config=settings, clock=clock):
            clock.advance(_TTL)  # whenever the first sweep is due, it is by now
            start = time.perf_counter()
            until(lambda: not client.keys("deadlines:*"))
            return count / (time.perf_counter() - start)


def _examined(bench: Bench) -> float:
    """Return the seconds that the check of the data takes for each session."""
    count = bench.times(2000, 20)
    with RedisServer() as server, RedisSessionManager(config(server.url)) as store:
        inner = Bench(server, store, server.client(), bench.quick)
        for number in range(count):
            inner.create_session(f"s{number}", 20)
        store.parts.index.flush()
        start = time.perf_counter()
        assert check(store) == []
        return (time.perf_counter() - start) / count
