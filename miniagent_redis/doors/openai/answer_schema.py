"""Structured outputs: a JSON schema from the wire as the form of an answer."""

from __future__ import annotations

from typing import Any

from ...agent.answer_form import AnswerForm
from ...llm import OutputSpec
from ...tools.schema.shapes import Mismatch, Shape
from .checks import Json, object_of, refuse, text_in


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
    return _form(text_in(inner, "name", param) or "answer", schema)


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
