"""Several databases of which one is used: the first in the address that can be.

redis-py's circuit breakers and its failover strategy choose, as in its multi-database client, and
our own connections lead there: that client repeats writes whose reply was lost, and its threads end
with a fork. A thread of ours asks all databases each second.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import redis

from ...config.redis import RedisConfig
from ...errors import StoreMisconfigured, StoreUnavailable
from ...runtime.forking import reset_after_fork
from ...runtime.installing import pip_install
from ...runtime.interrupts import Flag
from .asking_databases import Databases, Place, shown
from .topology import Command, Endpoint, Node

log: logging.Logger = logging.getLogger("miniagent_redis")
_ACTIVE: Node = ""
_INTERVAL = 1.0  # seconds from one look to the next
_TRIES = 3  # before a database is left
_PROBATION = 5.0
"""Seconds for which one that is back has to answer before it is used again in another's place."""
_LACKING = "redis+multidb:// needs parts that are not installed"


class Judge:
    """Looks at all databases, and names the one to use. For one thread at a time.

    A circuit is closed while its database answers, open while it does not, and half open while one
    that is back is on probation. Raises StoreMisconfigured if redis-py has no such parts.
    """

    def __init__(self, config: RedisConfig) -> None:
        try:
            from redis.data_structure import WeightedList
            from redis.multidb import circuit, database, exception, failover
            from redis.multidb import config as options
        except ImportError as exc:
            raise StoreMisconfigured(
                _LACKING,
                cause=f"redis-py {redis.__version__}: {exc}",
                hint=pip_install("multidb"),
            ) from exc
        self._databases = Databases(config)
        self._state: Any = circuit.State
        self._none_closed = exception.NoValidDatabaseException
        self._known: dict[Place, Any] = {}
        self._back_at: dict[Place, float] = {}
        ranked: Any = WeightedList()  # type: ignore[no-untyped-call]
        for rank, place in enumerate(self._databases):
            breaker = options.DatabaseConfig(grace_period=_PROBATION).default_circuit_breaker()
            one = database.Database(client=None, circuit=breaker, weight=-rank)  # type: ignore
            self._known[place] = one
            ranked.add(one, -rank)
        self._strategy = failover.WeightBasedFailoverStrategy()
        self._strategy.set_databases(ranked)
        self.causes: dict[Place, str] = {}
        """Why those cannot be used that cannot."""

    def look(self) -> Place | None:
        """Ask each; return which one to use, None if none can be."""
        for place, database in self._known.items():
            self._note(place, database.circuit)
        try:
            chosen: Any = self._strategy.database()
        except self._none_closed:
            return next((place for place in self._known if place not in self.causes), None)
        return next(place for place, one in self._known.items() if one is chosen)

    def _note(self, place: Place, circuit: Any) -> None:
        state = circuit.state
        cause = self._databases.ask(place, _TRIES if state == self._state.CLOSED else 1)
        if cause:
            self.causes[place] = cause
            circuit.state = self._state.OPEN
            return
        self.causes.pop(place, None)
        if state == self._state.OPEN:
            circuit.state = self._state.HALF_OPEN
            self._back_at[place] = time.monotonic()
        elif time.monotonic() - self._back_at.get(place, 0.0) >= circuit.grace_period:
            circuit.state = self._state.CLOSED

    def error(self, address: str) -> StoreMisconfigured | StoreUnavailable:
        """Build the error for when none can be used."""
        cause = "; ".join(f"{shown(place)}: {text}" for place, text in self.causes.items())
        refused = list(self._databases.refused.values())
        if len(refused) == len(self._known):
            return StoreMisconfigured(refused[0].problem, cause=cause, hint=refused[0].hint)
        hint = "start one of them; miniagent-redis doctor tells what each of them says"
        return StoreUnavailable(f"no database of {address} can be used", cause=cause, hint=hint)

    def close(self) -> None:
        """Disconnect from all databases."""
        self._databases.close()


class ActiveDatabase:
    """The topology of several databases: one server at a time, which may be another any time.

    A process decides for itself which. A forked child goes on with its parent's, and looks itself.
    """

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._place: Place = config.address.nodes[0]
        self._is_open = False
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the thread
        self._thread: object | None = None  # stands for the one that looks
        self._wake = Flag()

    def open(self) -> None:
        """Look once, and from then on in the background."""
        judge = Judge(self._config)
        try:
            place = judge.look()
            if place is None:
                raise judge.error(str(self._config.address))
        except BaseException:
            judge.close()
            raise
        self._place, self._is_open = place, True
        self._ensure_looking(judge)

    def close(self) -> None:
        self._is_open, self._thread = False, None
        self._wake.set()

    def node(self, command: Command) -> Node:
        return _ACTIVE

    def anywhere(self) -> Node:
        return _ACTIVE

    def everywhere(self) -> Sequence[Node]:
        return (_ACTIVE,)

    def endpoint(self, node: Node) -> Endpoint:
        """Return where the database is that is used now. Never blocks."""
        if self._thread is None and self._is_open:  # in a forked child
            self._ensure_looking(None)
        return Endpoint(*self._place)

    def heal(self, node: Node) -> None:
        """Have the databases looked at, at once."""
        self._wake.set()

    def _ensure_looking(self, judge: Judge | None) -> None:
        with self._lock:
            if self._thread is None:
                thread = self._thread = object()
                about = weakref.ref(self), thread, judge or Judge(self._config), self._wake
                name = "miniagent-redis-databases"
                try:
                    threading.Thread(target=_watch, args=about, name=name, daemon=True).start()
                except BaseException:
                    self._thread = None  # if it has started all the same, it ends
                    raise

    def learn(self, thread: object, place: Place | None, causes: dict[Place, str]) -> bool:
        """Take what the thread found; return whether it goes on. With none the last one stays."""
        if self._thread is not thread:
            return False
        if place is not None and place != self._place:
            why = causes.get(self._place, "it is back")
            log.warning("the database at %s is used in place of that at %s: %s",
                        shown(place), shown(self._place), why)  # fmt: skip
            self._place = place
        return True


def _watch(
    reference: weakref.ref[ActiveDatabase], thread: object, judge: Judge, wake: Flag
) -> None:
    # A function of its own: a thread that knew its topology would keep it alive.
    place: Place | None = None
    while (topology := reference()) is not None and topology.learn(thread, place, judge.causes):
        del topology
        wake.wait(_INTERVAL)
        wake.clear()
        try:
            place = judge.look()
        except Exception:
            log.exception("looking at the databases goes on after a fault of its own")
    judge.close()
