"""Ids of the wire: each says what it is about, and can be read back, so that there is no index.

A response is a turn, or a part of one: a turn that was parked for the client's tools is told as
several responses, which are its legs, counted from 0.
"""

from __future__ import annotations

import base64
import os
from typing import Self

from attrs import evolve, frozen

RESPONSE = "resp_"
CONVERSATION = "conv_"
COMPLETION = "chatcmpl-"
REASONING = "rs_"
_ITEMS = ("msg_", "fc_", "fco_", "mcp_", "mcpr_", "mcpa_")


def new_name() -> str:
    """Return a fresh name for a session or a turn: 24 hexadecimal digits."""
    return os.urandom(12).hex()


@frozen
class ResponseId:
    """Which response it is: a leg of a turn of a session."""

    session_id: str
    turn_id: str
    leg: int = 0

    def __str__(self) -> str:
        return RESPONSE + self.token

    @property
    def token(self) -> str:
        """The id without its prefix."""
        return _packed(f"{self.leg}/{self.turn_id}/{self.session_id}")

    @classmethod
    def read(cls, text: object) -> Self | None:
        """Return what an id stands for; None for what is no such id."""
        leg, turn_id, session_id = _parts(text, RESPONSE)
        if not turn_id or not session_id or not leg.isdecimal():
            return None
        return cls(session_id, turn_id, int(leg))

    def item(self, prefix: str, place: str) -> str:
        """Return the id of an item of the turn; ``place`` says which one."""
        return prefix + _packed(f"{place}/{self.turn_id}/{self.session_id}")

    def at(self, leg: int) -> Self:
        """Return the id of another leg of the turn."""
        return evolve(self, leg=leg)


@frozen
class ItemId:
    """Which item it is: that at a ``place`` of a turn, or a message by its own id."""

    session_id: str
    turn_id: str
    place: str

    @classmethod
    def read(cls, text: object) -> Self | None:
        """Return what an id stands for; None for what is no such id."""
        for prefix in _ITEMS:
            place, turn_id, session_id = _parts(text, prefix)
            if place and turn_id and session_id:
                return cls(session_id, turn_id, place)
        return None


def conversation_id(session_id: str) -> str:
    """Return the id of the conversation that a session is."""
    return CONVERSATION + _packed(session_id)


def session_of(text: object) -> str | None:
    """Return the session that a conversation's id stands for.

    What is no such id may be that of a session which a program of ours has made.
    """
    if not isinstance(text, str) or not text:
        return None
    if not text.startswith(CONVERSATION):
        return text
    return _unpacked(text.removeprefix(CONVERSATION)) or text


def _parts(text: object, prefix: str) -> tuple[str, str, str]:
    if not isinstance(text, str) or not text.startswith(prefix):
        return "", "", ""
    first, _, rest = _unpacked(text.removeprefix(prefix)).partition("/")
    second, _, third = rest.partition("/")
    return first, second, third


def _packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _unpacked(text: str) -> str:
    """Return the text; empty if that is no token of ours, in exactly the form that we write."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        found = raw.decode("utf-8", "surrogatepass")
    except ValueError:
        return ""
    return found if _packed(found) == text else ""
