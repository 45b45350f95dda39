"""Parked turns: those that wait for somebody to answer a call, for days if need be.

A parked turn has no holder and no lease. What it waits for is in the session's metadata, as digests
of calls; the last answer makes an abandoned turn of it, which any instance finishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from ..errors import (
    InvalidInput,
    OutcomeUnknown,
    RecordUnreadable,
    TurnSuperseded,
)
from ..models import (
    Deny,
    Message,
    OpenTurn,
    Page,
    WaitingCall,
    isoformat,
    new_id,
)
from ..models.event import turn_waiting
from ..records.json import Json
from .answers import Answer as Answer
from .answers import message_of, result_of
from .checks import check_object, check_turn, lifetime, stamped
from .core import OnSession, StoreCore, log
from .cursors import Entry
from .index import FRESH_MS, Index
from .keys import SHARDS, check_id, check_user_id, to_bytes, to_text
from .listing import Listing
from .message_records import MessageRecords
from .operations.open_turn import read_turn
from .operations.parking import Cancelled, Over, answer_turn, park_turn, read_waiting
from .operations.replies import Renewed, Superseded
from .operations.turn import cancel_turn
from .recovery import Recovery
from .waiting_calls import LETTERS, call_digest, last_reply, waiting_calls


@frozen
class Parked:
    """A turn that was parked, as it is now: ``calls`` are those that still wait, if any."""

    session_id: str
    turn_id: str
    user_id: str | None
    version: int
    staged: tuple[Message, ...]
    calls: tuple[WaitingCall, ...]


class Parking:
    """Parking turns, answering their calls, and finding those that wait."""

    def __init__(
        self,
        core: StoreCore,
        index: Index,
        listing: Listing,
        recovery: Recovery,
        records: MessageRecords,
    ) -> None:
        self._core = core
        self._recovery = recovery
        self._index = index
        self._listing = listing
        self._records = records

    def park_turn(self, turn: OpenTurn, calls: Sequence[WaitingCall]) -> int | None:
        """Park an open turn until the calls, which are of its last reply, are answered.

        Gives up the lease. The session lives on for ``waiting_ttl`` at the least. Atomic; twice is
        once. Returns the session's version; None if somebody has cancelled the turn, which is not
        parked then. Raises TurnSuperseded, TurnUncertain, StoreUnavailable.
        """
        config = self._core.config
        reply = last_reply(check_turn(turn).staged)
        waits = "".join(
            f" {LETTERS[call.waits_for]}{call_digest(reply, call.id)}" for call in calls
        )
        _, told = turn_waiting(calls)
        self._index.enter_waiting(turn.session_id, turn.user_id)
        parked = park_turn(
            self._core.on(
                turn.session_id, turn.user_id, operation=turn.turn_id, insist=config.commit_timeout
            ),
            turn_id=turn.turn_id,
            holder=turn.holder,
            staged=len(turn.staged),
            waiting_ms=lifetime(config.waiting_ttl, "waiting_ttl"),
            waits=waits,
            told=self._core.format.encode(told, self._core.where("event", turn.session_id)),
        )
        if isinstance(parked, Superseded):
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        if isinstance(parked, Cancelled):
            return None
        turn.heard(parked.event)
        self._index.mark(
            turn.session_id,
            Renewed(parked.version, parked.deadline_ms, parked.now_ms, parked.user),
        )
        return parked.version

    def answer(
        self,
        session_id: str,
        turn_id: str,
        answers: Mapping[str, Answer],
        *,
        user_id: str | None = None,
        note: Json | None = None,
    ) -> Parked | None:
        """Answer calls of a parked turn by their ids; None if that turn is not open any more.

        A call that has its result already is passed over, so this may be repeated; of two who
        answer the same call the first counts. With the last answer the turn is an abandoned one:
        ``resume_turn`` goes on with it. ``note`` is kept with the results. Atomic. Raises
        InvalidInput for an id that is none of a call, SessionNotFound, SessionTooLarge or
        StoreUnavailable.
        """
        check_id(turn_id, "a turn id")
        given = check_object(answers, "answers")
        on = self._core.on(session_id, user_id)
        now = self._look(on)
        on.goes_on()
        return self._answer(on, now, given, note) if now and now.turn_id == turn_id else None

    def _answer(
        self,
        on: OnSession,
        now: Parked,
        given: Mapping[str, Any],
        note: Json | None = None,
        answer_with: Callable[[WaitingCall, object, Json | None], Message | None] = message_of,
    ) -> Parked | None:
        session_id, turn_id = now.session_id, now.turn_id
        reply = last_reply(now.staged)
        flat: list[str | bytes] = []
        for call_id, answer in given.items():
            if (waits := _the_call(now, call_id)) is None:
                continue
            result = answer_with(waits, answer, note)
            record = b""
            if result is not None:
                message = stamped(result, turn_id, self._core.clock)
                (record,) = self._records.encode(session_id, [message])
            flat += [call_digest(reply, call_id), record]
        if not flat:
            return now
        limit = self._core.config.max_session_size
        self._recovery.ask(session_id)  # who gives the last answer may die of what it leads to
        try:
            told = answer_turn(on, turn_id=turn_id, max_bytes=limit, answers=flat)
        except OutcomeUnknown as exc:
            exc.hint = "answer once more: calls that are answered are passed over"
            raise
        if isinstance(told, Over):
            return None
        calls = waiting_calls(now.staged, told.waits)
        if not calls:
            self._index.leave_waiting(session_id, to_bytes(now.user_id or ""))
        return Parked(session_id, turn_id, now.user_id, now.version, now.staged, calls)

    def decline(self, session_id: str, turn_id: str, *, user_id: str | None = None) -> bool:
        """Decline all calls for which a turn waits; whoever takes it over ends it, asks no model.

        Returns whether it waited. Two scripts that write,
        each atomic: in between it is a turn that is cancelled and waits.
        """
        on = self._core.on(session_id, user_id)
        now = self._look(on)
        on.goes_on()
        if now is None or not now.calls or turn_id != now.turn_id:
            return False
        if not cancel_turn(on, operation=new_id(), turn=now.turn_id):
            return False  # it was answered meanwhile, and is over
        declined = {call.id: Deny("the user went on") for call in now.calls}
        self._answer(on, now, declined, answer_with=result_of)
        return True

    def parked(self, session_id: str, *, user_id: str | None = None) -> Parked | None:
        """Return the session's open turn if it waits. Raises SessionNotFound, StoreUnavailable."""
        found = self._look(self._core.on(session_id, user_id))
        return found if found is not None and found.calls else None

    def list_waiting(
        self, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[dict[str, Any]]:
        """List the turns that wait, those that were parked last first, as dicts.

        Each has ``session_id user_id turn_id since`` (ISO 8601, UTC), ``message``, the user's text,
        and ``calls``, each with ``id name arguments waits_for``, and ``question`` if it waits for
        input. ``user_id`` restricts the list to that user's. Pass the page's ``cursor`` for the
        next one. Two round trips a page, whatever the number of sessions. Raises InvalidInput or
        StoreUnavailable.
        """
        keys = self._core.keys
        user = b"" if user_id is None else check_user_id(user_id)
        if user_id is None:
            indexes = [keys.waiting(shard) for shard in range(SHARDS)]
        else:
            indexes = [keys.user_waiting(user_id)]
        return self._listing.page(indexes, limit, cursor, partial(self._waiting_ones, user))

    def _waiting_ones(self, user: bytes, entries: list[Entry]) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = []
        found = read_waiting(self._core, [session_id for _, session_id in entries])
        for (since, session_id), waits in zip(entries, found, strict=True):
            if waits is None or user not in (b"", waits.owner):
                self._prune_if_old(session_id, user, since)
                continue
            try:
                staged = self._records.staged(session_id, waits.staged)
            except RecordUnreadable as exc:
                log.warning("a turn that waits is not listed: %s", exc)
                continue
            listed.append({
                "session_id": session_id,
                "user_id": to_text(waits.owner) or None,
                "turn_id": waits.turn_id.decode(),
                "since": isoformat(since / 1000),
                "message": staged[0].text,
                "calls": [call.to_dict() for call in waiting_calls(staged, waits.waits)],
            })  # fmt: skip
        return listed

    def _prune_if_old(self, session_id: str, user: bytes, since: float) -> None:
        """Take an entry out, unless it is that of a turn which is just being parked."""
        keys = self._core.keys
        key = keys.user_waiting(to_text(user)) if user else keys.waiting(keys.shard(session_id))
        if since <= self._core.clock.time() * 1000 - FRESH_MS:
            self._index.prune(key, session_id, repr(since))

    def _look(self, on: OnSession) -> Parked | None:
        """Return the turn that is open, whether it waits or not."""
        found = read_turn(on, turn_id="", events=0)
        if not found.open_turn:
            return None
        session_id, owner = on.session_id, to_text(found.owner) or None
        staged = self._records.staged(session_id, found.staged)
        calls = waiting_calls(staged, found.waits) if found.waits else ()
        return Parked(session_id, found.open_turn.decode(), owner, found.version, staged, calls)


def _the_call(parked: Parked, call_id: str) -> WaitingCall | None:
    """Return the call of that id that waits; None if it was answered already, or is run here."""
    for call in parked.calls:
        if call.id == call_id:
            return call
    if any(call.id == call_id for message in parked.staged for call in message.tool_calls):
        return None
    names = ", ".join(f"{call.id} ({call.name})" for call in parked.calls)
    raise InvalidInput(
        f"turn {parked.turn_id} has no call {str(call_id)[:60]!r} that waits for an answer",
        hint=f"these wait: {names}" if names else "none of it waits any more",
    )
