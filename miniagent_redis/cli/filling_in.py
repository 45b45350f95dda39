"""Asks a person what a tool wants to know: one line for each field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ToolError
from ..models import Approve, Deny, Question
from ..store.parking import Answer
from ..tools.schema.filled import filled
from .line_input import Reader
from .terminal import Terminal

_DECLINE = "-"
_REFUSED = Deny("the user did not want to say")


def fill_in(terminal: Terminal, reader: Reader, name: str, question: Question) -> Answer | None:
    """Return the answer; None when the lines end before that. Asks again for what does not fit."""
    terminal.plain(f"{name} asks: {question.message}")
    if question.url:
        terminal.plain(f"Go to {question.url} for that. Is it done? [y/N]")
        line = reader.read()
        if line is None:
            return None
        return Approve() if line.strip().lower() in ("y", "yes") else _REFUSED
    fields: Mapping[str, Any] = question.schema.get("properties", {})
    terminal.plain(f"An empty line leaves a field out, {_DECLINE!r} declines.")
    while True:
        given: dict[str, Any] = {}
        for field, schema in fields.items():
            terminal.plain(_asked(field, schema))
            if (line := reader.read()) is None:
                return None
            if line.strip() == _DECLINE:
                return _REFUSED
            if line.strip():
                is_list = schema.get("type") == "array"
                given[field] = [one.strip() for one in line.split(",")] if is_list else line
        try:
            return filled(question.schema, given)
        except ToolError as exc:
            terminal.plain(f"That does not fit: {exc}")


def _asked(field: str, schema: Mapping[str, Any]) -> str:
    items = schema.get("items")
    form: Mapping[str, Any] = items if isinstance(items, Mapping) else schema
    listed = form.get("enum") or [
        one.get("const") for one in form.get("oneOf") or form.get("anyOf") or ()
    ]
    about = [str(schema.get("description") or schema.get("title") or "")]
    about += [" or ".join(map(str, listed))] if listed else []
    about += [f"usually {schema['default']}"] if schema.get("default") is not None else []
    told = ", ".join(filter(None, about))
    return f"{field} ({told})?" if told else f"{field}?"
