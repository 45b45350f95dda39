"""The routes of /conversations."""

from __future__ import annotations

from flask import Blueprint

from ..doors.openai.checks import about, refuse
from ..doors.openai.conversations import page
from ..doors.openai.faults import not_found
from ..doors.openai.ids import session_of
from .openai_requests import Doorkeeper, Json, body
from .openai_responses import listed


def add_conversations(blueprint: Blueprint, door: Doorkeeper) -> None:
    """Add the routes to the blueprint."""

    @blueprint.post("/conversations")
    def create_conversation() -> Json:
        with about("items"):
            return door.conversations().create(body())

    @blueprint.get("/conversations/<conversation>")
    def get_conversation(conversation: str) -> Json:
        return door.conversations().get(_read(conversation))

    @blueprint.post("/conversations/<conversation>")
    def update_conversation(conversation: str) -> Json:
        return door.conversations().update(_read(conversation), body())

    @blueprint.delete("/conversations/<conversation>")
    def delete_conversation(conversation: str) -> Json:
        return door.conversations().delete(_read(conversation))

    @blueprint.get("/conversations/<conversation>/items")
    def list_items(conversation: str) -> Json:
        return listed(door.conversations().items(_read(conversation)), "desc")

    @blueprint.post("/conversations/<conversation>/items")
    def add_items(conversation: str) -> Json:
        with about("items"):
            found = door.conversations().add(_read(conversation), body())
        return page(found, None, len(found), "asc")

    @blueprint.get("/conversations/<conversation>/items/<item>")
    def get_item(conversation: str, item: str) -> Json:
        return _find(door, conversation, item)

    @blueprint.delete("/conversations/<conversation>/items/<item>")
    def delete_item(conversation: str, item: str) -> Json:
        _find(door, conversation, item)
        return refuse(
            "A single item cannot be deleted: answers that follow were given to it. Go on behind "
            "an earlier response, by 'previous_response_id', or delete the conversation.",
            "item_id",
            "unsupported",
        )


def _find(door: Doorkeeper, conversation: str, item: str) -> Json:
    for found in door.conversations().items(_read(conversation)):
        if found["id"] == item:
            return found
    raise not_found("Item", item)


def _read(conversation: str) -> str:
    found = session_of(conversation)
    if found is None:
        raise not_found("Conversation", conversation)
    return found
