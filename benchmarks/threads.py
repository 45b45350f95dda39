"""Turns a second from several threads on one store, against several threads on one client."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from threading import Barrier

from .bench import Bench
from .commands import TurnCommands, run_raw
from .measure import Run, Trial, alternate, ratio
from .table import Row

_THREADS = 1, 8, 32
_numbers = itertools.count()


def rows(bench: Bench) -> Iterator[Row]:
    """Measure 1, 8 and 32 threads in turn, each with a session of its own."""
    trials: dict[tuple[int, str], Trial] = {}
    for threads in _THREADS:
        turns = bench.times(960, 64) // threads
        for name, make in {"ours": _ours, "raw": _raw}.items():
            trials[threads, name] = partial(_prepare, bench, threads, partial(make, bench, turns))
    taken = alternate(trials, bench.times(12, 2))
    a_second = {which: bench.times(960, 64) / median(times) for which, times in taken.items()}
    for threads in _THREADS:
        yield Row(
            f"turns a second, {threads} thread{'s' * (threads > 1)}",
            f"{a_second[threads, 'ours']:,.0f}",
            f"{a_second[threads, 'raw']:,.0f}",
            ratio(taken[threads, "raw"], taken[threads, "ours"]),
        )
    for threads in _THREADS[1:]:
        yield Row(
            f"turns a second, {threads} threads over 1",
            f"{ratio(taken[1, 'ours'], taken[threads, 'ours']):.2f}",
            f"{ratio(taken[1, 'raw'], taken[threads, 'raw']):.2f}",
            target="1.8" if threads == 8 else "1.7",
        )


def _ours(bench: Bench, turns: int, session_id: str, epoch: int) -> Run:
    def run() -> None:
        for number in range(turns):
            bench.turn(session_id, epoch, 2 * number)

    return run


def _raw(bench: Bench, turns: int, session_id: str, epoch: int) -> Run:
    commands = TurnCommands(bench, session_id, epoch, 0)  # this is a turn, too
    return partial(
        run_raw, bench.raw, [commands.make(2 * number) for number in range(1, turns + 1)]
    )


def _prepare(bench: Bench, threads: int, make: partial[Run]) -> Run:
    """Start the threads; they wait until the function that is returned is called."""
    work = []
    for _ in range(threads):
        session_id = f"threads-{next(_numbers)}"
        work.append(make(session_id, bench.create_session(session_id)))
    start = Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads)

    def started(run: Run) -> None:
        start.wait()
        run()

    futures = [pool.submit(started, run) for run in work]

    def run_all() -> None:
        start.wait()
        for future in futures:
            future.result()
        pool.shutdown()

    return run_all
