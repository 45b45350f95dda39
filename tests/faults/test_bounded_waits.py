"""No call waits longer than it says, whatever is wrong, and none pretends that all is well.

Every public method meets every outage: first as the one that finds out, and again at once, when it
is known that Redis is away. Then the outage ends, and each store finds that out by itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from attrs import define, field

from miniagent_redis.errors import (
    MiniAgentError,
    StoreMisconfigured,
    StoreUnavailable,
    TurnNotSaved,
    TurnUncertain,
)
from tests.support.calls import CALLS, COMMIT_TIMEOUT
from tests.support.fault_report import FaultRun
from tests.support.outages import OUTAGES
from tests.support.place import Place, is_back
from tests.support.waiting import until
from tests.support.world import World

OVERRUN = 0.5
AT_ONCE = 0.1
FEW = 6
AT_A_TIME = 6  # kinds of outage: each is met by a thread for each method
RECOVERY = 5.0  # seconds; a store that is known to be down is tried every second
OUTAGE_ERRORS = (StoreUnavailable, StoreMisconfigured, TurnNotSaved, TurnUncertain)
# Kinds in which what reads is answered: what it returns must be true all the same.
WRITES_REFUSED = {"read only", "no memory", "no replicas", "cannot save"}
# Kinds in which some calls get through by repetition, or all do.
PARTLY = {"cut", "some replies lost", "restarted", "scripts forgotten"}
# Not states of the server that are told: our own calls are too many, or it does not let us in.
REFUSALS = {"pool exhausted", "no channels", "password wanted", "password wrong", "no rights"}
MAY_RETURN = WRITES_REFUSED | PARTLY | {"pool exhausted", "no channels"}


@define
class Meeting:
    """What a call did in an outage, and its store after it; times in seconds.

    ``late`` says by how much it was over its deadline, ``late_again`` that of its repetition.
    """

    kind: str
    name: str
    late: float
    late_again: float = -AT_ONCE
    error: BaseException | None = None
    recovery: float = 0.0
    told: list[str] = field(factory=list)

    @property
    def is_late(self) -> bool:
        return max(self.late, self.late_again) > OVERRUN or self.recovery > RECOVERY

    @property
    def complaint(self) -> str:
        """What is wrong with what it said, or nothing."""
        error, call = self.error, CALLS[self.name]
        if error is None:
            fine = call.may_return or self.kind in MAY_RETURN
            return "" if fine else "it returned"
        if not isinstance(error, OUTAGE_ERRORS):
            return f"it raised {error!r}"
        if self.kind == "scripts forgotten":
            return f"it had no reason to raise {error!r}"
        assert isinstance(error, MiniAgentError)
        said = error.problem, error.cause, error.hint
        return "" if all(said) else f"it does not say all: {said}"

    @property
    def mistold(self) -> str:
        """What is wrong with the news of health, or nothing: one outage, one beginning, one end."""
        if self.kind in PARTLY:
            expected = [["down", "healthy"] * (len(self.told) // 2)]
        elif self.kind in REFUSALS:
            expected = [[]]
        else:
            expected = [["down", "healthy"]]
        return "" if self.told in expected else f"it told {self.told}"


def test_no_call_waits_longer_than_it_says(faults: FaultRun) -> None:
    kinds, names = list(OUTAGES), list(CALLS)
    if not faults.is_full:
        kinds, names = faults.random.sample(kinds, 3), faults.random.sample(names, 8)
    dice = [random.Random(faults.random.random()) for _ in kinds]
    with ThreadPoolExecutor(faults.times(AT_A_TIME, 1)) as pool:
        met = [row for rows in pool.map(_meet, kinds, dice, [names] * len(kinds)) for row in rows]
    busy = [row for row in met if row.is_late or row.mistold]
    for kind in {row.kind for row in busy}:  # perhaps the machine was: once more, a few at a time
        late_names = [row.name for row in busy if row.kind == kind]
        met = [row for row in met if row not in busy or row.kind != kind]
        for n in range(0, len(late_names), FEW):
            met += _meet(kind, random.Random(faults.seed), late_names[n : n + FEW])
    wrong = [f"{row.kind}, {row.name}: {said}" for row in met if (said := row.complaint)]
    mistold = [f"{row.kind}, {row.name}: {said}" for row in met if (said := row.mistold)]
    late = [
        f"{row.kind}, {row.name}: {row.late}, {row.late_again}, {row.recovery}"
        for row in met
        if row.is_late
    ]
    for row in sorted(met, key=lambda row: -row.late)[:8]:
        print(f"{row.late:+.3f}  {row.kind}, {row.name}: {row.error!r:.90}")
    faults.report(
        outages=len(kinds),
        methods=len(names),
        calls=len(met),
        measured_twice=len(busy),
        late=len(late),
        wrong=len(wrong),
        mistold=len(mistold),
        longest_overrun=max(row.late for row in met),
        longest_overrun_when_known=max(row.late_again for row in met),
        longest_recovery=max(row.recovery for row in met),
    )
    assert not wrong
    assert not mistold
    assert not late
    assert max(row.recovery for row in met) < RECOVERY


def _meet(kind: str, dice: random.Random, names: list[str]) -> list[Meeting]:
    """Let each of the named calls meet one outage at the same time, each in a world of its own."""
    with Place(dice) as place, ThreadPoolExecutor(len(names)) as pool, ExitStack() as outage:
        worlds = [World(place, kind, f"w{number}") for number in range(len(names))]
        for world in worlds if kind == "pool exhausted" else worlds[:1]:
            outage.enter_context(OUTAGES[kind](place, world.store))
        met = list(pool.map(_measure, [kind] * len(names), names, worlds))
        outage.close()
        until(lambda: is_back(place))
        list(pool.map(_recover, met, worlds))
    return met


def _measure(kind: str, name: str, world: World) -> Meeting:
    call = CALLS[name]
    took, error = _timed(world, call)
    commit = COMMIT_TIMEOUT if call.commits and kind in PARTLY else 0.0
    row = Meeting(kind, name, took - call.deadline - commit, error=error)
    if kind not in PARTLY | REFUSALS:
        if call.again_at_once and error is not None:
            # A try every second may be made, and then the next call is quick.
            row.late_again = min(_timed(world, call)[0] for _ in range(2)) - AT_ONCE
        for _ in range(2):
            _timed(world, _write)
            _timed(world, CALLS["RedisSessionManager.get_session"])
    return row


def _write(world: World) -> None:
    world.store.update_session(world.sid, {"n": 3})


def _recover(row: Meeting, world: World) -> None:
    began = time.monotonic()
    errors: list[object] = [None]

    def works() -> bool:
        errors[0] = _timed(world, _write)[1]
        return errors[0] is None

    try:
        until(works)
    except AssertionError:
        print(f"{row.kind}, {row.name}: does not recover: {errors[0]!r}")
    row.recovery = time.monotonic() - began
    row.told = list(world.told)
    world.close()


def _timed(world: World, make: Callable[[World], object]) -> tuple[float, BaseException | None]:
    began, error = time.monotonic(), None
    try:
        make(world)
    except BaseException as exc:
        error = exc
        # They hold the worlds of thousands of calls, and each search for garbage would see them.
        exc.__traceback__ = exc.__context__ = exc.__cause__ = None
    return time.monotonic() - began, error
