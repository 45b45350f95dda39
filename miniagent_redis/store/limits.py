"""Rate limits, counted in Redis and so shared by all instances."""

from __future__ import annotations

from attrs import frozen

from ..errors import InvalidInput
from ..scripts import ReplyLost
from .base import StoreBase, milliseconds


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
        now = self.clock.server_now_ms()
        args = ["" if now is None else now, max_requests, milliseconds(window, "window"), cost]
        try:
            status, number = self.scripts.run("rate_limit", [self.keys.rate_limit(key)], args)
        except ReplyLost as exc:
            raise self.connections.unavailable(str(exc)) from exc
        if status == "ok":
            return LimitStatus(True, number, 0.0)
        return LimitStatus(False, 0, number / 1000)
