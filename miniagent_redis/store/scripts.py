"""Loads the Lua operations of lua/ and runs them: one script, one round trip, one answer.

A file starts with its ``#!lua`` line and names in its second line the beginnings it shares with
others; ``source`` puts them together.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import cache, partial
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

from ..connection.connections import Connections
from ..connection.faults import NoScript, ReplyLost
from ..connection.refusals import WRONG_TYPE
from ..connection.replicating import NotReplicated
from ..connection.topology import Command, Node
from ..errors import StoreMisconfigured
from ..runtime.forking import reset_after_fork
from .tries import ServerTime, Tries

_INCLUDE = "-- include:"
_CONFIRMED = (b"ok", b"done", b"unsure")
"""What is answered where something was done, by this try or before."""
_LUA = files("miniagent_redis") / "lua"


@cache
def source(name: str) -> str:
    """Return the whole text of the operation ``name``."""
    first, _, rest = (_LUA / f"{name}.lua").read_text("utf-8").partition("\n")
    parts = [first]
    second = rest.partition("\n")[0]
    if second.startswith(_INCLUDE):
        parts += [(_LUA / f"{part}.lua").read_text("utf-8") for part in second.split()[2:]]
    return "\n".join([*parts, rest])


def sharded(text: str) -> str:
    """Return the text of an operation as a cluster gets it: who waits is woken by SPUBLISH."""
    return text.replace("'PUBLISH', KEYS[6]", "'SPUBLISH', KEYS[6]")


class _Loaded(NamedTuple):
    """An operation as it is sent. One that ``writes`` is refused by a server without memory."""

    text: str
    digest: str
    writes: bool


class Scripts:
    """Runs the operations over the connections of one store."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._loaded: dict[str, _Loaded] = {}
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        # Names this process and store: with a counter behind it no two calls share a nonce.
        self._prefix = os.urandom(6).hex().encode()
        self._calls = itertools.count()
        self._times: dict[Node, ServerTime] = {}  # servers need not have the same

    def run(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        insist: float | None = None,
        tries: Tries | None = None,
        mark: str = "",
        behind: Sequence[Command] = (),
    ) -> list[Any]:
        """Run an operation and return its reply from the status on, the status as text.

        The arguments follow the nonce. The operation must be one that may be repeated: it is,
        when the server is away or the reply gets lost, as ``Connections.persist`` says. ``tries``
        are those that were made of it by earlier calls. With a ``mark``, replicas have to confirm
        what it wrote. It may be sent ``behind`` commands that only read: the replies to them come
        at the end of an answer that is "ok". Raises StoreUnavailable, StoreMisconfigured (also for
        a foreign type at our key), ReplyLost or NotReplicated.
        """
        text, digest, writes = self._loaded.get(name) or self._load(name)
        tries = tries or Tries()
        connections, key = self._connections, keys[0]
        exchange = partial(connections.exchange, mark=mark) if mark else connections.exchange

        def attempt() -> list[Any]:
            told = tries.begin(self._time_at(key), connections.clock, lambda: self._ask_time(key))
            nonce = b"%s%x%s" % (self._prefix, next(self._calls), told)
            tail = (len(keys), *keys, nonce, *args)
            try:
                try:
                    return exchange([*behind, ("EVALSHA", digest, *tail)], nonce)
                except NoScript:
                    pass  # not in here: what is raised next would hold this error and its frames
                return exchange([*behind, ("EVAL", text, *tail)], nonce)
            except ReplyLost as exc:
                if isinstance(exc, NotReplicated) and exc.reply[1] not in _CONFIRMED:
                    return [exc.reply]
                tries.is_lost = True
                raise

        while True:
            *others, reply = connections.persist(attempt, insist, operation=name, writes=writes)
            status = reply[1].decode()
            if time := reply[0].partition(b" ")[2]:
                self._time_at(key).hear(float(time), at=connections.clock.monotonic())
                tries.hear(float(time))
            if status != "late":
                break
            tries.late += 1  # nothing was done, and no try of it is under way any more
        if status == "wrongtype":
            raise _wrong_type(reply[2].decode(), reply[3].decode()) from WRONG_TYPE.reply
        return [status, *reply[2:], *(others if status == "ok" else ())]

    @staticmethod
    def only_reads(name: str) -> bool:
        """Whether an operation writes nothing, so that it is known what a lost reply means."""
        return "no-writes" in source(name).partition("\n")[0]

    def _time_at(self, key: str) -> ServerTime:
        """Return what is known of the time of the server that has a key."""
        node = self._connections.node(("GET", key))
        return self._times.get(node) or self._times.setdefault(node, ServerTime())

    def _ask_time(self, key: str) -> float:
        now = self._connections.clock.server_now_ms()
        if now is not None:
            return now
        node = self._connections.node(("GET", key))
        seconds, micros = self._connections.exchange_at(node, ("TIME",))
        return int(seconds) * 1000 + int(micros) / 1000

    def read_each(
        self, name: str, several: Sequence[Sequence[str]], args: Sequence[str | bytes | int]
    ) -> list[list[Any]]:
        """Run an operation that only reads, on several sets of keys, in one round trip.

        Returns the replies, which are as that of ``run``, and so is what is raised. Not atomic.
        """
        text, digest, _ = self._loaded.get(name) or self._load(name)
        tails = [(len(keys), *keys, "", *args) for keys in several]
        try:
            commands = [("EVALSHA", digest, *tail) for tail in tails]
            replies = self._connections.call_many(commands, name)
        except NoScript:
            commands = [("EVAL", text, *tail) for tail in tails]
            replies = self._connections.call_many(commands, name)
        return [[reply[1].decode(), *reply[2:]] for reply in replies]

    def _load(self, name: str) -> _Loaded:
        text = source(name)
        if self._connections.listening.wakes_by == "SPUBLISH":
            text = sharded(text)
        writes = "flags=" not in text.partition("\n")[0]
        if self._connections.is_memory:
            text = text.replace("#!lua", "-- #!lua", 1)  # fakeredis does not know the line
        self._loaded[name] = loaded = _Loaded(text, sha1(text.encode()).hexdigest(), writes)
        return loaded


def _wrong_type(key: str, found: str) -> StoreMisconfigured:
    return StoreMisconfigured(
        f"the key {key} holds a {found}",
        cause="something else than this library wrote it; nothing was changed",
        hint="remove or rename that key, or set a namespace of your own",
    )


__all__ = ["Scripts", "source"]
