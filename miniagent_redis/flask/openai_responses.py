"""The routes of /responses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request

from ..doors.openai.checks import about, refuse
from ..doors.openai.conversations import MOST, page
from ..doors.openai.creating import Creating
from ..doors.openai.faults import QUOTA, RequestRefused, not_found
from ..doors.openai.ids import ResponseId
from ..doors.openai.requests import parameter, response_request
from ..doors.openai.stored import StoredResponses
from .openai_requests import Doorkeeper, Json, body, flag, named, repeats

_MOST_NUMBER = 2**53
_CANCELLING = 5.0
"""Seconds for which a request to cancel waits for the end of the turn."""


def add_responses(blueprint: Blueprint, door: Doorkeeper) -> None:
    """Add the routes to the blueprint."""

    @blueprint.post("/responses")
    def create_response() -> Response | Json:
        conversations = door.conversations()
        asked = response_request(body(), conversations.item)
        creating, stored = door.creating(asked.model), door.stored()
        streaming = door.streaming() if asked.stream else None
        name = repeats().name(creating.manager.store, door.user_id())
        with about("input"):
            response = creating.create(asked, name)
        if streaming is not None:
            told = stored.follow(response)
            told = told if asked.store else left_behind(told, creating, response)
            return streaming.of(told, named)
        if asked.background:
            return stored.retrieve(response)
        made = at_its_end(stored, response)
        if not asked.store:
            creating.leave(response)
        return made

    @blueprint.post("/responses/compact")
    def compact() -> Json:
        raise RequestRefused(
            "Conversations are not compacted here: the agent keeps to its model's window itself.",
            status=404,
            code="not_found",
        )

    @blueprint.get("/responses/<response_id>")
    def get_response(response_id: str) -> Response | Json:
        response = _read(response_id)
        stored = door.stored()
        if not flag("stream"):
            return stored.retrieve(response)
        after = parameter(
            request.args.get("starting_after"), -1, _MOST_NUMBER, "starting_after", None
        )
        streaming = door.streaming()
        stored.retrieve(response)
        return streaming.of(stored.follow(response, after), named)

    @blueprint.delete("/responses/<response_id>")
    def delete_response(response_id: str) -> Json:
        response = _read(response_id)
        door.stored().delete(response)
        return {"id": str(response), "object": "response", "deleted": True}

    @blueprint.post("/responses/<response_id>/cancel")
    def cancel_response(response_id: str) -> Json:
        response = _read(response_id)
        stored = door.stored()
        made = stored.retrieve(response)
        state = stored.state(response).state
        if made["status"] == "in_progress" and state in ("running", "abandoned", "waiting"):
            stored.manager.cancel(
                response.session_id, user_id=stored.user_id, turn_id=response.turn_id
            )
            end = time.monotonic() + _CANCELLING
            while made["status"] == "in_progress" and time.monotonic() < end:
                time.sleep(0.02)
                made = stored.retrieve(response)
        return made

    @blueprint.get("/responses/<response_id>/input_items")
    def list_input_items(response_id: str) -> Json:
        found = door.stored().input_items(_read(response_id))
        return listed(found, "desc")


def listed(found: list[Json], order: str) -> Json:
    """Return the page of a list that the query asks for."""
    limit = parameter(request.args.get("limit"), 1, MOST, "limit", 20)
    order = request.args.get("order", order)
    if order not in ("asc", "desc"):
        refuse("Invalid 'order': it is 'asc' or 'desc'.", "order")
    return page(found, request.args.get("after"), limit, order)


def left_behind(
    told: Iterator[Json | None], creating: Creating, response: ResponseId
) -> Iterator[Json | None]:
    """Yield the events of a response that is not to be stored."""
    yield from told
    creating.leave(response)


def at_its_end(stored: StoredResponses, response: ResponseId) -> Json:
    """Return the response once it is over; raise the refusal of one that came to nothing."""
    made: Any = None
    for event in stored.follow(response):
        made = event or made
    found: Json = made["response"]
    if found["status"] == "failed" and not found["output"]:
        error = found["error"]
        status = 429 if error["code"] == QUOTA else 502
        raise RequestRefused(error["message"], status=status, code=error["code"])
    return found


def _read(response_id: str) -> ResponseId:
    found = ResponseId.read(response_id)
    if found is None:
        raise not_found("Response", response_id)
    return found
