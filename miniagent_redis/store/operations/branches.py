"""Scripts on what a session knows of its branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core import OnSession


class Noted(NamedTuple):
    """The branches that were noted of a session of this owner: lines, the newest first."""

    owner: bytes
    branches: bytes


def note_branch(
    on: OnSession, *, branch: str, most: int, most_bytes: int, gone: Sequence[str] = ()
) -> None:
    """Take note of a branch, if one is given, and strike out those that are gone."""
    on("note_branch", branch, most, most_bytes, *gone)


def read_branches(on: OnSession) -> Noted:
    """Read what was noted."""
    return Noted(*on("read_branches")[1:])
