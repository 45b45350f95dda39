"""A failed write is "not written" or "uncertain", and resolve_turn is right about it.

Each round many writers meet one outage, which begins and ends at random moments: before their
writes, between a write and its reply, while it is repeated, after they gave up. What they were
told is compared with what the server holds then, and with what it holds in the end.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import redis
from attrs import define, field

from miniagent_redis import Message, RedisSessionManager, StoreMisconfigured, StoreUnavailable
from miniagent_redis.errors import MiniAgentError, TurnNotSaved, TurnUncertain
from miniagent_redis.models import OpenTurn
from miniagent_redis.records.frame import decode
from tests.support.fault_report import FaultRun
from tests.support.outages import HARMLESS, OUTAGES
from tests.support.place import Place, is_back
from tests.support.waiting import LIMIT, until

SOCKET_TIMEOUT = 0.25
LEASE = 1.0  # which a begin waits for that is repeated, when it was stored and nobody heard
NOT_WRITTEN = (TurnNotSaved, StoreUnavailable, StoreMisconfigured)
ROUND = 25
OTHERS = ("append", "stage", "begin")


@define(eq=False)
class Attempt:
    """One write, what was told of it and what is true of it."""

    kind: str
    what: str
    store: RedisSessionManager
    session_id: str
    turn: OpenTurn | None
    answer: Message = field(factory=lambda: Message("assistant", "b"))
    error: MiniAgentError | None = None
    resolution: str = ""
    then: str = ""
    verdict: str = ""

    @property
    def name(self) -> str:
        """The turn or operation id."""
        return f"{self.session_id}-op" if self.turn is None else self.turn.turn_id

    def write(self) -> None:
        store, sid = self.store, self.session_id
        if self.what == "append":
            several = [Message("user", "a"), Message("assistant", "b")]
            store.append_to_thread(sid, several, operation_id=self.name)
        elif self.what == "begin":
            store.begin_turn(sid, "a", turn_id=self.name)
        elif self.what == "stage":
            assert self.turn is not None
            store.stage_step(self.turn, [self.answer])
        else:
            assert self.turn is not None
            store.commit_turn(self.turn, [self.answer])

    def is_stored(self, admin: Any) -> str:
        """Return "yes", "no", or how it is broken."""
        key = "turn" if self.what in ("stage", "begin") else "thread"
        records = admin.lrange(f"{key}:{{{self.session_id}}}", 0, -1)
        found = [decode(record)["content"] for record in records]
        whole = ["a"] if self.what == "begin" else ["a", "b"]
        if found == whole:
            return "yes"
        return "no" if found in ([], ["a"] if self.what == "stage" else []) else f"broken {found}"


def test_what_is_told_of_a_failed_write_is_true(faults: FaultRun) -> None:
    rounds = faults.times(12, 240)
    lanes = 3
    kinds = list(OUTAGES)
    plan = [kinds[number % len(kinds)] for number in range(max(rounds, len(kinds)))]
    faults.random.shuffle(plan)
    size = ROUND if faults.is_full else 10
    dice = [random.Random(faults.random.random()) for _ in range(lanes)]
    with ThreadPoolExecutor(lanes) as pool:
        played = pool.map(_play, dice, [plan[lane::lanes] for lane in range(lanes)], [size] * lanes)
    attempts = [attempt for lane in played for attempt in lane]
    commits = [attempt for attempt in attempts if attempt.what == "commit"]
    told = Counter(_outcome(attempt) for attempt in commits)
    wrong = [attempt for attempt in attempts if attempt.verdict]
    for kind in kinds:
        each = Counter(_outcome(a) for a in attempts if a.kind == kind)
        print(f"{kind:20}", *(f"{name} {number}" for name, number in sorted(each.items())))
    faults.report(
        commits=len(commits),
        other_writes=len(attempts) - len(commits),
        kinds=len(kinds),
        **dict(sorted(told.items())),
        uncertain_and_stored=sum(a.resolution == "committed" for a in commits),
        misclassified=len(wrong),
    )
    assert not [(a.kind, a.what, repr(a.error), a.resolution, a.then, a.verdict) for a in wrong]
    assert told["returned"]
    if faults.is_full:  # else the few writes may all come before the outages, or after them
        assert told["TurnNotSaved"]
        assert told["TurnUncertain"]


def _outcome(attempt: Attempt) -> str:
    return "returned" if attempt.error is None else type(attempt.error).__name__


def _play(dice: random.Random, plan: list[str], size: int) -> list[Attempt]:
    attempts: list[Attempt] = []
    with Place(dice) as place, ThreadPoolExecutor(size + size // 4) as writers:
        stores = {
            (timeout, kind): place.store(
                kind,
                commit_timeout=timeout,
                socket_timeout=SOCKET_TIMEOUT,
                max_connections=40,
                lease_ttl=LEASE,
            )
            for timeout in (0.2, 0.6)
            for kind in ("", "password wanted")
        }
        for number, kind in enumerate(plan):
            anonymous = "password wanted" if kind == "password wanted" else ""
            store = stores[dice.choice((0.2, 0.6)), anonymous]
            attempts += _round(place, writers, store, kind, f"r{number}", size)
        admin = place.admin()
        for attempt in attempts:  # once more: nothing that was not written came later
            _judge(attempt, attempt.is_stored(admin))
    return attempts


def _round(
    place: Place,
    writers: ThreadPoolExecutor,
    store: RedisSessionManager,
    kind: str,
    name: str,
    size: int,
) -> list[Attempt]:
    dice = place.dice
    attempts = [
        _prepared(kind, "commit" if n < size else OTHERS[n % 3], store, f"{name}-{n}")
        for n in range(size + size // 4)
    ]
    _connect(store, len(attempts))
    window = dice.choice((0.02, 0.1, 0.4))
    started = time.monotonic()
    moments = [dice.uniform(0, window) for _ in attempts]
    done = [
        writers.submit(_write, attempt, started + moment)
        for attempt, moment in zip(attempts, moments, strict=True)
    ]
    _wait_until(started + dice.uniform(-0.02, window))
    with OUTAGES[kind](place, store):
        _wait_until(time.monotonic() + dice.choice((0.02, 0.1, 0.3, 0.9)) * dice.uniform(0.5, 1))
    for future in done:
        future.result(LIMIT)
    until(lambda: is_back(place) and store.health_check())
    admin = place.admin()
    for attempt in attempts:
        _judge(attempt, attempt.is_stored(admin))
        if isinstance(attempt.error, TurnUncertain):
            _resolve(attempt, admin, dice)
    return attempts


def _prepared(kind: str, what: str, store: RedisSessionManager, session_id: str) -> Attempt:
    store.create_session(session_id)
    turn = store.begin_turn(session_id, "a") if what in ("commit", "stage") else None
    return Attempt(kind, what, store, session_id, turn)


def _connect(store: RedisSessionManager, connections: int) -> None:
    """Have so many connections at hand: over an old one a write is sent that no one answers."""
    held = store.parts.core.connections.pool
    taken: list[Any] = []

    def are_taken() -> bool:
        with suppress(redis.RedisError, StoreUnavailable):  # a busy machine is late to let us in
            while len(taken) < connections:
                taken.append(held.take())
        return len(taken) == connections

    until(are_taken)
    for connection in taken:
        held.give(connection, in_order=True)


def _write(attempt: Attempt, moment: float) -> None:
    _wait_until(moment)
    try:
        attempt.write()
    except MiniAgentError as exc:
        attempt.error = exc


def _judge(attempt: Attempt, stored: str) -> None:
    """Note what is wrong with what was told, seeing what is stored now."""
    error = attempt.error
    if stored not in ("yes", "no"):
        attempt.verdict = stored
    elif error is not None and attempt.kind in HARMLESS:
        attempt.verdict = "it had no reason to fail"
    elif error is None and stored == "no":
        attempt.verdict = "lost"
    elif isinstance(error, NOT_WRITTEN) and stored == "yes":
        attempt.verdict = "said to be not written"
    elif error is not None and not isinstance(error, (*NOT_WRITTEN, TurnUncertain)):
        attempt.verdict = "another error"
    elif attempt.then and attempt.then != stored:
        attempt.verdict = f"{attempt.resolution}, and then {stored}"


def _resolve(attempt: Attempt, admin: Any, dice: random.Random) -> None:
    """Ask what became of it, and act on the answer as a program would."""
    store, sid, turn = attempt.store, attempt.session_id, attempt.turn
    attempt.resolution = store.resolve_turn(sid, attempt.name)
    stored = attempt.is_stored(admin)
    expected = "committed" if stored == "yes" else "unknown" if turn is None else "open"
    if attempt.what in ("stage", "begin"):
        expected = "open" if attempt.what == "stage" or stored == "yes" else "unknown"
    if attempt.resolution != expected:
        attempt.verdict = f"resolved as {attempt.resolution}, and stored: {stored}"
    elif attempt.resolution == "committed":
        attempt.then = "yes"
    elif dice.random() < 0.5:
        attempt.write()  # the same again: stored once
        attempt.then = "yes"
    elif attempt.what == "commit":
        assert turn is not None
        assert store.abort_turn(turn)  # given up: never stored
        attempt.then = "no"
    else:
        attempt.then = stored


def _wait_until(moment: float) -> None:
    threading.Event().wait(max(0.0, moment - time.monotonic()))
