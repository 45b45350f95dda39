"""Repeats what does no harm when it is executed twice, until it succeeds or its time has passed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Literal, TypeVar

from ..config.redis import RedisConfig
from ..errors import MiniAgentError, StoreUnavailable
from .availability import Availability
from .faults import Refused, ReplyLost

T = TypeVar("T")
CALL_TIMEOUT = 0.8
"""Seconds for which an operation is repeated while Redis does not answer; one try may add its own
socket timeout."""
_OVERRUN = 0.5
"""Seconds by which the last try may end after the time for which an operation is repeated."""
_PAUSES = (0.01, 0.25)  # seconds, from the first to the longest


class Repeating:
    """The loop around each operation of one store. Counts its ``retries`` and ``lost_replies``.

    ``heal`` is called at each refusal, with whether the server that is wanted may be another.
    ``on_settled`` is called when what was refused by a server that may have changed its role is
    done again: by now connections lead to the right one.
    """

    def __init__(
        self,
        availability: Availability,
        unavailable: Callable[[str], StoreUnavailable],
        heal: Callable[[bool], None],
        config: RedisConfig,
    ) -> None:
        self.retries: int = 0
        self.lost_replies: int = 0
        self.on_settled: Callable[[], None] = lambda: None
        self._availability = availability
        self._unavailable = unavailable
        self._heal = heal
        self._moved: Literal["", "for all", "for writes"] = ""
        self._config = config
        self._patience = CALL_TIMEOUT
        if config.address.kind in ("redis+sentinel", "redis+multidb"):
            # A failover is no outage yet, and takes some seconds.
            self._patience = max(CALL_TIMEOUT, config.commit_timeout)

    def persist(
        self, attempt: Callable[[], T], insist: float | None = None, *, writes: bool = False
    ) -> T:
        """Repeat ``attempt`` until it succeeds, is refused for good, or its time has passed.

        The attempt must be one that does no harm when it is executed twice. Once a reply was
        lost the outcome stays uncertain until a reply arrives, so ReplyLost is what is raised
        then, whatever the later tries met. The time is CALL_TIMEOUT, or where Sentinels replace a
        master that of a commit; while Redis is known to be down there is one try at the most. Or it
        is ``insist`` seconds in any case. ``writes`` is whether the attempt is one that a server
        without memory, or a replica, refuses.
        """
        availability = self._availability
        is_hopeless = insist is None and availability.is_down
        if is_hopeless:
            availability.check_in()
        deadline = time.monotonic() + (self._patience if insist is None else insist)
        pause, longest = _PAUSES
        lost: ReplyLost | None = None
        goes_on = False
        while True:
            began = time.monotonic()
            try:
                result = attempt()
            except ReplyLost as exc:
                lost = exc
                self.lost_replies += 1
                last: MiniAgentError = self._unavailable(str(exc))
                is_outage, is_last = exc.is_outage, not self._config.retry_on_timeout
                # Once more in any case, over a new connection as all others are let go of.
                goes_on = not (is_outage or is_last or goes_on)
                refuses_writes = False
                if exc.moves:
                    self._moved = "for all"
                    self._heal(True)
            except Refused as exc:
                last = exc.error
                is_outage, is_last, goes_on = exc.is_outage, False, False
                refuses_writes = exc.refuses_writes
                if exc.moves:
                    self._moved = "for writes" if refuses_writes else "for all"
                self._heal(exc.moves)
            except MiniAgentError:
                if lost:  # this try was refused for good; an earlier one may have been executed
                    raise lost from None
                raise
            else:
                availability.answered(wrote=writes)
                if self._moved and (writes or self._moved == "for all"):
                    self._moved = ""
                    self.on_settled()
                return result
            now = time.monotonic()
            next_end = now + pause + (now - began)
            is_over = is_last or is_hopeless or now + pause > deadline
            if not goes_on and (is_over or next_end > deadline + _OVERRUN):
                if is_outage:
                    availability.failed(last, now - began, refuses_writes=refuses_writes)
                raise lost or last
            self.retries += 1
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, longest)
