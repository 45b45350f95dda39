"""Model functions that want to know for whom they answer: they are given a ToolContext."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..llm import FunctionModel, Model
from ..models import ToolContext
from ..tools.schema.signature import context_parameters


def contexts_of(model: Model) -> tuple[str, ...]:
    """Return the names of those parameters of a model function that are annotated ToolContext."""
    if not isinstance(model, FunctionModel):
        return ()
    try:
        return context_parameters(model.function)
    except (TypeError, ValueError):
        return ()  # it is written in C


def in_context(model: Model, names: tuple[str, ...], context: Callable[[], ToolContext]) -> Model:
    """Return the model as it is to be asked; ``context`` is called if it has such parameters."""
    if not names or not isinstance(model, FunctionModel):
        return model
    return FunctionModel(partial(model.function, **dict.fromkeys(names, context())))
