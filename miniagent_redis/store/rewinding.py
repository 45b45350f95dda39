"""Going back in a conversation; what was said since is kept as a branch, made before."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from hashlib import sha256

from ..errors import (
    MiniAgentError,
    SessionBusy,
    SessionWaiting,
    StoreUnavailable,
    TurnUncertain,
)
from ..models import new_id as random_id
from .branch_index import Branch
from .branches import Branches
from .core import StoreCore
from .index import Index
from .keys import check_session_id
from .one_session import of_one_session
from .open_turns import OpenTurns
from .operations.replies import Changed
from .operations.thread import Cleared, Running, truncate_thread
from .places import At, Place
from .sessions import Sessions

_TRIES = 20
"""How often all is done anew because others were faster."""


class Rewinding:
    """Rewinds sessions."""

    def __init__(
        self,
        core: StoreCore,
        sessions: Sessions,
        index: Index,
        branches: Branches,
        open_turns: OpenTurns,
    ) -> None:
        self._core = core
        self._sessions = sessions
        self._index = index
        self._branches = branches
        self._open_turns = open_turns

    @of_one_session
    def rewind(
        self,
        session_id: str,
        to: At,
        *,
        before: bool = False,
        new_id: str | None = None,
        user_id: str | None = None,
    ) -> str | None:
        """Go back to a place in the conversation; return the id of the branch that keeps it whole.

        ``to`` is the id of a turn or of a message, which is the last that stays, or with ``before``
        the first that goes; or how many messages stay. None is returned if nothing is behind that.
        The whole thread is forked first (``fork_session``), then its end is removed, in one step,
        if it is still what was forked: nothing is ever lost. Watchers are told HISTORY_CLEARED with
        what is ``kept`` and the ``branch``.

        To repeat a call whose end is not known (TurnUncertain, OutcomeUnknown) give the ``new_id``
        of the branch: the repetition changes nothing more, and returns it, also one that is made
        while the first is under way. Raises SessionBusy while
        a turn is open, also one that was abandoned (``resume_turn`` finishes it), SessionWaiting
        if it waits, and what ``fork_session`` raises: at ``max_sessions_per_user`` nobody can go
        back.
        """
        check_session_id(session_id)
        target = random_id() if new_id is None else check_session_id(new_id)
        operation = sha256(target.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        is_done = partial(self._is_done, session_id, operation, user_id)
        if new_id is not None and is_done():
            return target
        branch: Branch | None = None
        try:
            for _ in range(_TRIES):
                self._must_be_idle(session_id, user_id)
                place = self._branches.places.find(session_id, to, user_id, before=before)
                if branch is None and place.position == place.count:
                    return target if new_id is not None and is_done() else None
                earlier = branch.operation if branch else ""
                branch = self._branches.keep_all(session_id, target, user_id, is_done, earlier)
                done = self._cut(session_id, user_id, operation, place, branch)
                if isinstance(done, Cleared):
                    self._index.mark(session_id, done)
                    return target
            raise SessionBusy(session_id, 0.0)
        except MiniAgentError as exc:
            if isinstance(exc, (TurnUncertain, StoreUnavailable)):
                raise
            if new_id is not None:
                if is_done():  # by the same call at another place, which may have this branch
                    return target
            elif branch is not None:  # nothing was removed
                with suppress(MiniAgentError):
                    self._sessions.delete_session(target)
            raise

    def _must_be_idle(self, session_id: str, user_id: str | None) -> None:
        found = self._open_turns.look(session_id, None, user_id)
        if found.is_waiting:
            raise SessionWaiting(session_id, found.turn_id, found.calls)
        if found.is_open:
            raise SessionBusy(session_id, max(0.0, found.lease_left))

    def _is_done(self, session_id: str, operation: str, user_id: str | None) -> bool:
        """Whether an earlier call has removed what is kept as that branch."""
        done = self._cut(session_id, user_id, operation, Place(-1, 0, 0), None)
        return isinstance(done, Cleared)

    def _cut(
        self,
        session_id: str,
        user_id: str | None,
        operation: str,
        place: Place,
        branch: Branch | None,
    ) -> Cleared | Changed | Running:
        told = {"kept": place.position, "branch": branch and branch.session_id}
        known: tuple[int | None, int | None] = None, None  # then only a repetition is answered
        if branch is not None and branch.epoch == place.epoch:
            known = branch.epoch, branch.version
        return truncate_thread(
            self._core.on(session_id, user_id, operation=operation),
            operation=f"={operation}",
            epoch=known[0],
            version=known[1],
            keep=place.position,
            note=self._core.format.encode(told, self._core.where("event", session_id)),
            new_epoch=int(random_id()[:13], 16),
            idle=True,
        )
