"""``tool_choice``, in the words of chat completions, as other vendors say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ANTHROPIC = {"auto": "auto", "required": "any", "none": "none"}
_GEMINI = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def anthropic_choice(choice: Any) -> Any:
    """Return the choice as Anthropic has it; what is none of chat completions stays as it is."""
    if isinstance(choice, str) and choice in _ANTHROPIC:
        return {"type": _ANTHROPIC[choice]}
    name = _named(choice)
    return choice if name is None else {"type": "tool", "name": name}


def gemini_choice(choice: Any) -> dict[str, Any] | None:
    """Return the ``tool_config`` of Google for the choice, None if it is none that is known."""
    if isinstance(choice, str) and choice in _GEMINI:
        return {"function_calling_config": {"mode": _GEMINI[choice]}}
    name = _named(choice)
    if name is None:
        return None
    return {"function_calling_config": {"mode": "ANY", "allowed_function_names": [name]}}


def _named(choice: Any) -> str | None:
    """Return the function that has to be called: ``{"type": "function", "function": {"name"}}``."""
    if not isinstance(choice, Mapping) or choice.get("type") != "function":
        return None
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
