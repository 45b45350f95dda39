"""The route of /chat/completions."""

from __future__ import annotations

from attrs import evolve
from flask import Blueprint, Response, request

from ..doors.openai.chat import chunks, completion
from ..doors.openai.checks import about
from ..doors.openai.given import Given
from ..doors.openai.ids import session_of
from ..doors.openai.requests import Request, chat_request
from .openai_requests import Doorkeeper, Json, body, repeats, unnamed
from .openai_responses import at_its_end, left_behind

SESSION = "X-Session-Id"
"""The header that names the session; what the client sends of earlier messages is not looked at."""


def add_chat(blueprint: Blueprint, door: Doorkeeper) -> None:
    """Add the route to the blueprint."""

    @blueprint.post("/chat/completions")
    def complete() -> Response | Json:
        asked = chat_request(body())
        creating, stored = door.creating(asked.model), door.stored()
        streaming = door.streaming() if asked.stream else None
        name = repeats().name(creating.manager.store, door.user_id())
        if session_id := session_of(request.headers.get(SESSION)):
            creating.manager.create_or_resume_session(door.user_id(), session_id)
            asked = evolve(asked, session_id=session_id, given=_newest(asked), store=True)
        with about("messages"):
            response = creating.create(asked, name)
        if streaming is not None:
            told = stored.follow(response)
            told = told if asked.store else left_behind(told, creating, response)
            made = chunks(response, told, include_usage=asked.include_usage)
            return streaming.of(made, unnamed, b"data: [DONE]\n\n")
        answer = completion(response, at_its_end(stored, response))
        if not asked.store:
            creating.leave(response)
        return answer


def _newest(asked: Request) -> Given:
    """Return the last message of the user, or the last outputs of tools: the rest is stored."""
    steps = asked.given.steps
    newest = Given(asked.given.param, asked.given.system, answers=dict(asked.given.answers))
    for step in reversed(steps):
        if step.role == "tool":
            newest.answers.setdefault(step.tool_call_id or "", step.text)
            continue
        if step.role == "user" and not newest.answers:
            newest.steps.append(step)
        break
    return newest
