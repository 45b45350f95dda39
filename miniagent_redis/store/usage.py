"""What turns took: totals of users, days and the namespace, and of each session.

Those of a session are counted with its turns. The others are derived: noted here and written with
the turn, or once a second where there are many, in numbered batches, so that one whose reply was
lost is not counted twice. What a process that dies had noted is lost, and never a message.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ..errors import InvalidInput, RecordUnreadable, StoreMisconfigured, StoreUnavailable
from ..models import UsageTotals, new_id
from ..runtime.forking import reset_after_fork
from .core import StoreCore, log
from .counts import FIELDS, all_counts, packed, totals
from .keys import check_user_id, to_text
from .operations.counting import add_usage
from .operations.replies import pairs_of
from .operations.session import get_session
from .usage_kinds import (
    MOST_NAMES,
    DayTotals,
    ToolTotals,
    counts_of,
    day_totals,
    of_day,
    oldest_day,
    others,
    user_day_totals,
)

DAY = 86_400  # seconds
DAY_MS = DAY * 1000
KEPT_MS = 400 * DAY_MS
"""How long totals are kept after their last use."""
Counts = dict[str, int]
_MOST_NOTED = 10_000
_BATCH = 500


class UsageCounts:
    """Noting what turns took, and reading the totals."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._sender = new_id()
        self._batch = 0
        self._noted: dict[tuple[int, str | None], Counts] = {}  # by day and user
        self._kinds: dict[tuple[int, str], Counts] = {}  # by day and model or tool
        self._names: tuple[int, set[str]] = 0, set()  # counted by name on that day
        self._due: dict[str, Counts] = {}  # by key
        self._sent: list[tuple[str, Counts]] = []
        self._lock = threading.RLock()  # guards what is noted
        self._sending = threading.RLock()  # guards what is due and sent: one batch at a time

    def note(
        self,
        spent: UsageTotals,
        *,
        user_id: str | None = None,
        at: float | None = None,
        model: str = "",
        tools: Mapping[str, ToolTotals] | None = None,
    ) -> None:
        """Note what a turn took, for the totals of its user, the day and the namespace.

        Those of the day tell it by ``model`` and by tool too, 200 a day by name. Sends nothing.
        Bounded: with 10,000 totals noted and not written, further users are left out and counted.
        ``at`` is when that was by the server's clock, in seconds since the epoch.
        Raises InvalidInput for an unusable user id.
        """
        if user_id is not None:
            check_user_id(user_id)
        day = int((self._core.clock.time() if at is None else at) // DAY)
        with self._lock:
            noted = self._noted
            # Two totals are those of the day and the namespace.
            if len(noted) >= _MOST_NOTED - 2 and (day, user_id) not in noted:
                self._core.tally.dropped_usage += user_id is not None
                user_id = None
            counts = all_counts(spent)
            _add(noted.setdefault((day, user_id), {}), counts)
            if model:
                for prefix, its in counts_of(counts, model, tools or {}):
                    _add(self._kinds.setdefault((day, self._named(day, prefix)), {}), its)

    def _named(self, day: int, prefix: str) -> str:
        """Return the name under which it is counted: its own, or that of all others."""
        if self._names[0] != day:
            self._names = day, set()
        names = self._names[1]
        if prefix not in names and len(names) >= MOST_NAMES:
            return others(prefix)
        names.add(prefix)
        return prefix

    def flush(self) -> None:
        """Write what is noted. Raises nothing: while Redis is away it is kept."""
        with suppress(StoreUnavailable):  # which is logged
            self.write()

    def write(self) -> None:
        """Do what ``flush`` does, and raise StoreUnavailable if Redis is away."""
        with self._sending:
            while True:
                if not self._sent:
                    if not self._due:
                        self._due = self._take_noted()
                    keys = list(self._due)[:_BATCH]
                    batch = [(key, self._due.pop(key)) for key in keys]
                    if not batch:
                        return
                    self._batch += 1
                    self._sent = batch
                self._send()

    def _take_noted(self) -> dict[str, Counts]:
        """Take what is noted, added up by key."""
        with self._lock:
            noted, self._noted = self._noted, {}
            kinds, self._kinds = self._kinds, {}
        usage = self._core.keys.usage
        due: dict[str, Counts] = {}
        for (day, prefix), counts in kinds.items():
            fields = {f"{prefix}:{name}": count for name, count in counts.items()}
            _add(due.setdefault(usage("day", _date(day).isoformat()), {}), fields)
        for (day, user_id), counts in noted.items():
            keys = [usage("all"), usage("day", _date(day).isoformat())]
            if user_id is not None:
                keys.append(usage("user", user_id))
                _add(due.setdefault(keys[-1], {}), of_day(_date(day), counts))
            for key in keys:
                _add(due.setdefault(key, {}), counts)
        return due

    def _send(self) -> None:
        """Send the batch under way; it stays the same batch until there is an answer."""
        number, batch = self._batch, self._sent
        try:
            add_usage(
                self._core,
                self._core.keys.usage("batch", self._sender),
                {key: packed(counts) for key, counts in batch},
                batch=number,
                remembered_ms=DAY_MS,
                kept_ms=KEPT_MS,
                oldest=oldest_day(_date(int(self._core.clock.time() // DAY))),
            )
        except StoreUnavailable as exc:
            log.warning("what turns took could not be counted now: %s", exc)
            raise
        except StoreMisconfigured as exc:
            log.warning("what turns took could not be counted: %s", exc)
        if self._sent is batch:
            self._sent = []

    def forget(self, user_id: str) -> bool:
        """Remove the totals of a user, what is noted here too; return whether there were any.

        Those of days and of the namespace, which name nobody, stay. Raises StoreUnavailable.
        """
        key = self._core.keys.usage("user", user_id)
        self.write()
        were_there = bool(self._core.call("EXISTS", key))
        self._core.call("DEL", key)
        return were_there

    def usage(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        day: date | str | None = None,
    ) -> UsageTotals:
        """Return what turns took: of a session, a user, a day (UTC), or all of the namespace.

        ``day`` is a date or ``"2026-01-31"``, or a datetime: one with a time zone names the UTC day
        of that instant. With a ``session_id``, ``user_id`` is its owner, as
        everywhere. A session's totals are exact and end with it; the others lag behind other
        processes by about a second, and are kept for 400 days after their last use. One round
        trip, and another to write what is noted here. Raises SessionNotFound, InvalidInput,
        RecordUnreadable or StoreUnavailable.
        """
        if session_id is not None:
            if day is not None:
                raise InvalidInput("usage is kept by session or by day, not by both")
            found = get_session(self._core.on(session_id, user_id), fields=FIELDS)
            values = dict(zip(FIELDS, found.values, strict=True))
            return _totals(self._core.keys.metadata(session_id), values)
        if user_id is not None and day is not None:
            raise InvalidInput("usage is kept by user or by day, not by both")
        if user_id is not None:
            key = self._key_of(user_id)
        else:
            key = (
                self._core.keys.usage("all")
                if day is None
                else self._core.keys.usage("day", _iso(day))
            )
        self._write_unless_refused()
        return _totals(key, dict(zip(FIELDS, self._core.call("HMGET", key, *FIELDS), strict=True)))

    def of_users(self, user_ids: Sequence[str]) -> list[UsageTotals]:
        """Return what the turns of each of these users took; trips and errors are those of days."""
        self._write_unless_refused()
        keys = [self._key_of(one) for one in user_ids]
        replies = self._core.call_many([("HMGET", key, *FIELDS) for key in keys])
        return [
            _totals(key, dict(zip(FIELDS, reply, strict=True)))
            for key, reply in zip(keys, replies, strict=True)
        ]

    def days(self, last: date, count: int, user_id: str | None = None) -> list[DayTotals]:
        """Return what the turns of each of ``count`` days took, up to the ``last`` (UTC).

        By model and by tool too; of one user neither, and no more than the last 31 days. One round
        trip, and another to write what is noted here. Raises RecordUnreadable or StoreUnavailable.
        """
        self._write_unless_refused()
        days = [last - timedelta(days=back) for back in reversed(range(count))]
        if user_id is not None:
            key = self._key_of(user_id)
            counts = _counts(key, self._core.call("HGETALL", key))
            return [user_day_totals(day, counts) for day in days]
        keys = [self._core.keys.usage("day", day.isoformat()) for day in days]
        replies = self._core.call_many([("HGETALL", key) for key in keys])
        return [
            day_totals(day, _counts(key, reply))
            for day, key, reply in zip(days, keys, replies, strict=True)
        ]

    def _key_of(self, user_id: str) -> str:
        check_user_id(user_id)
        return self._core.keys.usage("user", user_id)

    def _write_unless_refused(self) -> None:
        try:
            self.write()
        except StoreUnavailable:
            if not self._core.connections.availability.refuses_writes:
                raise


def _date(number: int) -> date:
    return datetime.fromtimestamp(number * DAY, UTC).date()


def _add(sums: Counts, counts: Counts) -> None:
    for name, count in counts.items():
        sums[name] = sums.get(name, 0) + count


def _totals(key: str, values: dict[str, bytes | None]) -> UsageTotals:
    try:
        return totals({name: int(value) for name, value in values.items() if value is not None})
    except ValueError as exc:
        raise RecordUnreadable(key, str(exc)) from exc


def _counts(key: str, reply: Any) -> Counts:
    try:
        return {to_text(name): int(value) for name, value in pairs_of(reply)}
    except ValueError as exc:
        raise RecordUnreadable(key, str(exc)) from exc


def _iso(day: date | str) -> str:
    try:
        if isinstance(day, datetime) and day.tzinfo is not None:
            day = day.astimezone(UTC)
        # A datetime is a date too; its day is meant.
        return (day if isinstance(day, date) else date.fromisoformat(day)).strftime("%Y-%m-%d")
    except (TypeError, ValueError, OverflowError) as exc:
        raise InvalidInput(
            f"day must be a date or text as '2026-01-31', not {day!r:.100}", cause=str(exc)
        ) from exc
