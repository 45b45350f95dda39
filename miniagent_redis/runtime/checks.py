"""Checks of what callers pass: numbers and texts, each named in the error.

Plain functions return the value as it should be used; ``checked`` makes an attrs validator of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, TypeVar, cast

from attrs import Attribute

from ..errors import InvalidInput

T = TypeVar("T")
LARGEST = 2**53 - 1
"""The largest whole number that every part of the system, Lua too, holds exactly."""


def whole_number(value: object, what: str, least: int = 0, most: int = LARGEST) -> int:
    """Return a whole number from ``least`` to ``most``; raise InvalidInput for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        limits = f"of at least {least}" if most == LARGEST else f"from {least} to {most}"
        raise InvalidInput(f"{what} must be a whole number {limits}, not {value!r:.100}")
    return value


def maybe_number(value: object, what: str) -> int | None:
    """Return a whole number of at least 0, or None; raise InvalidInput for anything else."""
    return None if value is None else whole_number(value, what)


def number(
    value: object,
    what: str,
    least: float = -inf,
    *,
    above: bool = False,
    most: float = inf,
    hint: str = "",
) -> float:
    """Return a finite number of at least ``least``, or ``above`` it, and of at most ``most``.

    Raises InvalidInput for anything else, with the ``hint`` what it may be.
    """
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and -inf < value < inf
    if not fits or not (value > least if above else value >= least):  # type: ignore[operator]
        limit = f" above {least:g}" if above else f" of at least {least:g}" if least > -inf else ""
        raise InvalidInput(f"{what} must be a number{limit}, not {value!r:.100}", hint=hint)
    if value > most:  # type: ignore[operator]
        raise InvalidInput(f"{what} may be {most:g} at the most, not {value!r:.100}")
    return value  # type: ignore[return-value]


def some_text(value: object, what: str) -> str:
    """Return a text that is not empty; raise InvalidInput for anything else."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{what} must be a text that is not empty, not {value!r:.100}")
    return value


def text(value: object, what: str) -> str:
    """Return a text; raise InvalidInput for anything else, which is not shown: it may be secret."""
    if not isinstance(value, str):
        raise InvalidInput(f"{what} must be text, not {article(type(value).__name__)}")
    return value


def yes_or_no(value: object, what: str) -> bool:
    """Return True or False; raise InvalidInput for anything else."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{what} must be True or False, not {value!r:.100}")
    return value


def of_kind(value: object, kind: type[T], what: str, hint: str = "") -> T:
    """Return an object of a class; raise InvalidInput for anything else, which is not shown.

    Its twin of the same name, the blocking one or that for asyncio, is told as that.
    """
    if isinstance(value, kind):
        return value
    if any(base.__name__ == kind.__name__ for base in type(value).__mro__):
        raise InvalidInput(
            f"{what} is the {kind.__name__} of {_home(type(value))}, and that of {_home(kind)} "
            "is wanted",
            cause="one of the two blocks, and the other is to be awaited",
            hint=f"import all of them from {_home(kind)}, or all from {_home(type(value))}",
        )
    found = "a class" if isinstance(value, type) else article(type(value).__name__)
    raise InvalidInput(f"{what} must be {article(kind.__name__)}, not {found}", hint=hint)


def with_methods(value: T, what: str, *names: str) -> T:
    """Return an object that has these methods; raise InvalidInput for anything else."""
    if isinstance(value, type) or not all(callable(getattr(value, name, None)) for name in names):
        wanted = " and ".join(f"{name}()" for name in names)
        found = article(type(value).__name__)
        raise InvalidInput(f"{what} must be an object with {wanted}, not {found}")
    return value


def several(value: object, kind: type[T], what: str) -> list[T]:
    """Return a list of objects of a class; raise InvalidInput for anything else."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        wanted, found = f"a list of {kind.__name__}", article(type(value).__name__)
        hint = f"write [{kind.__name__}(…)]" if isinstance(value, kind) else ""
        raise InvalidInput(f"{what} must be {wanted}, not {found}", hint=hint)
    return [of_kind(each, kind, f"each of {what}") for each in cast(Iterable[object], value)]


def article(noun: str) -> str:
    """Return a noun with "a" or "an" in front, as it sounds."""
    return f"{'an' if noun[:1].lower() in tuple('aeio') else 'a'} {noun}"


def _home(kind: type) -> str:
    parts = kind.__module__.split(".")
    return ".".join(parts[:2] if parts[1:2] == ["aio"] else parts[:1])


def checked(check: Callable[..., object], *args: Any, optional: bool = False, **limits: Any) -> Any:
    """Make an attrs validator of a check and its further arguments; ``optional`` lets None pass."""

    def validate(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None or not optional:
            check(value, attribute.name, *args, **limits)

    return validate
