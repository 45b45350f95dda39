"""Rate limits, counted in Redis and so shared by all instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from ..budget import RateLimit
from ..errors import InvalidInput, RateLimited
from ..keys import check_session_id
from ..models import new_id
from ..scripts import ReplyLost
from .base import StoreBase, milliseconds

_NO_LIMIT = 2**53 - 1


@frozen
class LimitStatus:
    """Whether a request may pass; ``retry_after`` is in seconds, 0 when it may."""

    allowed: bool
    remaining: int
    retry_after: float


class Limits(StoreBase):
    """Sliding-window rate limits."""

    def rate_limit(self, key: str, max_requests: int = 10, window: float = 60) -> bool:
        """Count a request of ``key`` (a user id, say); return whether it is within the limit.

        At most ``max_requests`` pass in any ``window`` seconds, estimated by a sliding window
        counter. A refused request is not counted. Atomic, one round trip.
        """
        return self.check_rate_limit(key, max_requests, window).allowed

    def check_rate_limit(
        self, key: str, max_requests: int = 10, window: float = 60, *, cost: int = 1
    ) -> LimitStatus:
        """Like ``rate_limit``, telling also what is left and when to try again.

        ``cost`` counts for that many requests.
        """
        whole = type(cost) is int and type(max_requests) is int
        if not whole or not 1 <= cost <= max_requests:
            raise InvalidInput(
                f"a cost of {cost!r} can never pass a limit of {max_requests!r}",
                cause="both are whole numbers, 1 <= cost <= max_requests",
            )
        counter = (max_requests, milliseconds(window, "window"), cost, cost)
        reply = self._count({self.keys.rate_limit(key): counter})
        if reply[0] == "ok":
            return LimitStatus(True, max(0, reply[1][0]), 0.0)
        return LimitStatus(False, 0, reply[2] / 1000)

    def check_rate_limits(
        self, limits: Sequence[RateLimit], *, session_id: str, user_id: str | None = None
    ) -> None:
        """Count a request against all limits; if one is used up, nowhere, and raise RateLimited.

        Of several that are, the error tells the one that takes longest. A session without a user
        counts as a user of its own. Atomic, one round trip.
        """
        Admission(self, limits, session_id, user_id).ask()

    def charge_tokens(
        self,
        limits: Sequence[RateLimit],
        tokens: int,
        *,
        session_id: str,
        user_id: str | None = None,
    ) -> None:
        """Count the tokens that a turn used against the limits on tokens, which may overshoot."""
        if type(tokens) is not int or not 0 <= tokens < 2**53:
            raise InvalidInput(f"tokens must be a whole number from 0, not {tokens!r:.100}")
        counters = {
            key: (_NO_LIMIT, limit.window_ms, 0, tokens)
            for key, limit, what, _ in self._keys_of(limits, session_id, user_id)
            if what == "tokens" and tokens
        }
        if counters:
            self._count(counters)

    def _keys_of(
        self, limits: Sequence[RateLimit], session_id: str, user_id: str | None
    ) -> Iterator[tuple[str, RateLimit, str, int]]:
        """Yield the key of each counter, its limit, what it counts and how much of it may pass."""
        check_session_id(session_id)
        for limit in limits:
            per, name = limit.per, "" if limit.per == "namespace" else session_id
            if per == "user" and user_id is not None:
                name = user_id
            elif per == "user":
                per = "session"
            for what, most in (("requests", limit.requests), ("tokens", limit.tokens)):
                if most is not None:
                    key = self.keys.rate_limit_of(per, name, what, limit.window_ms)
                    yield key, limit, what, most

    def _count(
        self, counters: dict[str, tuple[int, int, int, int]], request_id: str = ""
    ) -> list[Any]:
        """Run the script; a repetition after a lost reply is not counted again."""
        now = self.clock.server_now_ms()
        numbers = [number for counter in counters.values() for number in counter]
        args = ["" if now is None else now, request_id or _new_request(), *numbers]
        return self._run_limits("rate_limit", list(counters), args)

    def _run_limits(self, name: str, keys: list[str], args: list[str | int]) -> list[Any]:
        try:
            return self.scripts.run(name, keys, args)
        except ReplyLost as exc:
            raise self.connections.unavailable(str(exc)) from exc


class Admission:
    """One request that has to pass limits: counted when it does, and taken back if it must be."""

    def __init__(
        self, store: Limits, limits: Sequence[RateLimit], session_id: str, user_id: str | None
    ) -> None:
        self._store = store
        self._whose = {"user": user_id or session_id, "session": session_id, "namespace": ""}
        self._id = ""
        self._counters: dict[str, tuple[int, int, int, int]] = {}
        self._limit_of: dict[str, RateLimit] = {}
        self._counted_at: int | None = None
        for key, limit, what, most in store._keys_of(limits, session_id, user_id):
            if key not in self._counters or most < self._counters[key][0]:
                self._counters[key] = (most, limit.window_ms, 1, int(what == "requests"))
                self._limit_of[key] = limit

    def ask(self) -> None:
        """Count the request against all limits, or raise RateLimited. One round trip."""
        if not self._counters:
            return
        self._id = _new_request()
        reply = self._store._count(self._counters, self._id)
        if reply[0] == "limited":
            limit = self._limit_of[list(self._counters)[reply[1] - 1]]
            whose = f"{limit.per} {self._whose[limit.per]}".rstrip()
            raise RateLimited(whose, reply[2] / 1000, limit)
        self._counted_at = reply[2]

    def take_back(self) -> None:
        """Count the request no more, where it was one of the last 32. One round trip."""
        windows = {key: window for key, (_, window, _, added) in self._counters.items() if added}
        if self._counted_at is not None and windows:
            args: list[str | int] = [self._id, self._counted_at, *windows.values()]
            self._store._run_limits("take_back", list(windows), args)


def _new_request() -> str:
    return new_id()[:12]
