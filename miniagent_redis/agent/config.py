"""How an agent behaves: AgentConfig. Where it keeps its sessions is RedisConfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from math import inf
from typing import Any, get_args

from attrs import Attribute, field, frozen

from ..errors import InvalidInput
from ..llm import CountTokens
from ..llm.awaited import is_async
from ..llm.resolve import AnyModel
from ..models import Budget, OnBusy, Price, RateLimit
from ..runtime.checks import several
from ..runtime.durations import FORMS, seconds, seconds_or_none
from .instructions import Instructions, check_instructions


def _number(
    lowest: float,
    *,
    above: bool = False,
    whole: bool = False,
    highest: float = inf,
    hint: str = "",
) -> Any:
    """Validate a number; None is fine where it is the default."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is None and attribute.metadata.get("optional"):
            return
        kinds = int if whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if not fits or not (value > lowest if above else value >= lowest):  # type: ignore[operator]
            noun = "a whole number" if whole else "a number"
            limit = f"above {lowest:g}" if above else f"of at least {lowest:g}"
            problem = f"{attribute.name} must be {noun} {limit}, not {value!r:.100}"
            raise InvalidInput(problem, hint=hint)
        if value > highest:  # type: ignore[operator]
            raise InvalidInput(f"{attribute.name} may be {highest:g} at the most, not {value!r}")

    return check


_time = _number(0, hint=FORMS)
_some_time = _number(0, above=True, hint=FORMS)


def _instructions(_: object, attribute: Attribute[Any], value: object) -> None:
    check_instructions(value, attribute.name)


