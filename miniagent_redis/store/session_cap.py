"""How many sessions a user may have at once, and begin in a minute, where the settings say it.

For the former the user's index is counted, which is in another slot than the sessions, so no
script sees both: an entry is written first, then the others are counted, so that of several at
once none counts too few.
"""

from __future__ import annotations

from typing import Any

from ..errors import RateLimited
from ..models import new_id
from .core import StoreCore
from .index import FRESH_MS, Index
from .keys import MINUTE_MS, check_user_id, read_member, to_bytes
from .operations.counting import Counter, Limited, rate_limit

_MOST_DEAD = 1000
"""Entries of the index that are looked at beyond the cap; the sweep takes dead ones out."""


class SessionCap:
    """Refuses sessions that would be too many, at once or within a minute."""

    def __init__(self, core: StoreCore, index: Index) -> None:
        self._core = core
        self._index = index

    def count(self, user_id: str | None) -> None:
        """Count a creation; raise RateLimited if the user has tried all of a minute."""
        most = self._core.config.max_new_sessions_per_minute
        if most is None or user_id is None:
            return
        counters = {self._core.keys.creations(user_id): Counter(most, MINUTE_MS, 1, 1)}
        counted = rate_limit(self._core, counters, request_id=new_id()[:12])
        if isinstance(counted, Limited):
            raise RateLimited(
                f"user {user_id}",
                counted.wait_ms / 1000,
                problem=f"the user {user_id!r:.100} has begun {most} sessions within a minute",
                cause="RedisConfig.max_new_sessions_per_minute allows no more",
            )

    def check(self, session_id: str, user_id: str | None, *, is_new: bool) -> None:
        """Raise RateLimited if the user has all sessions beside one that was just entered.

        Then its entry goes, if it ``is_new``. One round trip while there are fewer.
        """
        most = self._core.config.max_sessions_per_user
        if most is None or user_id is None:
            return
        key = self._core.keys.user_sessions(user_id)
        if not self._core.call("ZRANGE", key, most, most):
            return
        left = sorted(self._lives(key, session_id, user_id, most))
        if len(left) >= most:
            if is_new:
                self._index.remove(session_id, check_user_id(user_id))
            raise RateLimited(
                f"user {user_id}",
                left[len(left) - most] / 1000,
                problem=f"the user {user_id!r:.100} has {len(left)} sessions, and may have {most}",
                cause="RedisConfig.max_sessions_per_user says so",
                hint="end one of them, or wait until one expires",
            )

    def _lives(self, key: str, session_id: str, user_id: str, most: int) -> list[int]:
        """Return for how many ms each other session of the user is there, unless it is used."""
        count = most + _MOST_DEAD
        found = self._core.call("ZRANGE", key, "+inf", "-inf", "BYSCORE", "REV", "LIMIT", 0, count)
        others = [one for one in map(read_member, found) if one != session_id]
        commands: list[tuple[Any, ...]] = [("TIME",)]
        for one in others:
            commands.append(("ZSCORE", key, to_bytes(one)))
            commands.append(("EXISTS", self._core.keys.session(one)))
            commands.append(("HMGET", self._core.keys.metadata(one), "user", "deadline"))
        time, *replies = self._core.call_many(commands)
        now, owner, lives = self._core.now_ms(time), check_user_id(user_id), []
        for score, exists, (user, deadline) in zip(*[iter(replies)] * 3, strict=True):
            if exists and user == owner and int(deadline or 0) > now:
                lives.append(int(deadline) - now)
            elif not exists and score is not None and float(score) > now - FRESH_MS:
                lives.append(int(float(score)) + FRESH_MS - now)  # it is perhaps being made
        return lives
