"""begin + commit of a turn, against its own two EVALSHA in redis-py, at four lengths of thread."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median

from .bench import Bench
from .commands import Command, TurnCommands, run_raw
from .measure import Run, Trial, alternate, ratio
from .table import Row, duration

LENGTHS = (0, 100, 1000, 10_000)
# Bytes in, one RPUSH, a short reply: what no way of storing a turn in two calls can go below.
_BARE = "redis.call('RPUSH', KEYS[3], ARGV[#ARGV]) return {ARGV[1], 'ok'}"


class _Threads:
    """Sessions whose threads have the same length; a batch is one turn on each."""

    def __init__(self, bench: Bench, length: int) -> None:
        self._bench = bench
        self._length = length
        self._bare: str = bench.raw.script_load(_BARE)
        self._sessions: dict[str, int] = {}
        self._commands: dict[str, TurnCommands] = {}
        for number in range(bench.times(10, 2)):
            session_id = f"turn-{length}-{number}"
            epoch = self._sessions[session_id] = bench.create_session(session_id, length)
            self._commands[session_id] = TurnCommands(bench, session_id, epoch, length)

    def trials(self) -> dict[tuple[int, str], Trial]:
        kinds = {"ours": self._ours, "raw": self._raw, "bare": self._without_work}
        return {(self._length, kind): partial(self._prepare, make) for kind, make in kinds.items()}

    def _prepare(self, make: Trial) -> Run:
        """Cut the threads to their length again."""
        pipe = self._bench.raw.pipeline(transaction=False)
        for session_id in self._sessions:
            _, thread, _, metadata, *_ = self._bench.store.parts.core.keys.of_session(session_id)
            pipe.ltrim(thread, 0, self._length - 1) if self._length else pipe.delete(thread)
            pipe.hset(metadata, "message_count", str(self._length))
            pipe.delete(*self._bench.store.parts.core.keys.of_session(_other(session_id)))
        pipe.execute()
        return make()

    def _ours(self) -> Run:
        def run() -> None:
            for session_id, epoch in self._sessions.items():
                self._bench.turn(session_id, epoch, self._length)

        return run

    def _raw(self) -> Run:
        turns = [commands.make(self._length) for commands in self._commands.values()]
        return partial(run_raw, self._bench.raw, turns)

    def _without_work(self) -> Run:
        keys_of = self._bench.store.parts.core.keys.of_session
        turns: list[tuple[Command, Command]] = []
        for session_id, commands in self._commands.items():
            others = dict(zip(keys_of(session_id), keys_of(_other(session_id)), strict=True))
            begin, commit = (
                (self._bare, *(others.get(arg, arg) for arg in command[1:]))
                for command in commands.make(self._length)
            )
            turns.append((begin, commit))
        return partial(run_raw, self._bench.raw, turns)


def _other(session_id: str) -> str:
    return session_id.replace("turn", "bare")  # as long


def rows(bench: Bench) -> Iterator[Row]:
    """Measure all lengths in turn, so that they can be compared too."""
    trials: dict[tuple[int, str], Trial] = {}
    for length in LENGTHS:
        trials |= _Threads(bench, length).trials()
    taken = alternate(trials, bench.times(100, 3))
    turns = bench.times(10, 2)
    for length in LENGTHS:
        ours, raw = taken[length, "ours"], taken[length, "raw"]
        yield Row(
            f"begin + commit of a turn, thread of {length:,} messages",
            duration(median(ours) / turns),
            duration(median(raw) / turns),
            ratio(ours, raw),
            "1.5",
        )
    ours, bare = taken[LENGTHS[0], "ours"], taken[LENGTHS[0], "bare"]
    yield Row(
        "the same, thread of 0 messages; raw: two scripts that only RPUSH the bytes",
        duration(median(ours) / turns),
        duration(median(bare) / turns),
        ratio(ours, bare),
    )
    longest, shortest = (taken[length, "ours"] for length in (LENGTHS[-1], LENGTHS[0]))
    yield Row(
        f"the turn at {LENGTHS[-1]:,} messages, over the turn at {LENGTHS[0]}",
        f"{ratio(longest, shortest):.2f}",
        target="1.2",
    )