def _some_text(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{attribute.name} must be text and not empty, not {value!r:.100}")


def _counter(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and (not callable(value) or iscoroutinefunction(value)):
        raise InvalidInput(
            f"{attribute.name} must be a function from text to a number, not {value!r:.100}"
        )


def _on_busy(_: object, attribute: Attribute[Any], value: object) -> None:
    if value not in get_args(OnBusy):
        known = ", ".join(map(repr, get_args(OnBusy)))
        raise InvalidInput(f"on_busy must be one of {known}, not {value!r:.100}")


def _title(_: object, attribute: Attribute[Any], value: object) -> None:
    is_model = (isinstance(value, str) and value) or hasattr(value, "stream") or callable(value)
    if not (isinstance(value, bool) or is_model) or is_async(value):
        raise InvalidInput(
            f"{attribute.name} must be True, False, a model, or a plain function from messages to "
            f"text, not {value!r:.100}"
        )


def _as_limits(values: object) -> tuple[RateLimit, ...]:
    return tuple(several(values, RateLimit, "rate_limits"))


def _as_budgets(values: object) -> tuple[Budget, ...]:
    return tuple(several(values, Budget, "budgets"))


def _prices(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(price, Price) for name, price in value.items()
    ):
        raise InvalidInput(
            f"{attribute.name} must be a dict from model names to Price, not {value!r:.100}"
        )


_OPTIONAL = {"optional": True}


@frozen(kw_only=True)
class AgentConfig:
    """The settings of an agent. Raises InvalidInput for what cannot be.

    Times are in seconds, or given as a ``timedelta``, or as text: ``"90s"``, ``"12h"``, ``"30d"``.
    """

    name: str = field(default="assistant", validator=_some_text)
    """Kept with each session that the agent creates."""
    system_prompt: Instructions = field(default="", validator=_instructions)
    """What the model is told first; or a function that is given a ToolContext when a turn begins,
    and returns that."""
    model: AnyModel = "demo"
    """A name (``"demo"``), a Model, or a function from messages (as dicts) to text; also async.

    A parameter of the function that is annotated ToolContext is filled in.
    """
    temperature: float | None = field(default=None, validator=_number(0), metadata=_OPTIONAL)
    """How freely the model chooses its words; None leaves it to the model."""
    max_tokens: int | None = field(
        default=None, validator=_number(1, whole=True), metadata=_OPTIONAL
    )
    """The most tokens that one reply may have; None leaves it to the model."""
    max_steps: int = field(default=20, validator=_number(1, whole=True))
    """How often the model may be asked in one turn; without an answer by then the turn fails."""
    max_context_tokens: int | None = field(
        default=None, validator=_number(1, whole=True), metadata=_OPTIONAL
    )
    """Of one request: instructions, tools and messages. The oldest messages are left out.

    In blocks, to some seven tenths, or half of a small window: most requests begin as the one
    before did. The model's own window must have room for the answer too.
    """
    max_context_messages: int | None = field(
        default=None, validator=_number(1, whole=True), metadata=_OPTIONAL
    )
    """Of one request, those of the current turn included."""
    count_tokens: CountTokens | None = field(default=None, validator=_counter)
    """Counts the tokens of a text, exactly; None for an estimate that real usage corrects."""
    summary_model: AnyModel | None = None
    """Sums up what the limits leave out, behind the turn, for the requests to come; None: nothing
    does. A name, a Model or a function as in ``model``. Without limits nothing is left out."""
    max_tool_result: int = field(default=100_000, validator=_number(1, whole=True))
    """In characters; what is longer is cut, with a note to the model that it was."""
    delta_interval: float | None = field(
        default=0.1, converter=seconds_or_none, validator=_time, metadata=_OPTIONAL
    )
    """The text of an answer that is being given is sent to watchers every so many seconds; with
    None they get no pieces, only the whole answer at its end."""
    model_cache_ttl: float | None = field(
        default=None,
        converter=seconds_or_none,
        validator=_number(0, above=True, highest=1e9, hint=FORMS),
        metadata=_OPTIONAL,
    )
    """How long a reply of the model is kept, to answer the same request again; None: not at all.

    A kept reply serves all sessions of its user. In a session without a user it serves only that
    session.
    """
    model_timeout: float | None = field(
        default=60.0, converter=seconds_or_none, validator=_some_time, metadata=_OPTIONAL
    )
    """How long the model may keep silent; the model's own client watches over it."""
    first_timeout: float | None = field(
        default=None, converter=seconds_or_none, validator=_some_time, metadata=_OPTIONAL
    )
    """How long it may take to begin, if that is another time: to reason, or to read a long thread.
    None: ``model_timeout``."""
    tool_timeout: float | None = field(
        default=60.0, converter=seconds_or_none, validator=_some_time, metadata=_OPTIONAL
    )
    """For tools that set no ``timeout`` of their own; None waits for ever."""
    reader_timeout: float | None = field(
        default=60.0, converter=seconds_or_none, validator=_some_time, metadata=_OPTIONAL
    )
    """How long the reader of ``stream`` may take before it asks for the next event. Then the lease
    is no longer renewed, and when it has ended others may take the turn over. None: for ever."""
    on_busy: OnBusy = field(default="wait", validator=_on_busy)
    """What a message does that meets a running turn: wait for it, fail, or replace it."""
    busy_timeout: float = field(default=30.0, converter=seconds, validator=_time)
    """How long ``on_busy="wait"`` waits before SessionBusy."""

    max_kept_bytes: int = field(default=64 << 20, validator=_number(0, whole=True))
    """The threads of recent sessions stay in memory, so that a turn loads only what is new of them:
    up to so many bytes in all, by estimate."""

    turn_threads: int = field(default=32, validator=_number(1, whole=True))
    """How many turns of ``submit``, and of asyncio, may work at once; others stand in line.

    In asyncio a turn that waits, for a model, for async tools or a busy session, does not count.
    """

    title: bool | AnyModel = field(default=True, validator=_title)
    """What a session is called that nobody gave a title: with True the user's first words; or what
    a model, or a function from messages (as dicts) to text, makes of the first exchange, in the
    background. With False it has no title."""

    rate_limits: Sequence[RateLimit] = field(default=(), converter=_as_limits)
    """Checked before each turn begins; RateLimited is raised when one is used up."""
    budgets: Sequence[Budget] = field(default=(), converter=_as_budgets)
    """Reserved before each request to a model, and settled with what it took; BudgetExceeded is
    raised when too little is left. Those in USD need ``prices`` of the model."""
    prices: Mapping[str, Price] = field(factory=dict, validator=_prices)
    """By name of the model, as in ``model`` or its attribute ``name``; others cost None."""

    @property
    def params(self) -> dict[str, Any]:
        """The parameters for the model that are set."""
        wanted = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {name: value for name, value in wanted.items() if value is not None}
