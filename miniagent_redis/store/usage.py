"""What turns took: totals of users, days and the namespace, and of each session.

Those of a session are counted with its turns. The others are derived: noted here and written once
a second, in numbered batches, so that one whose reply was lost is not counted twice. What a process
that dies had noted is lost, and never a message.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from ..errors import InvalidInput, RecordUnreadable, StoreMisconfigured, StoreUnavailable
from ..forking import anew_in_child
from ..keys import check_user_id
from ..models import UsageTotals, new_id
from ..scripts import ReplyLost
from .base import StoreBase, log
from .counts import FIELDS, all_counts, packed, totals

DAY_MS = 86_400_000
KEPT_MS = 400 * DAY_MS
"""How long totals are kept after their last use."""
_MOST_NOTED = 10_000
_BATCH = 500


class UsageCounts(StoreBase):
    """Noting what turns took, and reading the totals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._count_usage_anew()
        anew_in_child(self._count_usage_anew)

    def _count_usage_anew(self) -> None:
        self._usage_sender = new_id()
        self._usage_batch = 0
        self._usage_noted: dict[str, Counter[str]] = {}
        self._usage_sent: list[tuple[str, Counter[str]]] = []
        self._usage_lock = threading.RLock()  # guards what is noted
        self._usage_flush = threading.RLock()  # guards what is sent: one batch after the other
        self.dropped_usage = 0
        """How many notes on users were dropped because Redis was away for too long."""

    def note_usage(self, spent: UsageTotals, *, user_id: str | None = None) -> None:
        """Note what a turn took, for the totals of its user, the day and the namespace.

        Sends nothing. Bounded: with 10,000 totals noted and not written, further users are left
        out and counted in ``dropped_usage``.
        """
        today = datetime.fromtimestamp(self.clock.time(), UTC).date().isoformat()
        keys = [self.keys.usage("all"), self.keys.usage("day", today)]
        if user_id is not None:
            keys.append(self.keys.usage("user", user_id))
        counts = all_counts(spent)
        with self._usage_lock:
            for number, key in enumerate(keys):
                is_full = len(self._usage_noted) >= _MOST_NOTED and number == 2
                if is_full and key not in self._usage_noted:
                    self.dropped_usage += 1
                    continue
                self._usage_noted.setdefault(key, Counter()).update(counts)

    def flush_usage(self) -> None:
        """Write what is noted. Raises nothing: while Redis is away it is kept."""
        with suppress(StoreUnavailable):  # which is logged
            self._write_usage()

    def _write_usage(self) -> None:
        with self._usage_flush:
            while True:
                if not self._usage_sent:
                    with self._usage_lock:
                        keys = list(self._usage_noted)[:_BATCH]
                        batch = [(key, self._usage_noted.pop(key)) for key in keys]
                    if not batch:
                        return
                    self._usage_batch += 1
                    self._usage_sent = batch
                self._send_usage()

    def _send_usage(self) -> None:
        """Send the batch under way; it stays the same batch until there is an answer."""
        number, batch = self._usage_batch, self._usage_sent
        keys = [self.keys.usage("batch", self._usage_sender), *(key for key, _ in batch)]
        counts = [packed(counts) for _, counts in batch]
        try:
            self.scripts.run("add_usage", keys, [number, DAY_MS, KEPT_MS, *counts])
        except (ReplyLost, StoreUnavailable) as exc:
            log.warning("what turns took could not be counted now: %s", exc)
            if isinstance(exc, ReplyLost):
                raise self.connections.unavailable(str(exc)) from exc
            raise
        except StoreMisconfigured as exc:
            log.warning("what turns took could not be counted: %s", exc)
        if self._usage_sent is batch:
            self._usage_sent = []

    def usage(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        day: date | str | None = None,
    ) -> UsageTotals:
        """Return what turns took: of a session, a user, a day (UTC), or all of the namespace.

        ``day`` is a date or ``"2026-01-31"``. With a ``session_id``, ``user_id`` is its owner, as
        everywhere. A session's totals are exact and end with it; the others lag behind other
        processes by about a second, and are kept for 400 days after their last use. One round
        trip, and another to write what is noted here. Raises SessionNotFound, InvalidInput,
        RecordUnreadable or StoreUnavailable.
        """
        if session_id is not None:
            if day is not None:
                raise InvalidInput("usage is kept by session or by day, not by both")
            reply = self._run("get_session", session_id, user_id, *FIELDS)
            values = dict(zip(FIELDS, reply[2], strict=True))
            return _totals(self.keys.metadata(session_id), values)
        if user_id is not None and day is not None:
            raise InvalidInput("usage is kept by user or by day, not by both")
        if user_id is not None:
            check_user_id(user_id)
            key = self.keys.usage("user", user_id)
        else:
            key = self.keys.usage("all") if day is None else self.keys.usage("day", _iso(day))
        try:
            self._write_usage()
        except StoreUnavailable:
            if not self.connections.availability.refuses_writes:
                raise
        return _totals(key, dict(zip(FIELDS, self._call("HMGET", key, *FIELDS), strict=True)))


def _totals(key: str, values: dict[str, bytes | None]) -> UsageTotals:
    try:
        return totals({name: int(value) for name, value in values.items() if value is not None})
    except ValueError as exc:
        raise RecordUnreadable(key, str(exc)) from exc


def _iso(day: date | str) -> str:
    try:
        # A datetime is a date too; its day is meant.
        return (day if isinstance(day, date) else date.fromisoformat(day)).strftime("%Y-%m-%d")
    except (TypeError, ValueError) as exc:
        raise InvalidInput(
            f"day must be a date or text as '2026-01-31', not {day!r:.100}", cause=str(exc)
        ) from exc
