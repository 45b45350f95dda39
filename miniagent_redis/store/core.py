"""What every noun of the store is handed: connections, keys, scripts, record format and clock.

Here a lost reply becomes an error of ours, and what all session scripts answer alike is read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from attrs import define, evolve, field, frozen

from ..config import RedisConfig
from ..connection.connections import Connections
from ..connection.faults import ReplyLost
from ..connection.replicating import NotReplicated
from ..connection.topology import Command, Node
from ..errors import (
    MiniAgentError,
    NotDurable,
    OutcomeUnknown,
    RecordUnreadable,
    SessionNotFound,
    SessionTooLarge,
    StoreUnavailable,
    TurnUncertain,
)
from ..records.format import RecordFormat, Where
from ..runtime.clock import Clock
from ..telemetry import Telemetry
from .checks import miscounted
from .keys import GRACE_MS, Keys, check_session_id, check_user_id
from .one_session import first_tries, note_answer
from .scripts import Scripts
from .tries import Tries, Uncertain, Uncertainties

log: logging.Logger = logging.getLogger("miniagent_redis")

Argument = str | bytes | int
_READING = frozenset((
    "ACL", "EXISTS", "GET", "HGET", "HMGET", "INFO", "LRANGE", "PING", "PTTL", "SCAN", "TIME",
    "TYPE", "ZRANGE", "ZSCAN", "ZSCORE",
))  # fmt: skip
_TOLD_TO_STAND = frozenset(("delete_session", "forget_session", "move_session",
                            "resolve_turn", "set_title", "touch_session"))  # fmt: skip
"""Scripts whose answer others rely on, as on that of a write that can be asked for by its id."""
FORGOTTEN = "so much was done on the session meanwhile that the server has forgotten whether it was"
LET_GO = "if it was stored, it is among the messages that were let go of to make room"
MADE_ANEW = "perhaps the session was cleared, or ended and made anew, meanwhile: it was left alone"
"""Why it is not known whether an operation was done, though Redis answers."""


class MakesRoom(Protocol):
    """Frees what a session of ``size`` bytes has too much; returns whether that could be done."""

    def __call__(self, on: OnSession, size: int, *, keeps_last: bool) -> bool: ...


@define
class Tally:
    """Counts of what went wrong in this process and stopped nothing."""

    unreadable_records: int = 0
    failed_expiry_hooks: int = 0
    dropped_usage: int = 0


@frozen(eq=False)
class StoreCore:
    """One namespace of one Redis, as the nouns use it. Safe for threads."""

    config: RedisConfig
    connections: Connections
    keys: Keys
    scripts: Scripts
    format: RecordFormat
    clock: Clock
    telemetry: Telemetry | None
    tally: Tally
    make_room: MakesRoom | None = None
    """What is done about a full session before it is SessionTooLarge."""
    uncertain: Uncertainties = field(factory=Uncertainties)

    @classmethod
    def of(
        cls,
        config: RedisConfig,
        format: RecordFormat,
        clock: Clock,
        telemetry: Telemetry | None = None,
    ) -> StoreCore:
        """Build the core of a store with connections of its own, none of them open yet."""
        connections = Connections(config, clock, telemetry=telemetry)
        keys, scripts = Keys(config.namespace, config.address.db), Scripts(connections)
        return cls(config, connections, keys, scripts, format, clock, telemetry, Tally())

    def tenant(self, namespace: str) -> StoreCore:
        """Return the core of another namespace on the same connections."""
        config = evolve(self.config, namespace=namespace)
        keys = Keys(namespace, config.address.db)
        return evolve(self, config=config, keys=keys, tally=Tally())

    def where(self, kind: str, key: str) -> Where:
        """Name a record for its format: its kind, and the session or cache key it belongs to."""
        return Where(kind, key, self.config.namespace)

    # --- sending ----------------------------------------------------------------------------

    def call(self, *command: Any) -> Any:
        """Send one plain command that may be repeated; return its reply."""
        return self.call_many([command])[0]

    def call_many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send plain commands that may be repeated, in one round trip; return their replies."""
        try:
            return list(self.connections.call_many(commands)) if commands else []
        except ReplyLost as exc:
            if writing := [command[0] for command in commands if command[0] not in _READING]:
                raise OutcomeUnknown(" and ".join(dict.fromkeys(writing)), str(exc)) from exc
            raise self.connections.unavailable(str(exc)) from exc

    def call_at(self, node: Node, *command: Any) -> Any:
        """Send one plain command that only reads to a certain server; return its reply."""
        try:
            return self.connections.call_at(node, *command)
        except ReplyLost as exc:
            raise self.connections.unavailable(str(exc)) from exc

    def call_told(self, *command: Any) -> tuple[Any, bool]:
        """Send a command that writes; return its reply, and whether one was lost before.

        Then an earlier try may have done what this one found done.
        """
        tries = Tries()

        def attempt() -> Any:
            try:
                return self.connections.exchange([command])[0]
            except ReplyLost:
                tries.is_lost = True
                raise

        try:
            return self.connections.persist(attempt, operation=command[0]), tries.is_lost
        except ReplyLost as exc:
            raise OutcomeUnknown(command[0], str(exc)) from exc

    def call_once(self, *command: Any) -> Any:
        """Send a command that has its effect each time: not again when its reply was lost."""

        def attempt() -> Any:
            try:
                return self.connections.exchange([command])[0]
            except ReplyLost as exc:
                raise OutcomeUnknown(command[0], str(exc)) from exc

        return self.connections.persist(attempt, operation=command[0])

    def run(self, name: str, keys: Sequence[str], *args: Argument) -> list[Any]:
        """Run a script that is no session's; return its reply from the status on."""
        try:
            return self.scripts.run(name, keys, args)
        except ReplyLost as exc:
            raise self.unanswered(name, str(exc)) from exc

    def unanswered(self, name: str, cause: str) -> StoreUnavailable:
        """Build the error for a script to which no reply came."""
        if self.scripts.only_reads(name):
            return self.connections.unavailable(cause)
        return OutcomeUnknown(name, cause)

    def read_each(
        self, name: str, several: Sequence[Sequence[str]], *args: Argument
    ) -> list[list[Any]]:
        """Run a script that only reads, on several sets of keys in one round trip; as ``run``."""
        try:
            return self.scripts.read_each(name, several, args) if several else []
        except ReplyLost as exc:
            raise self.connections.unavailable(str(exc)) from exc

    def on(
        self,
        session_id: str,
        user_id: str | None = None,
        *,
        operation: str | None = None,
        insist: float | None = None,
        shows: str | None = None,
    ) -> OnSession:
        """Return what runs scripts on a session; with ``user_id`` only on one of that user.

        ``operation`` names a write whose lost reply is to be told as TurnUncertain. ``insist`` is
        for how many seconds it is repeated while Redis is away, in place of the usual time. If it
        was done, a turn or message with the id ``shows`` is in the thread.
        """
        user = b"" if user_id is None else check_user_id(user_id)
        return OnSession(self, check_session_id(session_id), user, operation, insist, shows)

    def script_now(self) -> Argument:
        """Return the time that scripts are given: '' for the server's own, ms in tests."""
        now = self.clock.server_now_ms()
        return "" if now is None else now

    def now_ms(self, time: Sequence[bytes]) -> int:
        """Return the time that scripts go by, in ms; ``time`` is the server's reply to TIME."""
        now = self.clock.server_now_ms()
        return int(time[0]) * 1000 + int(time[1]) // 1000 if now is None else now


