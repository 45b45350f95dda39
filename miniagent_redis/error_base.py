"""What all errors of this package have; the tree of them is in errors.py."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What breaks a line, what a terminal obeys, and halves of characters, which no file takes.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class MiniAgentError(Exception):
    """Base of all errors raised by this package.

    ``problem``, ``cause`` and ``hint`` are the three sentences of the message; ``cause`` and
    ``hint`` may be empty. The message is one line, fit for a log: what vendors, models and clients
    wrote into it is escaped as in Python. An error that ends a turn has what was done in it: the
    messages behind the user's as ``steps``, and the model's last words as ``text``.
    """

    text: str = ""
    steps: Sequence[object] = ()

    def __init__(self, problem: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(problem, cause, hint)
        self.problem = problem
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        return escaped(as_written(self))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, whatever arguments the subclass takes: process pools need it."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    kind: type[MiniAgentError], args: tuple[object, ...], state: dict[str, object]
) -> MiniAgentError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def as_written(error: MiniAgentError) -> str:
    """Return the three sentences in the lines in which they were written, as a model reads them."""
    parts = (error.problem, error.cause, error.hint)
    return " ".join(_sentence(part) for part in parts if part)


def escaped(text: str) -> str:
    """Return text that somebody wrote as one line for a log, with what is unprintable escaped."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
