"""Settings as they come from outside: texts of an environment, values of a Flask configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Attribute

from ..errors import InvalidInput
from ..runtime.durations import duration_from_outside

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}
_MAY_BE_EMPTY = {"password", "namespace"}


def from_mapping(settings: Iterable[Attribute[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the settings that are there, by name.

    None, and an empty text where it says nothing, are as good as absent. Raises InvalidInput for
    what does not fit, with the variable's name.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        env = setting.metadata["env"]
        value = given.get(env)
        if value is None or (value == "" and setting.name not in _MAY_BE_EMPTY):
            continue
        values[setting.name] = converted(setting, value, env)
    return values


def converted(setting: Attribute[Any], value: Any, env: str) -> Any:
    """Return what ``env`` says of a setting, in the setting's own type. Raises InvalidInput."""
    kind = str(setting.type)
    try:
        if "bool" in kind:
            return _yes_or_no(value)
        if isinstance(value, bool):
            raise ValueError("it is not a yes or no")
        if "int" in kind:
            return _whole(_number_of(value)) if isinstance(value, str) else value
        if "float" in kind:  # all of these are lengths of time
            found = duration_from_outside(value) if isinstance(value, str) else value
            return float(found) if isinstance(found, int) else found
        if not isinstance(value, (str, int)):
            raise ValueError(f"it must be text, not {type(value).__name__}")
    except ValueError as exc:
        shown = f"{env}={value!r:.100}" if setting.repr else env
        raise InvalidInput(f"{shown} is not usable: {exc}") from exc
    return str(value)


def is_of_kubernetes(value: object) -> bool:
    """Whether Kubernetes set it: beside a service named redis, REDIS_PORT is tcp://10.0.0.1:6379."""
    return isinstance(value, str) and value.startswith("tcp://")


def _number_of(text: str) -> str:
    return text.rpartition(":")[2] if is_of_kubernetes(text) else text


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it is not a whole number") from None


def _yes_or_no(value: object) -> bool:
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise ValueError("it is not a yes or no; write true or false")
    return text in _TRUE
