"""From what a configuration calls a model to the model: a name, a Model, or a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Literal, cast

from ..errors import InvalidInput, MiniAgentError, ModelError
from .awaited import AsyncFunctionModel, AsyncModel, AsyncModelFunction, AwaitedModel, is_async
from .base import Model
from .demo import DemoModel
from .function import FunctionModel, ModelFunction

ENTRY_POINTS = "miniagent_redis.models"
"""Other packages offer models here: a function from what follows the name's colon to a Model."""


def _openai(rest: str) -> Model:  # these are imported by who uses them
    from .openai import OpenAIModel

    return OpenAIModel.named(rest)


def _openai_by(api: Api) -> Callable[[str], Model]:
    def make(rest: str) -> Model:
        from .openai import OpenAIModel

        return OpenAIModel.named(rest, api=api)

    return make


def _anthropic(rest: str) -> Model:
    from .anthropic import AnthropicModel

    return AnthropicModel.named(rest)


def _gemini(rest: str) -> Model:
    from .gemini import GeminiModel

    return GeminiModel.named(rest)


_OWN: dict[str, Callable[[str], Model]] = {
    "demo": lambda rest: DemoModel(),
    "openai": _openai,
    "openai-chat": _openai_by("chat"),
    "openai-responses": _openai_by("responses"),
    "anthropic": _anthropic,
    "gemini": _gemini,
}

_BY_START = {
    "gpt-": "openai", "chatgpt-": "openai", "o1": "openai", "o3": "openai", "o4": "openai",
    "claude-": "anthropic", "gemini-": "gemini",
}  # fmt: skip
"""Who offers the models whose names begin so."""


Api = Literal["chat", "responses"]
AnyModel = str | Model | AsyncModel | ModelFunction | AsyncModelFunction


def resolve_model(model: AnyModel) -> Model:
    """Return the model that is meant.

    A name is ``demo``, ``openai:MODEL`` (``openai-chat:`` or ``openai-responses:`` by that API),
    ``anthropic:MODEL`` or ``gemini:MODEL``, each of these with or without ``@BASE_URL``; or that of
    an entry point in the group ``miniagent_redis.models``, alone or followed by a colon and what
    its function is called with (else an empty text). An async model comes back as an AwaitedModel.
    Raises InvalidInput for a name that nobody knows, ModelError if the model cannot be set up.
    """
    if isinstance(model, str):
        return _by_name(model)
    if isinstance(model, type):
        raise InvalidInput(
            f"the model is the class {model.__name__}", hint="give an instance of it"
        )
    if hasattr(model, "stream"):
        return _of_object(model)
    if callable(model):
        if is_async(model):
            return AwaitedModel(AsyncFunctionModel(cast(AsyncModelFunction, model)))
        return FunctionModel(cast(ModelFunction, model))
    raise InvalidInput(
        f"{model!r:.100} is no model",
        hint="give a name, an object with stream(request), or a function from messages to text",
    )


def _of_object(model: object) -> Model:
    stream = cast(Model, model).stream
    if isasyncgenfunction(stream):
        return AwaitedModel(cast(AsyncModel, model))
    if iscoroutinefunction(stream):
        raise InvalidInput(
            f"{type(model).__name__}.stream is an async function without a yield",
            hint="make it an async generator, which yields its events, or a plain one",
        )
    return cast(Model, model)


def _by_name(text: str) -> Model:
    name, _, rest = text.partition(":")
    if name in _OWN:
        return _OWN[name](rest)
    offered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in offered:
        raise InvalidInput(
            f"there is no model {text!r}",
            cause="known here: " + ", ".join(sorted({*_OWN, *offered})),
            hint=_meant(text, {*_OWN, *offered})
            or "a server that speaks like OpenAI is openai:MODEL@URL; for another one install the "
            "package that offers it, or give a Model or a function instead",
        )
    return _set_up(offered[name], rest)


def _meant(text: str, known: Iterable[str]) -> str:
    """Return a hint for a name with a slip, or without that of who offers it; or an empty text."""
    vendor, slash, name = text.partition("/")
    if slash and vendor in _OWN:
        return f"did you mean {vendor}:{name}?"
    vendors = [vendor for start, vendor in _BY_START.items() if text.startswith(start)]
    if vendors:
        return f"did you mean {vendors[0]}:{text}?"
    wrong, colon, rest = text.partition(":")
    close = get_close_matches(wrong.lower(), known, 1)
    return f"did you mean {close[0]}{colon}{rest}?" if close else ""


def _set_up(entry: EntryPoint, rest: str) -> Model:
    try:
        model = entry.load()(rest)
    except MiniAgentError:
        raise
    except Exception as exc:
        raise ModelError(
            f"the model {entry.name!r} cannot be set up",
            cause=f"{entry.value} raised {type(exc).__name__}: {exc}",
        ) from exc
    if not hasattr(model, "stream"):
        raise ModelError(
            f"the model {entry.name!r} cannot be set up",
            cause=f"{entry.value} gave {type(model).__name__}, which has no stream method",
        )
    return _of_object(model)
