"""Which branches a session has: a bounded list of their ids, beside what it knows of operations.

It is derived. A branch is noted before it is made, so a crash leaves at worst an entry without one,
which readers skip and, when it is older than a minute, strike out.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote, unquote_to_bytes

from attrs import frozen

from .core import StoreCore
from .keys import read_member, to_bytes
from .operations.branches import note_branch, read_branches

MOST = 100
"""Branches of one session that are kept in mind: the newest."""
_MOST_BYTES = 16_384


@frozen
class Branch:
    """A branch that was made, by which operation, and how its origin was then."""

    session_id: str
    operation: str
    epoch: int
    version: int

    @classmethod
    def of(cls, session_id: str, operation: str) -> Branch:
        """Return the branch that an operation has made, which tells how its origin was."""
        _, *told = operation.split(".")
        epoch, version = map(int, told[:2]) if len(told) == 3 else (-1, -1)
        return cls(session_id, operation, epoch, version)


class BranchIndex:
    """The lists of branches, each in the slot of the session that they are of."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core

    def note(self, session_id: str, branch: str, user_id: str | None = None) -> None:
        """Enter a branch that is about to be made. Raises SessionNotFound or StoreUnavailable."""
        on = self._core.on(session_id, user_id)
        note_branch(on, branch=_name(branch), most=MOST, most_bytes=_MOST_BYTES)

    def strike(self, session_id: str, branches: list[str]) -> None:
        """Take out branches that are over."""
        names = [_name(branch) for branch in branches]
        note_branch(
            self._core.on(session_id), branch="", most=MOST, most_bytes=_MOST_BYTES, gone=names
        )

    def read(self, session_id: str, user_id: str | None) -> tuple[bytes, list[tuple[float, str]]]:
        """Return who owns the session, and (when it was noted in ms, id) for each branch."""
        owner, lines = read_branches(self._core.on(session_id, user_id))
        found: list[tuple[float, str]] = []
        for line in lines.split(b"\n") if lines else ():
            at, _, name = line.partition(b" ")
            with suppress(ValueError):  # what is none of ours tells nothing
                found.append((float(at), read_member(unquote_to_bytes(name))))
        return owner, found


def _name(session_id: str) -> str:
    return quote(to_bytes(session_id), safe="@:")
