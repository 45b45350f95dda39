"""Loading a thread, whole or only what is new, against LRANGE and one json.loads per message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from .bench import Bench
from .measure import Run, alternate, ratio, ready
from .table import Row, duration

_NEW = 2


def rows(bench: Bench) -> Iterator[Row]:
    """Measure a whole load, and the loads of one new turn."""
    yield _row(bench, "load a thread of {:,} messages", 1000, 1000, bench.times(5, 1))
    for length in (1000, 10_000):
        yield _row(bench, "load the 2 new of {:,} messages", length, _NEW, bench.times(50, 5))


def _row(bench: Bench, label: str, length: int, wanted: int, repeat: int) -> Row:
    session_id = f"load-{length}-{wanted}"
    epoch = bench.create_session(session_id, length)
    start = length - wanted
    _, key, *_ = bench.store.parts.core.keys.of_session(session_id)
    client: Any = bench.raw

    def ours() -> int:
        return len(bench.store.load_thread(session_id, epoch=epoch, start=start).messages)

    def raw() -> int:
        return len([json.loads(record) for record in client.lrange(key, start, -1)])

    assert ours() == raw() == wanted
    trials = {
        "ours": ready(partial(_repeat, ours, repeat)),
        "raw": ready(partial(_repeat, raw, repeat)),
    }
    taken = alternate(trials, bench.times(40, 3))
    return Row(
        label.format(length),
        duration(median(taken["ours"]) / repeat),
        duration(median(taken["raw"]) / repeat),
        ratio(taken["ours"], taken["raw"]),
    )


def _repeat(run: Run, times: int) -> None:
    for _ in range(times):
        run()
