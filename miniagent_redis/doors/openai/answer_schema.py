"""Structured outputs: a JSON schema from the wire as the form of an answer."""

from __future__ import annotations

import re
from typing import Any

from ...agent.answer_form import AnswerForm
from ...llm import OutputSpec
from ...tools.schema.shapes import Mismatch, Shape
from .checks import Json, object_of, refuse, text_in

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def answer_form(form: Json, inner: Json, param: str) -> AnswerForm | None:
    """Return the form that is asked for; ``inner`` has its name and schema. None for plain text."""
    kind = text_in(form, "type", param) or "text"
    if kind == "text":
        return None
    if kind == "json_object":
        return _form("answer", {"type": "object"})
    if kind != "json_schema":
        refuse(f"Invalid value: '{kind:.60}'.", f"{param}.type", "invalid_value")
    schema = object_of(inner.get("schema"), f"{param}.schema")
    if not schema:
        refuse(f"Missing required parameter: '{param}.schema'.", f"{param}.schema")
    name = text_in(inner, "name", param) or "answer"
    if not _NAME.fullmatch(name):
        refuse("A name is 1 to 64 letters, digits, '_' and '-'.", f"{param}.name", "invalid_value")
    return _form(name, schema)


def _form(name: str, schema: Json) -> AnswerForm:
    def convert(value: Any, path: str) -> Any:
        if schema.get("type") == "object" and not isinstance(value, dict):
            raise Mismatch(f"{path} must be an object")
        if isinstance(value, dict):
            missing = [one for one in schema.get("required", ()) if one not in value]
            if missing:
                raise Mismatch(f"these are missing: {', '.join(map(str, missing))}")
        return value

    return AnswerForm(OutputSpec(name, schema), Shape(schema, name, convert))
