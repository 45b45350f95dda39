"""Commands that make the server wait before it answers: for how long they may, as they say it.

Users send them by ``store.client``. A reply that comes later than ``socket_timeout`` is no fault
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import inf
from typing import Any

import redis

from .refusals import is_of_another

_SECONDS_LAST = {"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"}
_SECONDS_FIRST = {"BLMPOP", "BZMPOP"}
_MS_AT = {"WAIT": 2, "WAITAOF": 3}
_BLOCK = {"XREAD", "XREADGROUP"}


def waits_for(command: Sequence[Any]) -> float:
    """Return for how many seconds the server may wait before it answers; 0 for most commands."""
    name = str(_plain(command[0])).upper()
    try:
        if name in _SECONDS_LAST:
            return float(command[-1]) or inf
        if name in _SECONDS_FIRST:
            return float(command[1]) or inf
        if name in _MS_AT:
            return float(command[_MS_AT[name]]) / 1000 or inf
        if name in _BLOCK:
            words = [str(_plain(word)).upper() for word in command]
            return float(words[words.index("BLOCK") + 1]) / 1000 or inf
    except (ValueError, IndexError, TypeError):
        pass  # it does not wait, or the server will say what is wrong
    return 0.0


def _plain(word: Any) -> Any:
    return word.decode("latin-1") if isinstance(word, bytes) else word


class _Patient:
    """What is added to redis-py's connections for asyncio: they wait as long as the server may.

    And they note when a new one may lead to another server.
    """

    is_outdated: bool = False
    socket_timeout: float | None  # redis-py sets it
    _usual: float | None = None  # of these, while it is longer

    async def send_command(self, *args: Any, **options: Any) -> None:
        await super().send_command(*args, **options)  # type: ignore[misc]
        seconds = waits_for(args)
        if seconds and self.socket_timeout is not None:
            self._usual = self.socket_timeout
            self.socket_timeout = None if seconds == inf else self.socket_timeout + seconds

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ResponseError as exc:
            self.is_outdated = self.is_outdated or is_of_another(exc)
            raise
        finally:
            if self._usual is not None:
                self.socket_timeout, self._usual = self._usual, None


@cache
def patient(kind: type[Any]) -> type[Any]:
    """Return one of redis-py's kinds of connection for asyncio, with patience."""
    return type(f"Patient{kind.__name__}", (_Patient, kind), {})
