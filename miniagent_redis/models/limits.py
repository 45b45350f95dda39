"""What turns may use, and what they cost: RateLimit and Price."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from ..errors import InvalidInput
from ..runtime.durations import FORMS, seconds
from .usage import Usage

Per = Literal["user", "session", "namespace"]
Validator = Callable[[object, Any, object], None]


def one_of(*known: object) -> Validator:
    """Take one of these."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value not in known:
            names = ", ".join(map(repr, known))
            raise InvalidInput(f"{attribute.name} must be one of {names}, not {value!r:.100}")

    return check


def _window(_: object, attribute: Attribute[Any], value: object) -> None:
    if type(value) not in (int, float) or not 0.001 <= value <= 1e9:  # type: ignore[operator]
        raise InvalidInput(
            f"{attribute.name} must be seconds from 0.001 to 1e9, not {value!r:.100}", hint=FORMS
        )


def amount(_: object, attribute: Attribute[Any], value: object) -> None:
    """Take a whole number from 1, or None."""
    if value is not None and (type(value) is not int or not 1 <= value < 2**53):
        raise InvalidInput(
            f"{attribute.name} must be a whole number of at least 1, not {value!r:.100}"
        )


def _dollars(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is None and attribute.default is None:
        return
    if type(value) not in (int, float) or not 0 <= value <= 1e6:  # type: ignore[operator]
        raise InvalidInput(f"{attribute.name} must be USD from 0 to 1e6, not {value!r:.100}")


@frozen(kw_only=True)
class RateLimit:
    """At most so many ``requests``, or ``tokens``, or both, in any ``window``.

    That is in seconds, or given as a ``timedelta``, or as text such as ``"1h"``.

    Counted in Redis and so shared by all instances, ``per`` user, session or namespace. Tokens are
    counted when a turn has ended, so that one turn may overshoot.
    """

    per: Per = field(validator=one_of(*get_args(Per)))
    window: float = field(converter=seconds, validator=_window)
    requests: int | None = field(default=None, validator=amount)
    tokens: int | None = field(default=None, validator=amount)

    def __attrs_post_init__(self) -> None:
        if self.requests is None and self.tokens is None:
            raise InvalidInput("a rate limit needs a number of requests, of tokens, or both")

    def __str__(self) -> str:
        most = {"requests": self.requests, "tokens": self.tokens}
        amounts = " and ".join(f"{n:,} {what}" for what, n in most.items() if n is not None)
        return f"{amounts} per {self.per} in {self.window:g} s"

    @property
    def window_ms(self) -> int:
        return round(self.window * 1000)


@frozen(kw_only=True)
class Price:
    """What a model costs, in USD for a million tokens.

    Of the input tokens, ``cached`` is for those that the provider had cached and ``cache_write``
    for those that it put into its cache; None: the same as ``input``. Of the output tokens,
    ``reasoning`` is for those that the model spent on thinking; None: the same as ``output``.
    """

    input: float = field(validator=_dollars)
    output: float = field(validator=_dollars)
    cached: float | None = field(default=None, validator=_dollars)
    cache_write: float | None = field(default=None, validator=_dollars)
    reasoning: float | None = field(default=None, validator=_dollars)

    def cost(self, usage: Usage) -> float:
        """Return the price of these tokens in USD."""
        dollars = usage.input_tokens * self.input + usage.output_tokens * self.output
        for tokens, price, usual in (
            (usage.cached_tokens, self.cached, self.input),
            (usage.cache_write_tokens, self.cache_write, self.input),
            (usage.reasoning_tokens, self.reasoning, self.output),
        ):
            if price is not None:
                dollars += tokens * (price - usual)
        return dollars / 1e6
