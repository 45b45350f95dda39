"""How an agent behaves: AgentConfig. Where it keeps its sessions is RedisConfig."""

from __future__ import annotations

from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from ..errors import InvalidInput
from ..llm import Model, ModelFunction

OnBusy = Literal["wait", "reject", "interrupt"]


def _number(lowest: float, *, above: bool = False, whole: bool = False) -> Any:
    """Validate a number; None is fine where it is the default."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is None and attribute.metadata.get("optional"):
            return
        kinds = int if whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if not fits or not (value > lowest if above else value >= lowest):  # type: ignore[operator]
            noun = "a whole number" if whole else "a number"
            limit = f"above {lowest:g}" if above else f"of at least {lowest:g}"
            raise InvalidInput(f"{attribute.name} must be {noun} {limit}, not {value!r}")

    return check


def _text(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise InvalidInput(f"{attribute.name} must be text, not {value!r:.100}")


def _some_text(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{attribute.name} must be text and not empty, not {value!r:.100}")


def _on_busy(_: object, attribute: Attribute[Any], value: object) -> None:
    if value not in get_args(OnBusy):
        known = ", ".join(map(repr, get_args(OnBusy)))
        raise InvalidInput(f"on_busy must be one of {known}, not {value!r:.100}")


_OPTIONAL = {"optional": True}


@frozen(kw_only=True)
class AgentConfig:
    """The settings of an agent. Times are in seconds. Raises InvalidInput for what cannot be."""

    name: str = field(default="assistant", validator=_some_text)
    """Kept with each session that the agent creates."""
    system_prompt: str = field(default="", validator=_text)
    model: str | Model | ModelFunction = "demo"
    """A name (``"demo"``), a Model, or a function from messages (as dicts) to text."""
    temperature: float | None = field(default=None, validator=_number(0), metadata=_OPTIONAL)
    max_tokens: int | None = field(
        default=None, validator=_number(1, whole=True), metadata=_OPTIONAL
    )
    """Of one reply; None leaves both to the model."""
    max_steps: int = field(default=20, validator=_number(1, whole=True))
    """How often the model may be asked in one turn; without an answer by then the turn fails."""
    model_timeout: float | None = field(
        default=60.0, validator=_number(0, above=True), metadata=_OPTIONAL
    )
    """How long the model may keep silent; the model's own client watches over it."""
    tool_timeout: float | None = field(
        default=60.0, validator=_number(0, above=True), metadata=_OPTIONAL
    )
    """For tools that set no ``timeout`` of their own; None waits for ever."""
    on_busy: OnBusy = field(default="wait", validator=_on_busy)
    """What a message does that meets a running turn: wait for it, fail, or replace it."""
    busy_timeout: float = field(default=30.0, validator=_number(0))
    """How long ``on_busy="wait"`` waits before SessionBusy."""

    @property
    def params(self) -> dict[str, Any]:
        """The parameters for the model that are set."""
        wanted = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {name: value for name, value in wanted.items() if value is not None}