@define(eq=False, repr=False)
class OnSession:
    """Runs scripts on one session, with the arguments that all of them begin with."""

    core: StoreCore
    session_id: str
    user: bytes
    operation: str | None
    insist: float | None
    shows: str | None = None
    tries: Tries = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tries = first_tries((id(self.core.scripts), self.core.keys.session(self.session_id)))

    def __call__(
        self, name: str, *args: Argument, looks_up: bool = False, behind: Sequence[Command] = ()
    ) -> list[Any]:
        """Run the script; return its reply from the status on.

        When it is called again after a lost reply, that is one more try of the same operation.
        ``looks_up``: the caller looks into the thread where the server has forgotten what was done.
        ``behind`` as in ``Scripts.run``.
        Raises SessionNotFound, RecordUnreadable (counters that are damaged, or not those of the
        thread), SessionTooLarge, TurnUncertain, NotDurable, StoreUnavailable or StoreMisconfigured.
        """
        core = self.core
        keys = core.keys.of_session(self.session_id)
        head = (core.script_now(), GRACE_MS, self.user)
        mark = core.keys.mark(self.session_id) if self._is_confirmed(name) else ""
        try:
            reply = core.scripts.run(
                name,
                keys,
                (*head, *args),
                insist=self.insist,
                tries=self.tries,
                mark=mark,
                behind=behind,
            )
        except NotReplicated as exc:
            raise self._not_replicated(name, str(exc)) from exc
        except ReplyLost as exc:
            raise self._uncertain(name, str(exc)) from exc
        note_answer((id(core.scripts), keys[0]), self.tries, core.clock)
        match reply:
            case ["notfound"]:
                raise SessionNotFound(self.session_id)
            case ["unsure", _] if not looks_up:
                raise self._uncertain(name, FORGOTTEN)
            case ["uncertain", _]:
                raise self._uncertain(name, MADE_ANEW)
            case ["toolarge", size, *needed]:
                # What is appended outside a turn may belong to the last exchange.
                keeps = name == "append_messages"
                total = needed[0] if needed else size
                self.goes_on()  # and so does what makes room
                if core.make_room is not None and core.make_room(self, total, keeps_last=keeps):
                    return self(name, *args, looks_up=looks_up)
                raise SessionTooLarge(self.session_id, size, core.config.max_session_size)
            case ["damaged", key]:
                raise RecordUnreadable(key.decode(), "a number in it is lost, or is none")
            case ["miscounted", count, length]:
                raise RecordUnreadable(keys[1], miscounted(count, length))
        return reply

    def _is_confirmed(self, name: str) -> bool:
        """Whether replicas have to confirm what a script does, or tells to be done."""
        if self.core.config.durability != "replicated":
            return False
        writes = self.operation is not None and not self.core.scripts.only_reads(name)
        return writes or name in _TOLD_TO_STAND

    def goes_on(self) -> None:
        """Have what is called from now on belong to the operation that was answered just now."""
        self.tries.go_on(self.core.clock)

    def _uncertain(self, name: str, cause: str) -> MiniAgentError:
        if self.operation is None or self.core.scripts.only_reads(name):
            return self.core.unanswered(name, cause)
        self.core.uncertain.note(self.operation, Uncertain(self.tries, self.shows))
        return TurnUncertain(self.session_id, self.operation, cause)

    def _not_replicated(self, name: str, cause: str) -> MiniAgentError:
        what = self.operation or name
        if self.core.scripts.only_reads(name):
            problem = f"what became of {what} on session {self.session_id!r} is not settled"
            return StoreUnavailable(problem, cause=cause, hint="see whether all replicas are up")
        self.core.uncertain.note(what, Uncertain(self.tries, self.shows))
        return NotDurable(self.session_id, what, cause)
