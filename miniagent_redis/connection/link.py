"""One connection to a server: redis-py's, with a count of the replies that are still to come.

redis-py hands a connection on with the unread reply of a call that was interrupted. Here whoever
takes one back can ask it: it is settled when each command that was sent has been answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

import redis
from redis.connection import AbstractConnection

from ..errors import MiniAgentError
from . import wire
from .blocking import waits_for
from .refusals import is_of_another, is_of_command
from .resp import pack
from .topology import Command, Endpoint

LOST = (redis.RedisError, OSError, AttributeError)
"""What a call raises that lost its connection; the last by redis-py before 8, when it was closed by
another thread, or by a signal handler."""

_WORDS = 500  # bytes
_NO_HELLO = ("unknown command", "unsupported command", "NOPROTO", "HELLO", "hello")
"""Parts of what is replied to it by what does not know it: proxies, and some servers."""
_FRESH = 0.5
"""Seconds after its last use in which a connection is not looked at before it is used again."""


class NotSent(Exception):
    """The last of the commands was not sent whole, so the server has not executed it."""


class _Packed(list[bytes]):
    """The bytes of several commands, which redis-py hands on to be sent."""

    commands: int = 1
    waits: float = 0.0  # seconds that the server may wait for something before it answers them all


class Link(AbstractConnection):
    """What is added to each of redis-py's kinds of connection. For one thread at a time.

    ``locate`` says where the server is, and is asked at each connect. ``on_older_protocol`` is told
    when it speaks only the older of the two protocols, ``on_no_name`` when it takes no name.
    """

    protocol: Any  # redis-py sets these, the others by a class for each kind of address
    port: int
    path: str
    endpoint: Endpoint = Endpoint()  # where it was connected to last
    generation: int = 0  # of its pool, when it was made
    is_outdated: bool = False  # by what the server replied, a new one may lead to another server
    follows_master: bool = False  # once it is outdated, its server may be no master any more
    role: Any = None  # what it said it is with the last commands, if it follows the master
    replicas: int = 0  # that its server had when writes were to be confirmed last
    uses_wire: bool = wire.IS_AVAILABLE
    _wire: wire.Wire | None = None
    _used = 0.0  # when it was in order last, as of time.monotonic()
    _is_kept = False  # since it was used once
    _last_words: bytes | None = None  # of the server, while connecting
    _swallowed: redis.ResponseError | None = None  # what redis-py passes over then
    _owed = 0  # replies that are still to come
    _is_patient = False  # as a command makes the server wait
    _is_watching = False  # WATCH makes a server refuse the next transaction on this connection

    def __init__(
        self,
        *,
        locate: Callable[[], Endpoint],
        on_older_protocol: Callable[[], None] = lambda: None,
        on_no_name: Callable[[], None] = lambda: None,
        client_name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._name = client_name
        self._locate = locate
        self._on_older_protocol = on_older_protocol
        self._on_no_name = on_no_name

    @property
    def is_elsewhere(self) -> bool:
        """Whether another database than its own is used now."""
        return False

    def answers_within(self, seconds: float, instead_of: Any = None) -> bool:
        """Whether the server says a word within so many seconds, if only that it lets nobody in.

        And before anything comes on the socket ``instead_of``, if there is one. For a new link,
        which is not connected afterwards either.
        """
        self.socket_connect_timeout = self.socket_timeout = seconds
        end = monotonic() + seconds
        try:
            self._find()
            with self._connect() as sock:  # type: ignore[no-untyped-call]
                sock.sendall(pack([("PING",)]))
                if instead_of is not None and not wire.comes_first(sock, instead_of, end):
                    return False
                sock.settimeout(max(0.001, end - monotonic()))
                return bool(sock.recv(1))
        except (*LOST, MiniAgentError):
            return False

    def connect(self) -> None:
        try:
            self._connect_once()
        except redis.ResponseError as exc:
            if str(self.protocol) == "2" or not any(part in str(exc) for part in _NO_HELLO):
                raise
            self.protocol = 2
            self._connect_once()
            self._on_older_protocol()

    def _connect_once(self) -> None:
        if is_new := self._sock is None:
            self._find()
        self._last_words = b""
        try:
            super().connect()  # type: ignore[no-untyped-call]
            if is_new and self._name:
                self._tell_name()
        except AttributeError as exc:
            raise redis.ConnectionError("it was closed meanwhile") from exc
        except redis.ConnectionError as exc:
            words = self._last_words
            if words and words.startswith(b"-"):
                raise wire.parse_error(words[1:].decode().strip()) from exc
            if self._swallowed is not None and not is_of_command(self._swallowed):
                raise self._swallowed from exc
            raise
        finally:
            self._last_words = self._swallowed = None

    def _tell_name(self) -> None:
        """Say what we are called. Not by redis-py, to which who forbids CLIENT is of no use."""
        try:
            self.send_command("CLIENT", "SETNAME", self._name, check_health=False)
            self.read_response()
        except redis.ResponseError as exc:
            if is_of_command(exc):
                self._on_no_name()

    def _find(self) -> None:
        endpoint = self.endpoint = self._locate()
        if endpoint.host:
            self.host, self.port = endpoint.host, endpoint.port
        elif endpoint.path:
            self.path = endpoint.path

    @property
    def is_settled(self) -> bool:
        """Whether it is connected, and nothing is under way: it may be handed to the next call."""
        return self._owed == 0 and not self._is_watching and self._sock is not None

    def is_quiet(self) -> bool:
        """Look whether it is open, with nothing to be read; one that is not must not be used.

        What was used just now is taken to be so: a look costs as much as an exchange.
        """
        if self._sock is None:
            return False
        if monotonic() - self._used < _FRESH:
            return True
        try:
            return not self.can_read(timeout=0) if self._wire is None else self._wire.is_quiet()
        except LOST:
            return False

    def ask(self, commands: Sequence[Command], is_another_answered: wire.Probe) -> list[Any]:
        """Send commands in one piece and return their replies, errors of the server among them.

        If it was kept from an earlier use and is silent now, it is asked ``is_another_answered``.
        Raises NotSent, or one of LOST; after any exception it must not be used again.
        """
        data, count = pack(commands), len(commands)
        line = self._wire
        try:
            if line is None and self.uses_wire:
                line = self._wire = wire.Wire(self._sock, self.socket_timeout or 0)
            if line is None:
                self.send_packed_command(_packed(data, count), check_health=False)
            else:
                line.send(data)
        except LOST as exc:
            raise NotSent(str(exc)) from exc
        asked = is_another_answered if self._is_kept else None
        try:
            replies = self._answers(count, asked) if line is None else line.receive(count, asked)
        except wire.Forgotten:
            self.is_outdated = True  # and so may be all others
            raise
        for reply in replies:
            if isinstance(reply, Exception):
                self._refused(reply)
        self._used, self._is_kept = monotonic(), True
        return replies

    def _refused(self, reply: Exception) -> None:
        if is_of_another(reply):
            self.is_outdated = True

    def distrust(self) -> None:
        """Have it looked at before it is used again, however short a time ago it was."""
        self._used = 0.0

    def _answers(self, count: int, is_another_answered: wire.Probe | None) -> list[Any]:
        """Do what ``Wire.receive`` does, without hiredis; the other one is asked at the end."""
        try:
            return [self._answer() for _ in range(count)]
        except redis.TimeoutError as exc:
            if is_another_answered is not None and is_another_answered(wire.HASTE, None):
                raise wire.Forgotten(str(exc)) from exc
            raise

    def _answer(self) -> Any:
        try:
            return self.read_response()
        except redis.ResponseError as exc:
            return exc  # an answer like any other

    # --- what redis-py calls, with the count kept --------------------------------------------

    def pack_commands(self, commands: Iterable[Command]) -> _Packed:
        several = list(commands)
        packed = _Packed(super().pack_commands(several))  # type: ignore[no-untyped-call]
        packed.commands = len(several)
        packed.waits = sum(map(waits_for, several))
        if several and several[-1][0] == "EXEC":
            self._is_watching = False
        return packed

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        if args[0] in ("WATCH", "UNWATCH"):
            self._is_watching = args[0] == "WATCH"
        super().send_command(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._wait_longer(waits_for(args))

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        self._owed += getattr(command, "commands", 1)
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]
        self._wait_longer(getattr(command, "waits", 0.0))

    def _wait_longer(self, seconds: float) -> None:
        """Give the server so many seconds more, until it owes us nothing."""
        if seconds and self._sock is not None and self.socket_timeout is not None:
            self._is_patient = True
            self._sock.settimeout(None if seconds == inf else self.socket_timeout + seconds)

    def _has_answered(self) -> None:
        self._owed -= 1
        if self._is_patient and not self._owed and self._sock is not None:
            self._is_patient = False
            self._sock.settimeout(self.socket_timeout)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            reply = super().read_response(*args, **kwargs)
        except redis.ResponseError as exc:
            if self._last_words is not None:
                self._swallowed = exc
            self._has_answered()
            self._refused(exc)
            raise
        self._has_answered()
        return reply

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        if self._last_words is not None and (sock := self._sock) is not None:
            # A server that lets nobody in says so and closes, perhaps before we have sent a word:
            # then it is the sending that fails.
            with suppress(OSError, AttributeError):
                sock.settimeout(0)
                self._last_words = sock.recv(_WORDS)
        self._owed, self._is_watching, self._wire, self._used = 0, False, None, 0.0
        self._is_kept = self._is_patient = False
        super().disconnect(*args, **kwargs)  # type: ignore[no-untyped-call]


def _packed(raw: bytes, count: int) -> _Packed:
    packed = _Packed([raw])
    packed.commands = count
    return packed
