"""What was used: tokens of model calls, and all that turns took.

A new kind of token is one more field of Usage; totals, counts in Redis and files follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import add, attrgetter, sub
from typing import Any, Self

from attrs import fields, frozen

_readers: dict[type[Usage], tuple[tuple[str, ...], attrgetter[tuple[Any, ...]]]] = {}


def _reader(kind: type[Usage]) -> tuple[tuple[str, ...], attrgetter[tuple[Any, ...]]]:
    """Return the names of a class's amounts, and what reads them all: each turn adds some up."""
    if kind not in _readers:
        names = tuple(field.name for field in fields(kind))
        _readers[kind] = names, attrgetter(*names)
    return _readers[kind]


@frozen
class Usage:
    """Tokens of one or several model calls.

    ``cached_tokens``, which the provider had in its cache, and ``cache_write_tokens``, which it
    put there, are part of ``input_tokens``; ``reasoning_tokens`` are part of ``output_tokens``.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(add, self.amounts(), other.amounts()))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*map(sub, self.amounts(), other.amounts()))

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all amounts."""
        return _reader(cls)[0]

    def amounts(self) -> tuple[Any, ...]:
        """Return all amounts, in the order of ``names``."""
        return _reader(type(self))[1](self)

    def to_dict(self) -> dict[str, Any]:
        """Return what is not zero, by name."""
        return {
            name: amount
            for name, amount in zip(self.names(), self.amounts(), strict=True)
            if amount
        }

    @classmethod
    def from_dict(cls, amounts: Mapping[str, Any]) -> Self:
        """Return what ``to_dict`` gave. What another version counts beside it is passed over."""
        return cls(**{name: amounts[name] for name in cls.names() if name in amounts})


@frozen
class UsageTotals(Usage):
    """What some turns took together.

    ``cache_hits`` are steps that our own cache answered, which saved ``saved_tokens`` and
    ``saved_seconds``. ``seconds`` is how long the turns took. ``cost`` is in USD, of the turns
    whose model has a price; ``unpriced_turns`` are those that cost something unknown.
    ``failed_turns`` came to no answer: they are not among ``turns``, but what is known of their
    tokens is counted.
    """

    turns: int = 0
    failed_turns: int = 0
    unpriced_turns: int = 0
    tool_calls: int = 0
    cache_hits: int = 0
    saved_tokens: int = 0
    saved_seconds: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def usage(self) -> Usage:
        """The tokens alone."""
        return Usage(*self.amounts()[: len(Usage.names())])
