"""Going back: another message in the place of one, another answer to it, another title.

What was there before is kept as a branch.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from ...models import Message, new_id
from ..bound import measure
from .access import Access
from .words import from_link, to_link

Show = Callable[[str, str], Response]
"""Answers with the page of a session in which this turn was begun."""


def add_again(routes: Blueprint, access: Access, show: Show) -> None:
    """Add what changes what was said. Sessions are the person's own, titles whose they may see."""

    @routes.post("/again")
    def again() -> ResponseReturnValue:
        session_id = from_link(request.form.get("id", ""))
        own = access.own_of(session_id)
        at, turn_id = request.form.get("at", ""), request.form.get("turn") or new_id()
        text = request.form.get("message", "").strip()
        measure(text, access.agents.settings.web.max_message_size)  # before anything is changed
        # By an id that the page has chosen: what is sent twice goes back once.
        if own.turn(session_id, turn_id).state == "unknown":
            branch = own.rewind(session_id, at, before=True, new_id=turn_id)
            own.start(session_id, text or _asked(session_id, branch or session_id), turn_id)
        return show(session_id, turn_id)

    def _asked(session_id: str, branch: str) -> Message:
        """Return the message in front of which a session now ends, as its branch has it."""
        own = access.own
        kept = access.all.store.session_state(session_id, user_id=own.user_id).message_count
        (found,) = own.get_history(branch, 1, before=kept + 1)
        return Message("user", found["content"])

    @routes.post("/title")
    def title() -> ResponseReturnValue:
        session_id = from_link(request.form.get("id", ""))
        given = request.form.get("title", "").strip()
        access.all.set_title(session_id, given or None, user_id=access.whose)
        return redirect(url_for(".session", id=to_link(session_id)), 303)
