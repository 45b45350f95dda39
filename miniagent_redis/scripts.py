"""Loads the Lua operations of lua/ and runs them: one script, one round trip, one answer.

A file starts with its ``#!lua`` line and names in its second line the beginnings it shares with
others; ``source`` puts them together.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from .connection import Connections, NoScript, ReplyLost
from .errors import StoreMisconfigured
from .forking import anew_in_child

_INCLUDE = "-- include:"
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


class Scripts:
    """Runs the operations over the connections of one store."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._loaded: dict[str, tuple[str, str]] = {}
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        # Names this process and store: with a counter behind it no two calls share a nonce.
        self._prefix = os.urandom(6).hex()
        self._calls = itertools.count()

    def run(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        insist: float | None = None,
    ) -> list[Any]:
        """Run an operation and return its reply from the status on, the status as text.

        The arguments follow the nonce. The operation must be one that may be repeated: it is,
        when the server is away or the reply gets lost, as ``Connections.persist`` says. Raises
        StoreUnavailable, StoreMisconfigured (also for a foreign type at our key) or ReplyLost.
        """
        text, digest = self._loaded.get(name) or self._load(name)

        def attempt() -> list[Any]:
            nonce = b"%s%x" % (self._prefix.encode(), next(self._calls))
            tail = (len(keys), *keys, nonce, *args)
            try:
                return self._connections.exchange([("EVALSHA", digest, *tail)], nonce)
            except NoScript:
                return self._connections.exchange([("EVAL", text, *tail)], nonce)

        writes = "flags=" not in text.partition("\n")[0]  # neither no-writes nor allow-oom
        reply = self._connections.persist(attempt, insist, writes=writes)[0]
        status = reply[1].decode()
        if status == "wrongtype":
            raise _wrong_type(reply[2].decode(), reply[3].decode())
        return [status, *reply[2:]]

    def _load(self, name: str) -> tuple[str, str]:
        text = source(name)
        if self._connections.is_memory:
            text = text.replace("#!lua", "-- #!lua", 1)  # fakeredis does not know the line
        self._loaded[name] = text, sha1(text.encode()).hexdigest()
        return self._loaded[name]


def _wrong_type(key: str, found: str) -> StoreMisconfigured:
    return StoreMisconfigured(
        f"the key {key} holds a {found}",
        cause="something else than this library wrote it; nothing was changed",
        hint="remove or rename that key, or set a namespace of your own",
    )


__all__ = ["ReplyLost", "Scripts", "source"]
