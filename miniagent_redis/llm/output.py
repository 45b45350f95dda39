"""Answers that are data: how a model is told their form in words, and which forms vendors take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from .base import ModelRequest, OutputSpec

_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
# What OpenAI's strict mode knows of JSON schema: with it the answer is sure to fit.
_STRICT = frozenset({
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"),
    *("description", "title", "minItems", "maxItems", "minimum", "maximum", "multipleOf"),
    *("exclusiveMinimum", "exclusiveMaximum", "pattern", "format"),
})  # fmt: skip


def in_words(output: OutputSpec) -> str:
    """Return what a model is told that cannot be given a schema in another way."""
    schema = json.dumps(output.schema, ensure_ascii=False)
    return (
        "Your final answer must be one JSON value and nothing else: no text around it and no code "
        f"fence. It must fit this JSON schema:\n{schema}"
    )


def told_in_words(request: ModelRequest) -> ModelRequest:
    """Return the request with the form of the answer, if it asks for one, in its system prompt."""
    if request.output is None:
        return request
    told = filter(None, [request.system, in_words(request.output)])
    return evolve(request, system="\n\n".join(told))


def vendors_name(name: str) -> str:
    """Return a name as vendors take it."""
    return _NO_NAME.sub("_", name).strip("_")[:64] or "answer"


def is_strict(schema: dict[str, Any]) -> bool:
    """Whether a schema can be demanded of OpenAI's models: nothing in it is left open."""
    return all(map(_is_closed, _parts(schema)))


def _is_closed(part: Any) -> bool:
    if not isinstance(part, dict) or not part.keys() <= _STRICT:
        return False
    if part.get("type") == "object":
        names = part.get("properties", {}).keys()
        return part.get("additionalProperties") is False and names == set(part.get("required", ()))
    return "type" in part or "anyOf" in part


def _parts(schema: Any) -> Iterator[Any]:
    """Yield the schema, and all schemas in it."""
    yield schema
    if isinstance(schema, dict):
        inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
        for part in [*inner, *([schema["items"]] if "items" in schema else ())]:
            yield from _parts(part)
