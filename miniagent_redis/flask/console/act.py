"""Acting: what removes something says first what and how much, and is done by a second request."""

from __future__ import annotations

from attrs import frozen
from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from .access import Access
from .rendering import Pages
from .sessions import UNREADABLE
from .words import counted, from_link

_PAGE = 1000
_MOST_PAGES = 10
"""Of sessions that are counted before a user is forgotten: what is beyond is "more than"."""

_REMOVE = "Remove this session?"


@frozen
class Deed:
    """What is to be done: a question, what goes, and the word on the button."""

    what: str
    question: str
    about: str
    """The session's or the user's id."""
    called: str
    """The session's title, if it has one."""
    goes: list[str]
    button: str


def add_act(routes: Blueprint, access: Access, pages: Pages) -> None:
    """Add the page that asks, and what does it."""

    @routes.get("/confirm")
    def confirm() -> ResponseReturnValue:
        access.must_write()
        return pages.show("confirm", deed=_deed(access, *_asked(request.args.get("what", ""))))

    @routes.post("/confirm")
    def act() -> ResponseReturnValue:
        what, about = _asked(request.form.get("what", ""))
        whose = access.whose
        if what == "end":
            was_there = access.all.end_session(about, user_id=whose)
            done = ["The session is removed."] if was_there else ["It was gone already."]
        elif what == "clear":
            any_there = access.all.clear_history(about, user_id=whose)
            done = ["Its messages are removed."] if any_there else ["It had no messages."]
        else:
            done = _forgotten(access, about)
        return pages.show("done", said=done)


def _asked(what: str) -> tuple[str, str]:
    if what not in ("end", "clear", "forget"):
        raise NotFound("There is nothing of this name that could be done.")
    return what, from_link(request.values.get("id", ""))


def _may_forget(access: Access, user_id: str) -> None:
    if user_id != access.user_id:
        access.must_be_admin()


def _forgotten(access: Access, user_id: str) -> list[str]:
    _may_forget(access, user_id)
    done = access.all.forget_user(user_id)
    counts = {"session": done.sessions, "message": done.messages, "spooled turn": done.spooled}
    told = [counted(count, noun) for noun, count in counts.items() if count]
    told += ["the totals"] if done.totals else []
    said = [f"Removed: {', '.join(told)}." if told else "Nothing was stored of this user."]
    if done.left:
        left = counted(done.left, "session")
        said.append(f"Perhaps {left} just began: do it again in a minute.")
    return said


def _deed(access: Access, what: str, about: str) -> Deed:
    """Return what would be done now. Raises SessionNotFound."""
    if what == "forget":
        _may_forget(access, about)
        return _forgetting(access, about)
    try:
        state = access.all.store.session_state(about, user_id=access.whose)
    except UNREADABLE as exc:
        if what == "clear":
            raise
        goes = ["all that is stored of it, which cannot be read", exc.cause or exc.problem]
        return Deed(what, _REMOVE, about, "", goes, "Remove")
    messages = counted(state.message_count - state.head, "message")
    goes = [f"{messages} in {counted(state.turns, 'turn')}"]
    goes += ["a turn that is not over yet"] if state.open_turn else []
    if what == "clear":
        question = "Remove all messages of this session?"
        return Deed(
            what, question, about, state.title or "", [*goes, "not the session itself"], "Clear"
        )
    goes += ["its data", "its totals"] if state.data else ["its totals"]
    return Deed(what, _REMOVE, about, state.title or "", goes, "Remove")


def _forgetting(access: Access, user_id: str) -> Deed:
    sessions = messages = 0
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = access.all.list_sessions(user_id, _PAGE, cursor)
        sessions += len(page)
        messages += sum(each["message_count"] for each in page)
        if (cursor := page.cursor) is None:
            break
    more = "more than " if cursor else ""
    goes = [
        more + counted(sessions, "session"),
        more + counted(messages, "message"),
        "the totals of this user, and counts of rate limits",
    ]
    question = "Remove all that is stored of this user?"
    return Deed("forget", question, user_id, "", goes, "Forget")
