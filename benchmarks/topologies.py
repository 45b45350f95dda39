"""A turn on each way in which Redis can be run, next to the same turn on one server by TCP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from attrs import evolve

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.telemetry import End, Exchange, Work
from tests.support.cluster import ClusterServers
from tests.support.sentinels import Watched
from tests.support.servers import RedisServer
from tests.support.shares import Shares, uneven
from tests.support.tls import TlsServer, authority
from tests.support.topologies import least_rights

from .bench import Bench, config
from .measure import Trial, alternate, ratio
from .table import duration

_ONE = "one server, by TCP"
_REPLICATED: dict[str, Any] = {"durability": "replicated"}


class _Trips:
    """Counts the exchanges with Redis, while it is asked to."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self, work: Work) -> End:
        self.count += isinstance(work, Exchange)
        return lambda: None


def table(bench: Bench) -> str:
    """Return the table of docs/topologies.md: round trips, time, and that over one server's."""
    turns = bench.times(5, 2)
    with ExitStack() as stack:
        trials: dict[str, Trial] = {}
        trips: dict[str, int] = {}
        for name, settings in _topologies(stack):
            noted = _Trips()
            store = stack.enter_context(RedisSessionManager(settings, instrumentation=noted))
            this = evolve(bench, store=store)
            session_id = f"topology-{len(trials)}"
            this.turns(session_id, 2)()  # the scripts are there, and the replicas in step
            before = noted.count
            this.turn(session_id, store.load_tail(session_id, 1).epoch, 4)
            trips[name] = noted.count - before - 1  # load_tail
            trials[name] = partial(this.turns, session_id, turns)
        taken = alternate(trials, bench.times(200, 2))
    one = taken[_ONE]
    lines = ["| topology | round trips | a turn | over one server |", "|---|--:|--:|--:|"]
    for name, times in taken.items():
        each = duration(median(times) / turns)
        lines.append(f"| {name} | {trips[name]} | {each} | {ratio(times, one):.2f} |")
    return "\n".join(lines)


def masters(bench: Bench) -> str:
    """Return the table of docs/topologies.md about clusters that grow.

    The busiest master's time is its processor's, so that it does not matter with how many others it
    shares the cores of this machine.
    """
    turns = bench.times(4000, 100)
    lines = [
        "| masters | a turn takes of all | of the busiest | so it could do a second | off even |",
        "|--:|--:|--:|--:|--:|",
    ]
    for count in (1, 3, 6):
        with ClusterServers(count, replicas=False) as cluster:
            with RedisSessionManager(config(cluster.url)) as store, ThreadPoolExecutor(4) as pool:
                this = evolve(bench, store=store)
                epochs = {f"s{number}": this.create_session(f"s{number}") for number in range(1000)}
                shares = Shares(cluster)
                several = list(epochs.items())
                done = [
                    pool.submit(this.turn, *several[number % 1000], 2 * (number // 1000))
                    for number in range(turns)
                ]
                for one in done:
                    one.result()
            work = shares.take()
        total = sum(one.seconds for one in work) / turns
        busiest = max(one.seconds for one in work) / turns
        lines.append(
            f"| {count} | {duration(total)} | {duration(busiest)} | {1 / busiest:,.0f} | "
            f"{uneven(work):.0%} |"
        )
    return "\n".join(lines)


def _topologies(stack: ExitStack) -> Iterator[tuple[str, RedisConfig]]:
    """Yield a name and the settings of each; they run until the stack is closed."""
    one = stack.enter_context(RedisServer(tcp=True))
    yield _ONE, config(one.url)
    yield "the same, by its Unix socket", config(f"unix://{one.socket}")
    yield "the same, as a user with the least rights", config(least_rights(one, "least"))
    ca = stack.enter_context(authority())
    secure = stack.enter_context(TlsServer(ca, ca.issue("localhost")))
    yield "the same, over TLS", config(secure.trusting_url)
    followed = stack.enter_context(Watched(replicas=1))
    yield "one server with a replica", config(followed.master.url)
    watched = stack.enter_context(Watched(replicas=2))
    yield "one server with two replicas", config(watched.master.url)
    yield "Sentinel, two replicas", config(watched.url)
    yield "… replicated: both confirm", evolve(config(watched.url), **_REPLICATED)
    alone = stack.enter_context(ClusterServers(replicas=False))
    yield "Cluster, three masters without replicas", config(alone.url)
    cluster = stack.enter_context(ClusterServers())
    yield "Cluster, three masters with a replica each", config(cluster.url)
    yield "… replicated: the replica confirms", evolve(config(cluster.url), **_REPLICATED)
