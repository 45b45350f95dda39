"""The raw side of a turn: the very commands that our calls send, made ready for redis-py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from miniagent_redis import RedisSessionManager
from miniagent_redis.models import new_id

from .bench import Bench

Command = tuple[Any, ...]


class _Count(int):
    """A number that can be told from others of the same value."""


class TurnCommands:
    """The two EVALSHA of a turn on one session, as often as wanted, each time as a new turn."""

    def __init__(self, bench: Bench, session_id: str, epoch: int, count: int) -> None:
        with recorded(bench.store) as sent:
            turn = bench.turn(session_id, epoch, _Count(count))
        # Now and then the activity marks are sent as well.
        scripts = [one for one in sent if one[0] == "EVALSHA"]
        self._begin, self._commit = scripts
        self._ids = turn.turn_id, turn.holder
        marks = [sum(one in command for one in self._ids) for command in scripts]
        counts = sum(isinstance(arg, _Count) for arg in self._begin)
        assert (marks, counts) == ([2, 2], 1), "a turn sends other arguments than it did"

    def make(self, count: int) -> tuple[Command, Command]:
        """Return the arguments of EVALSHA to begin and to commit a turn on ``count`` messages."""
        fresh = dict(zip(self._ids, (new_id(), new_id()), strict=True))
        begin, commit = (
            tuple(count if isinstance(arg, _Count) else fresh.get(arg, arg) for arg in command[1:])
            for command in (self._begin, self._commit)
        )
        return begin, commit


def run_raw(client: redis.Redis, turns: Sequence[tuple[Command, Command]]) -> None:
    """Send the commands one by one with plain redis-py; each must succeed."""
    send: Any = client.evalsha
    for commands in turns:
        for command in commands:
            reply = send(*command)
            if reply[1] != b"ok":
                raise RuntimeError(f"the server answered {reply}")


def timeless(command: Command, nonce: bytes | None) -> Command:
    """Return a command that does not tell since when it is on its way, so that it is never late."""
    if nonce is None:
        return command
    plain = nonce.partition(b":")[0] + b":0:0"
    return tuple(plain if part == nonce else part for part in command)


@contextmanager
def recorded(store: RedisSessionManager) -> Iterator[list[Command]]:
    """Yield a list that gets each command that the store sends."""
    sent: list[Command] = []
    connections: Any = store.parts.core.connections
    real = connections.exchange

    def exchange(commands: Sequence[Command], nonce: bytes | None = None) -> Any:
        sent.extend(timeless(command, nonce) for command in commands)
        return real(commands, nonce)

    connections.exchange = exchange
    try:
        yield sent
    finally:
        del connections.exchange
