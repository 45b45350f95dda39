"""What programs of the tests of faults compare: a reply with what was asked."""

from __future__ import annotations

from typing import Any


class Wrong(BaseException):
    """A call returned what it was not asked for."""


def expect(found: object, *right: object) -> None:
    if found not in right:
        raise Wrong(f"found {found!r:.300}, not {right[0]!r:.300}")


def echo(messages: list[dict[str, Any]]) -> str:
    """Answer as a model that looks at all it is given, which must be of one session.

    Each message begins with the name of its session, and none is there twice.
    """
    texts = [message["content"] for message in messages]
    name = texts[-1].partition(" ")[0]
    for text in texts:
        if text.partition(" ")[0] != name:
            raise Wrong(f"the model of {name} was given {text!r}")
    if len(set(texts)) != len(texts):
        raise Wrong(f"the model of {name} was given a message twice")
    return f"{texts[-1]} yes"
