"""Writes that are answered once the replicas have them: WAIT, on the connection that wrote.

It counts for nothing on any other connection, nor inside MULTI. All replicas that are connected and
in step have to confirm, as each of them may be the one that takes over; so each exchange also asks
for them, by ROLE. Some servers, as Valkey 9.1, wait only for what was written over the connection,
and a repetition that finds everything done writes nothing. So there is always a write: of a
``mark``, a key of no other use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..config.redis import RedisConfig
from .durability import replicas_of
from .faults import ReplyLost
from .link import Link
from .master import ROLE
from .topology import Command

_PART = 0.6
"""Of the time after which a silent connection is doubted: a server wakes who waits up to 0.1 s
late. The operation is repeated until its time is over, and waited for each time."""
_LONGEST = 0.5  # seconds
_MARK_MS = 1  # until it expires


class NotReplicated(ReplyLost):
    """It was done by the server, and too few replicas confirmed it in time.

    It may be lost with that server, so it is repeated as if its reply had been. That is ``reply``:
    what was refused need not be confirmed.
    """

    def __init__(self, confirmed: int, needed: int, reply: Any) -> None:
        super().__init__(f"{confirmed} of {needed} replicas confirmed it in time", is_outage=False)
        self.reply = reply


class Replicas:
    """Those that have to confirm, of whichever server."""

    def __init__(self, config: RedisConfig) -> None:
        self._least = config.min_replicas
        self._wait_ms = max(1, int(min(config.socket_timeout / 2, _LONGEST) * _PART * 1000))

    def ask(
        self,
        link: Link,
        commands: Sequence[Command],
        mark: str,
        send: Callable[[Sequence[Command]], list[Any]],
    ) -> tuple[list[Any], NotReplicated | None]:
        """Send commands of which the last may write; return their replies, and what is lacking.

        In one round trip, or two if there are more replicas than the last exchange over this
        connection found. Raises what ``send`` does, which sends over ``link``.
        """
        asked = max(self._least, link.replicas)
        several = [*commands, ("SET", mark, "", "PX", _MARK_MS), self._wait(asked)]
        if link.follows_master:  # it asks for the role itself
            told = send(several)
            role = link.role
        else:
            role, *told = send([ROLE, *several])
        replies, confirmed = told[:-2], told[-1]
        if isinstance(replies[-1], Exception):
            return replies, None  # it was refused, so there is nothing to confirm
        replicas = replicas_of(role)
        link.replicas = len(replicas)
        if asked < link.replicas and confirmed == asked:
            confirmed = send([self._wait(link.replicas)])[-1]
        # One that never confirmed anything may be loading what it was sent, for minutes: it is
        # waited for and not insisted on.
        needed = max(self._least, sum(int(offset) > 0 for *_, offset in replicas))
        count = confirmed if isinstance(confirmed, int) else 0
        return replies, NotReplicated(count, needed, replies[-1]) if count < needed else None

    def _wait(self, count: int) -> Command:
        return "WAIT", count, self._wait_ms
