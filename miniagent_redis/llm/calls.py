"""The arguments of a tool call as models send them: JSON of an object, more or less."""

from __future__ import annotations

import json
from typing import Any

from ..errors import InvalidInput
from ..models import ToolCall
from ..records.json import check_json
from .base import UnreadCall


def read_call(call_id: str, name: str, arguments: object) -> ToolCall | UnreadCall:
    """Return the call; an UnreadCall if its arguments are no object that JSON can hold.

    They are an object already, or its text. Nothing, or null, are no arguments. The text of a text
    is read too, and a line break within a text: small models write both.
    """
    read: Any = arguments
    try:
        for _ in range(2):
            if isinstance(read, str):
                read = json.loads(read, strict=False) if read.strip() else {}
        if read is None:
            read = {}
        if isinstance(read, dict):
            check_json(read, "they")
            return ToolCall(call_id, name, read)
        why = f"they are {type(read).__name__}, not an object"
    except InvalidInput as exc:
        why = str(exc)
    except (ValueError, RecursionError) as exc:
        why = str(exc)
    return UnreadCall(call_id, name, _written(arguments), why)


def _written(arguments: object) -> str:
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps(arguments, ensure_ascii=False, default=str, skipkeys=True)
    except (ValueError, RecursionError):
        return str(arguments)
