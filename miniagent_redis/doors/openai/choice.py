"""The choice of tools, ``tool_choice``: none, as the model likes, some tool, or a certain one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from ...tools import Tool, ToolRegistry
from .checks import Json, list_of, object_of, refuse, text_in
from .items import SERVER

PARAM = "tool_choice"


@frozen
class Choice:
    """What a request says of its tools. ``mode`` is "none", "auto" or "required"."""

    mode: str = "auto"
    name: str = ""
    """Of the one that has to be called, if there is one."""
    is_allowed: Callable[[Tool], bool] | None = None
    """Which tools the model is told of; None for all."""

    @property
    def for_model(self) -> str | Json | None:
        """The choice in the words of chat completions, which models take; None for the usual."""
        if self.name:
            return {"type": "function", "function": {"name": self.name}}
        return "required" if self.mode == "required" else None

    def tools(self, tools: ToolRegistry) -> ToolRegistry:
        """Return those of the tools that the model is told of; refuse a choice of none of them."""
        if self.mode == "none":
            return tools.others([])
        if self.name and self.name not in tools:
            refuse(f"Tool choice '{self.name:.100}' not found in 'tools'.", PARAM, "invalid_value")
        if self.mode == "required" and not self.name and not len(tools):
            refuse("Tool choice 'required' needs tools to choose from.", PARAM, "invalid_value")
        if self.is_allowed is None:
            return tools
        return tools.others([tool for tool in tools if self.is_allowed(tool)])


def choice_of(value: object) -> Choice:
    """Read a choice, in the form of responses or of chat completions; refuse any other one."""
    if value is None or value == {}:
        return Choice()
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            refuse(f"Invalid value: '{value:.60}'.", PARAM, "invalid_value")
        return Choice(value)
    given = object_of(value, PARAM)
    kind = text_in(given, "type", PARAM, required=True)
    if kind == "allowed_tools":
        return _some(object_of(given.get("allowed_tools"), f"{PARAM}.allowed_tools") or given)
    return Choice("required", _name_in(given, PARAM) or refuse_kind(kind))


def _some(given: Json) -> Choice:
    mode = text_in(given, "mode", PARAM) or "auto"
    if mode not in ("auto", "required"):
        refuse(f"Invalid value: '{mode:.60}'.", f"{PARAM}.mode", "invalid_value")
    names = set()
    for place, one in enumerate(list_of(given.get("tools"), f"{PARAM}.tools")):
        param = f"{PARAM}.tools[{place}]"
        names.add(_name_in(object_of(one, param), param))
    return Choice(mode, is_allowed=lambda tool: tool.name in names or _is_ours(tool, names))


def _is_ours(tool: Tool, names: set[str]) -> bool:
    """Whether it is allowed as one of the agent's own: those of its server, without a name."""
    return "" in names and not tool.is_declared


def _name_in(given: Mapping[str, Any], param: str) -> str:
    """Return the tool that is named; empty for all those of the agent, as its server has them."""
    kind = text_in(dict(given), "type", param, required=True)
    if kind == "function":
        function = object_of(given.get("function"), f"{param}.function") or dict(given)
        return text_in(function, "name", param, required=True)
    if kind == "mcp":
        label = text_in(dict(given), "server_label", param)
        if label != SERVER:
            problem = f"Invalid value: '{label:.60}'. The agent's own tools are '{SERVER}'."
            refuse(problem, f"{param}.server_label", "invalid_value")
        return text_in(dict(given), "name", param)
    return refuse_kind(kind)


def refuse_kind(kind: str) -> str:
    """Refuse a kind of choice that is not understood here."""
    return refuse(
        f"Invalid value: '{kind:.60}'. Understood are 'none', 'auto', 'required', 'allowed_tools', "
        "and a function by its name.",
        PARAM,
        "invalid_value",
    )
