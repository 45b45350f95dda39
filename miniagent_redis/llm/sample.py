"""The demo model's answers as data: the simplest value of a JSON schema that has its words."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_FORMATS = {
    "date": "2026-01-31",
    "time": "14:30:00",
    "date-time": "2026-01-31T14:30:00Z",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: dict[str, Any], text: str) -> Any:
    """Return a value that fits the schema, if that is simple.

    Strings are the text, numbers the last one in it; of a choice it is the first.
    """
    if "const" in schema:
        return schema["const"]
    for choice in ("enum", "anyOf", "oneOf"):
        if options := schema.get(choice):
            return options[0] if choice == "enum" else sample(options[0], text)
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            return {name: sample(members.get(name, {}), text) for name in members}
        case "array":
            items = schema.get("prefixItems") or [schema.get("items") or {}]
            return [sample(item, text) for item in items]
        case "integer" | "number" as kind:
            found = _NUMBER.findall(text)
            number = float(found[-1]) if found else 0.0
            return int(number) if kind == "integer" else number
        case "boolean":
            return True
        case "null":
            return None
    return _FORMATS.get(schema.get("format", ""), text)
