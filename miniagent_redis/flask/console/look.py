"""Looking: sessions, one of them step by step, turns that wait, totals, and what is stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from .access import Access
from .charts import DAYS, Bars, bars, of_days, of_models, of_tools
from .export import exported
from .raw import stored_keys
from .rendering import Pages
from .sessions import UNREADABLE, conversation, titled
from .tree import tree_of
from .words import from_link

_LISTED = 25  # sessions of a page
_STEPS = 100  # messages of a page
_RECENT = 200
"""Sessions, the last used, whose users the charts know: nothing lists users."""


def add_look(routes: Blueprint, access: Access, pages: Pages) -> None:
    """Add the pages that only read. Each shows what ``access.whose`` may see."""

    @routes.get("/sessions")
    def sessions() -> ResponseReturnValue:
        user = from_link(request.args.get("user", ""))
        whose = (user or None) if access.is_admin else access.user_id
        page = access.all.list_sessions(whose, _LISTED, request.args.get("cursor") or None)
        return pages.show(
            "sessions",
            listed=titled(access.all, page, whose),
            cursor=page.cursor,
            is_first="cursor" not in request.args,
            user=user if access.is_admin else "",
            own=access.user_id,
        )

    @routes.get("/search")
    def search() -> ResponseReturnValue:
        """Search what one user and the model said: one's own, or a user's whom an admin names."""
        user = from_link(request.args.get("user", "")) if access.is_admin else ""
        text, cursor = request.args.get("q", "").strip(), request.args.get("cursor") or None
        whose = user or access.user_id
        page = access.all.search(text, whose, _LISTED, cursor) if text else None
        return pages.show("search", q=text, found=page, user=user, whose=whose)

    @routes.get("/session")
    def session() -> ResponseReturnValue:
        session_id, whose = from_link(request.args.get("id", "")), access.whose
        before = request.args.get("before", type=int)
        try:
            state = access.all.store.session_state(session_id, user_id=whose)
            found = conversation(access.all, session_id, whose, _STEPS, before)
            took = access.all.usage(session_id=session_id, user_id=whose)
            tree = tree_of(access.all, session_id, whose)
        except UNREADABLE as exc:
            return pages.show("unreadable", session_id=session_id, error=exc)
        return pages.show(
            "session",
            state=state,
            took=took,
            found=found,
            before=before,
            is_own=state.user_id == access.user_id,
            tree=tree,
            data=json.dumps(state.data, ensure_ascii=False, indent=2) if state.data else "",
            agent_name=state.agent_name or "Assistant",
        )

    @routes.get("/session/export")
    def export() -> ResponseReturnValue:
        session_id = from_link(request.args.get("id", ""))
        try:
            lines = exported(access.all, session_id, access.whose)
        except UNREADABLE as exc:
            return pages.show("unreadable", session_id=session_id, error=exc)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        answer = Response(text, mimetype="application/jsonl")
        answer.headers["Content-Disposition"] = 'attachment; filename="session.jsonl"'
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @routes.get("/session/keys")
    def keys() -> ResponseReturnValue:
        access.must_be_admin()
        session_id = from_link(request.args.get("id", ""))
        core = access.all.store.parts.core
        return pages.show("keys", session_id=session_id, keys=stored_keys(core, session_id))

    @routes.get("/waiting")
    def waiting() -> ResponseReturnValue:
        page = access.all.list_waiting(access.whose, _LISTED, request.args.get("cursor") or None)
        return pages.show("waiting", listed=page, cursor=page.cursor, pretty=_pretty)

    @routes.get("/usage")
    def usage() -> ResponseReturnValue:
        """Show what was used: by everybody, by a user whom an admin names, or by oneself."""
        user = from_link(request.args.get("user", "")) if access.is_admin else ""
        whose = user or access.whose
        total = access.all.usage() if whose is None else access.all.usage(user_id=whose)
        recent, kept = access.all.list_sessions(whose, _RECENT), access.all.store.parts.usage
        days = kept.days(datetime.now(UTC).date(), DAYS, whose)
        charts: list[Bars] = [of_days(days)]
        if whose is None:
            users = [*dict.fromkeys(each["user_id"] for each in recent if each["user_id"])]
            found = list(zip(users, kept.of_users(users), strict=True))
            charts += [of_models(days), of_tools(days)]
            charts.append(bars(found, "Tokens by user, of the sessions last used", links="user"))
        else:
            listed = titled(access.all, recent[:_LISTED], whose)
            told = [(each["session_id"], each["took"]) for each in listed]
            names = {each["session_id"]: each["title"] for each in listed}
            charts.append(bars(told, "Tokens by conversation", names, links="session"))
        config = access.all.agent.config
        is_of_all = access.is_admin and not user
        limits = [*config.rate_limits, *config.budgets] if is_of_all else []
        shown = [one for one in charts if one.bars]
        return pages.show("usage", total=total, charts=shown, limits=[*map(str, limits)], user=user)


def _pretty(arguments: Any) -> str:
    return json.dumps(arguments, ensure_ascii=False, indent=2)
