"""The branches of a session as a tree, from the one on that it all began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from ...errors import MiniAgentError, SessionNotFound, StoreUnavailable
from ...models.message import content_text
from ...session import SessionManager
from ...session.headings import heading_of
from .sessions import UNREADABLE
from .words import one_line

_HIGHEST = 20  # sessions above one
MOST = 40
"""Sessions that are shown: each costs a few round trips."""
_LONGEST = 60
_COMPARED = 40
"""Messages in front of a fork that are compared with those of the session above."""


@define
class Node:
    """A session in the tree. A branch parts from the one above it at message ``position``."""

    session_id: str
    title: str = ""
    messages: int = 0
    position: int | None = None
    begins: str = ""
    """What is said in it first that the one above has not."""
    is_here: bool = False
    branches: list[Node] = field(factory=list)


def tree_of(manager: SessionManager, session_id: str, whose: str | None) -> Node | None:
    """Return the tree in which a session is, or None if it has no branch and is none.

    Those that are over, and other people's, are not in it: a branch whose origin is gone is the
    first one. Raises SessionNotFound, RecordUnreadable or StoreUnavailable.
    """
    root = manager.store.session_state(session_id, user_id=whose)
    seen = {session_id}
    while (above := (root.forked_from or {}).get("session_id")) and above not in seen:
        if len(seen) > _HIGHEST:
            break
        seen.add(above)
        try:
            root = manager.store.session_state(above, user_id=whose)
        except (SessionNotFound, *UNREADABLE):
            break
    told = {"session_id": root.session_id, "title": root.title}
    heading = one_line(heading_of(manager, told, whose), _LONGEST)
    first = Node(root.session_id, heading, root.message_count - root.head)
    first.is_here = root.session_id == session_id
    known = {first.session_id: first}
    waiting = [first]
    while waiting and len(known) < MOST:
        node = waiting.pop(0)
        for entry in manager.list_branches(node.session_id, user_id=whose):
            if entry["session_id"] not in known and len(known) < MOST:
                branch = _branch(manager, node.session_id, entry, whose)
                branch.is_here = branch.session_id == session_id
                known[branch.session_id] = branch
                node.branches.append(branch)
                waiting.append(branch)
        node.branches.sort(key=lambda branch: branch.position or 0)
    return first if first.branches else None


def _branch(
    manager: SessionManager, above: str, entry: Mapping[str, Any], whose: str | None
) -> Node:
    """Return a branch, and where it parts: in front of its fork, if the one above went back."""
    session_id, forked = entry["session_id"], int((entry["forked_from"] or {}).get("position", 0))
    node = Node(session_id, entry["title"] or "", entry["message_count"], forked)
    try:
        mine, theirs = (
            manager.get_history(one, _COMPARED, before=forked + 1, user_id=whose)
            for one in (session_id, above)
        )
    except StoreUnavailable:
        raise
    except MiniAgentError:
        node.begins = "(cannot be read)"
        return node
    known = {message["index"]: message["id"] for message in theirs}
    end = max(known, default=-1)
    for message in mine:  # one that cannot be read above tells nothing
        at = message["index"]
        if at > end or known.get(at, message["id"]) != message["id"]:
            node.position, node.begins = at, one_line(content_text(message["content"]), _LONGEST)
            break
    return node
