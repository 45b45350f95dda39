"""Model functions that want to know for whom they answer: they are given a ToolContext."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..llm import FunctionModel, Model
from ..llm.awaited import AsyncFunctionModel, AwaitedModel
from ..models import ToolContext
from ..tools.schema.signature import context_parameters


def contexts_of(model: Model) -> tuple[str, ...]:
    """Return the names of those parameters of a model function that are annotated ToolContext."""
    asked = model.model if isinstance(model, AwaitedModel) else model
    if not isinstance(asked, (FunctionModel, AsyncFunctionModel)):
        return ()
    try:
        return context_parameters(asked.function)
    except (TypeError, ValueError):
        return ()  # it is written in C


def in_context(model: Model, names: tuple[str, ...], context: Callable[[], ToolContext]) -> Model:
    """Return the model as it is to be asked; ``context`` is called if it has such parameters."""
    if not names:
        return model
    given = dict.fromkeys(names, context())
    if isinstance(model, AwaitedModel) and isinstance(model.model, AsyncFunctionModel):
        return AwaitedModel(AsyncFunctionModel(partial(model.model.function, **given)))
    assert isinstance(model, FunctionModel)
    return FunctionModel(partial(model.function, **given))
