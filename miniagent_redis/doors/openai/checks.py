"""What a member of a request has to be; what is not is refused with its ``param``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from ...errors import InvalidInput
from ...session.asked import AnotherMessage
from .faults import RequestRefused

Json = dict[str, Any]


@contextmanager
def about(param: str) -> Iterator[None]:
    """Say of what the library finds wrong that it is with this parameter."""
    try:
        yield
    except AnotherMessage:
        key = "Idempotency-Key"
        refuse(f"This '{key}' was used for another request before.", key, "idempotency_key_reused")
    except InvalidInput as exc:
        if type(exc) is not InvalidInput:
            raise
        refuse(f"Invalid '{param}': {exc.problem}.", param)


def refuse(problem: str, param: str, code: str | None = None) -> NoReturn:
    """Raise the refusal of what stands at ``param``."""
    raise RequestRefused(problem, param=param, code=code)


def object_of(value: object, param: str) -> Json:
    """Return an object; with no value, an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        refuse(f"Invalid type for '{param}': expected an object.", param, "invalid_type")
    return dict(value)


def list_of(value: object, param: str) -> Sequence[Any]:
    """Return an array; with no value, an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        refuse(f"Invalid type for '{param}': expected an array.", param, "invalid_type")
    return value


def text_in(data: Json, name: str, param: str = "", *, required: bool = False) -> str:
    """Return a text; empty if it is not there."""
    where = f"{param}.{name}" if param else name
    value = data.get(name)
    if value is None:
        if required:
            refuse(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        return ""
    if not isinstance(value, str):
        refuse(f"Invalid type for '{where}': expected a string.", where, "invalid_type")
    if required and not value:
        refuse(f"Invalid '{where}': it is empty.", where, "empty_string")
    return value


def flag_in(data: Json, name: str, default: bool) -> bool:
    """Return a boolean."""
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        refuse(f"Invalid type for '{name}': expected a boolean.", name, "invalid_type")
    return value


def number_in(data: Json, name: str, lowest: float, highest: float) -> float | None:
    """Return a number within limits, or None."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        refuse(f"Invalid type for '{name}': expected a number.", name, "invalid_type")
    if not lowest <= value <= highest:
        refuse(f"Invalid '{name}': it must be from {lowest:g} to {highest:g}.", name)
    return value


def metadata_in(data: Json) -> dict[str, str]:
    """Return the metadata: at most 16 texts of 512 characters, by names of 64."""
    found = object_of(data.get("metadata"), "metadata")
    if len(found) > 16:
        refuse("Invalid 'metadata': it has more than 16 members.", "metadata")
    for name, value in found.items():
        if not isinstance(value, str) or len(value) > 512 or not 0 < len(name) <= 64:
            refuse(
                f"Invalid 'metadata.{name[:64]}': names have up to 64 characters, and values are "
                "strings of up to 512.",
                f"metadata.{name[:64]}",
            )
    return found
