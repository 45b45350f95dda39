"""Methods of a face that are those of a part behind it, with their exact types; second names."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N")
S = TypeVar("S")


class AlsoCalled:
    """A second name of an attribute, which a subclass may use for something else."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, face: object, kind: type | None = None) -> Any:
        return self if face is None else getattr(face, self._name)


def delegates(
    method: Callable[Concatenate[N, P], R], part: Callable[[Any], N]
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], R]]:
    """Put in the place of an empty method one that calls ``method`` on ``part(self)``.

    It takes and returns what ``method`` does, and has its docstring.
    """

    def decorate(stub: Callable[[S], object]) -> Any:
        @wraps(method)
        def delegated(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
            return method(part(self), *args, **kwargs)

        delegated.__module__, delegated.__qualname__ = stub.__module__, stub.__qualname__
        return delegated

    return decorate
