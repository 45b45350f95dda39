"""A turn on servers that sync their append-only file at different times: what safety costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median

from miniagent_redis import RedisSessionManager
from tests.support.servers import RedisServer

from .bench import Bench, config
from .measure import Trial, alternate, ratio
from .table import Row, duration

_BARE = "no append-only file"
_LEVELS = {_BARE: ("--appendonly", "no")} | {
    f"appendfsync {when}": ("--appendonly", "yes", "--appendfsync", when)
    for when in ("everysec", "always")
}


def rows(bench: Bench) -> Iterator[Row]:
    """Measure all levels in turn, each against a server that keeps nothing."""
    turns = bench.times(20, 2)
    trials: dict[str, Trial] = {}
    with ExitStack() as stack:
        for level, options in _LEVELS.items():
            server = stack.enter_context(RedisServer(*options))
            store = stack.enter_context(RedisSessionManager(config(server.url)))
            trials[level] = partial(
                Bench(server, store, bench.raw, bench.quick).turns, "durable", turns
            )
        taken = alternate(trials, bench.times(30, 2))
    bare = taken.pop(_BARE)
    for level, times in taken.items():
        yield Row(
            f"a turn, {level}; raw: the same turn, {_BARE}",
            duration(median(times) / turns),
            duration(median(bare) / turns),
            ratio(times, bare),
        )
