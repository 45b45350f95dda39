"""Rate limits, counted in Redis and so shared by all instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from attrs import frozen

from ..errors import InvalidInput, RateLimited
from ..models import Per, RateLimit, new_id
from ..runtime.checks import several
from ..runtime.durations import Duration
from .checks import milliseconds
from .core import StoreCore
from .keys import check_session_id, check_user_id
from .operations.counting import Counted, Counter, Limited, rate_limit, take_back

_NO_LIMIT = 2**53 - 1


@frozen
class LimitStatus:
    """Whether a request may pass; ``retry_after`` is in seconds, 0 when it may."""

    allowed: bool
    remaining: int
    retry_after: float


class Limits:
    """Sliding-window rate limits."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core

    def rate_limit(self, key: str, max_requests: int = 10, window: Duration = 60) -> bool:
        """Count a request of ``key`` (a user id, say); return whether it is within the limit.

        At most ``max_requests`` pass in any ``window`` seconds, estimated by a sliding window
        counter. A refused request is not counted. One ``key`` may be limited for several windows,
        each counts by itself. Atomic, one round trip.
        """
        return self.check_rate_limit(key, max_requests, window).allowed

    def check_rate_limit(
        self, key: str, max_requests: int = 10, window: Duration = 60, *, cost: int = 1
    ) -> LimitStatus:
        """Like ``rate_limit``, telling also what is left and when to try again.

        ``cost`` counts for that many requests.
        """
        whole = type(cost) is int and type(max_requests) is int
        if not whole or not 1 <= cost <= max_requests:
            raise InvalidInput(
                f"a cost of {cost!r:.100} can never pass a limit of {max_requests!r:.100}",
                cause="both are whole numbers, 1 <= cost <= max_requests",
            )
        window_ms = milliseconds(window, "window")
        counter = Counter(max_requests, window_ms, cost, cost)
        counters = {self._core.keys.rate_limit(key, window_ms): counter}
        counted = rate_limit(self._core, counters, request_id=_new_request())
        if isinstance(counted, Limited):
            return LimitStatus(False, 0, counted.wait_ms / 1000)
        return LimitStatus(True, max(0, counted.left[0]), 0.0)

    def check_rate_limits(
        self, limits: Sequence[RateLimit], *, session_id: str, user_id: str | None = None
    ) -> None:
        """Count a request against all limits; if one is used up, nowhere, and raise RateLimited.

        Of several that are, the error tells the one that takes longest. A session without a user
        counts as a user of its own. Atomic, one round trip.
        """
        self.admission(limits, session_id, user_id).ask()

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
            key: Counter(_NO_LIMIT, limit.window_ms, 0, tokens)
            for key, limit, what, _ in self._keys_of(limits, session_id, user_id)
            if what == "tokens" and tokens
        }
        if counters:
            rate_limit(self._core, counters, request_id=_new_request())

    def forget(self, limits: Sequence[RateLimit], per: Per, names: Iterable[str]) -> int:
        """Remove what is counted of users, or of sessions, in the windows of the limits.

        Of users also what ``rate_limit(user_id)`` has counted in them, and the sessions that they
        began in the last minutes. Returns how many counts there were.
        """
        keys, counts = self._core.keys, list[str]()
        if per == "user":
            counts += map(keys.creations, names := list(names))
        windows = {limit.window_ms for limit in several(limits, RateLimit, "limits")}
        for name, window_ms in product(names, windows):
            if per == "user":  # a session may be named as some limit is that is everybody's
                counts.append(keys.rate_limit(name, window_ms))
            for what in ("requests", "tokens"):
                counts.append(keys.rate_limit_of(per, name, what, window_ms))
        are_there = self._core.call_many([("EXISTS", key) for key in counts])
        there = [key for key, is_there in zip(counts, are_there, strict=True) if is_there]
        self._core.call_many([("DEL", key) for key in there])
        return len(there)

    def admission(
        self, limits: Sequence[RateLimit], session_id: str, user_id: str | None
    ) -> Admission:
        """Return a request that has to pass the limits."""
        keys = self._keys_of(limits, session_id, user_id)
        return Admission(self._core, keys, session_id, user_id)

    def _keys_of(
        self, limits: Sequence[RateLimit], session_id: str, user_id: str | None
    ) -> Iterator[tuple[str, RateLimit, str, int]]:
        """Yield the key of each counter, its limit, what it counts and how much of it may pass."""
        check_session_id(session_id)
        if user_id is not None:
            check_user_id(user_id)
        for limit in several(limits, RateLimit, "limits"):
            per, name = limit.per, "" if limit.per == "namespace" else session_id
            if per == "user" and user_id is not None:
                name = user_id
            elif per == "user":
                per = "session"
            for what, most in (("requests", limit.requests), ("tokens", limit.tokens)):
                if most is not None:
                    key = self._core.keys.rate_limit_of(per, name, what, limit.window_ms)
                    yield key, limit, what, most


class Admission:
    """One request that has to pass limits: counted when it does, and taken back if it must be."""

    def __init__(
        self,
        core: StoreCore,
        keys: Iterable[tuple[str, RateLimit, str, int]],
        session_id: str,
        user_id: str | None,
    ) -> None:
        self._core = core
        self._whose = {"user": user_id or session_id, "session": session_id, "namespace": ""}
        self._id = ""
        self._counters: dict[str, Counter] = {}
        self._limit_of: dict[str, RateLimit] = {}
        self._counted: Counted | None = None
        for key, limit, what, most in keys:
            if key not in self._counters or most < self._counters[key].limit:
                self._counters[key] = Counter(most, limit.window_ms, 1, int(what == "requests"))
                self._limit_of[key] = limit

    def ask(self) -> None:
        """Count the request against all limits, or raise RateLimited. One round trip."""
        if not self._counters:
            return
        self._id = _new_request()
        counted = rate_limit(self._core, self._counters, request_id=self._id)
        if isinstance(counted, Limited):
            limit = self._limit_of[list(self._counters)[counted.number - 1]]
            whose = f"{limit.per} {self._whose[limit.per]}".rstrip()
            raise RateLimited(whose, counted.wait_ms / 1000, limit)
        self._counted = counted

    def take_back(self) -> None:
        """Count the request no more, where it was one of the last 32. One round trip."""
        windows = {key: one.window_ms for key, one in self._counters.items() if one.added}
        if self._counted is not None and windows:
            take_back(self._core, windows, request_id=self._id, counted_at=self._counted.now_ms)


def _new_request() -> str:
    return new_id()[:12]
