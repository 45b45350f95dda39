"""What an instrument is told of: each exchange with Redis, model call, tool run and turn.

Hand one in as ``instrumentation``. It is told names, numbers and ids, never what was said: no
message, argument, result, key, error text or password. Without one, nothing is measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Literal, Protocol, TypeVar

from attrs import define, field

from .errors import InvalidInput
from .models.usage import Usage, UsageTotals

log: logging.Logger = logging.getLogger("miniagent_redis")

End = Callable[[], object]
"""What is called when work has ended."""


@define(eq=False)
class Work:
    """Something that is begun and ends. These are known at its end; more in each kind of work.

    ``seconds`` is how long it took. ``error`` is the name of the class of what was raised, or
    empty: ``GeneratorExit`` if a stream was not read to its end.
    """

    seconds: float = field(default=0.0, init=False)
    error: str = field(default="", init=False)


@define(eq=False)
class Exchange(Work):
    """Commands of this library that went to Redis together, and their replies.

    ``operation`` is the name of a script of ours (``begin_turn``), or the first command (``GET``).
    ``server`` is the address, without secrets. ``tries`` is how often it was sent until it
    succeeded or was given up. Waiting for a connection, making one and the pauses between tries are
    part of the time. The error is ``ReplyLost`` if nobody knows whether it was executed.
    Subscriptions are not told of, nor is what you send by ``client``: redis-py has instruments of
    its own.
    """

    operation: str
    server: str
    commands: int = 1
    tries: int = field(default=0, init=False)


@define(eq=False)
class ModelCall(Work):
    """A model that is asked, once. A reply out of the cache is none.

    ``first_seconds`` is the time until its first event. Neither this nor ``seconds`` counts what
    the readers of the stream did meanwhile. ``finish`` is its reason to end, empty when it came to
    none: by an error, or because the turn was cancelled.
    """

    model: str
    session_id: str
    turn_id: str
    first_seconds: float | None = field(default=None, init=False)
    usage: Usage = field(factory=Usage, init=False)
    finish: str = field(default="", init=False)


@define(eq=False)
class ToolRun(Work):
    """A tool that is run, or whose result is looked up. Begins and ends in the tool's thread.

    One that takes too long ends when it does, though its turn has gone on. ``cached`` is None if
    nobody looked into the cache, else whether the result was there. The error is ``ToolError`` if
    the model was told of one. ``tool`` is empty if there is none of the name that the model said.
    """

    tool: str
    session_id: str
    turn_id: str
    cached: bool | None = field(default=None, init=False)


@define(eq=False)
class TurnRun(Work):
    """Work on an open turn, from where it was opened until it is stored or given up.

    ``outcome`` is ``answered``; ``waiting``, when it is parked; ``interrupted``, which is
    stored as far as it came; or ``failed``.
    ``persisted`` is whether it is in Redis by now: a turn that waits in the spool is not.
    ``spent`` is what it took, as far as that is known.
    """

    session_id: str
    turn_id: str
    user_id: str | None
    resumed: bool
    outcome: Literal["answered", "waiting", "interrupted", "failed"] = field(
        default="failed", init=False
    )
    persisted: bool = field(default=False, init=False)
    spent: UsageTotals = field(factory=UsageTotals, init=False)


W = TypeVar("W", bound=Work)


class Instrumentation(Protocol):
    """What measures. Called by many threads at once, in the midst of what they do: be quick.

    It must not use the store or the agent that it watches. What it raises is logged, the first
    time, and harms nothing.
    """

    def begin(self, work: Work) -> End | None:
        """Take note that the work begins; return what is to be called when it has ended.

        By then the fields of ``work`` are complete. Return None if its end does not matter.
        """
        ...


class Telemetry:
    """The one place that calls an instrument, and keeps its faults from what is measured.

    Raises InvalidInput for what is no instrument.
    """

    def __init__(self, instrumentation: Instrumentation) -> None:
        begin = getattr(instrumentation, "begin", None)
        if isinstance(instrumentation, type) or not callable(begin):
            raise InvalidInput(
                f"instrumentation={instrumentation!r:.100} cannot measure anything",
                cause="it is no object with a method begin(work)",
                hint="see Instrumentation in miniagent_redis.telemetry",
            )
        self._instrumentation = instrumentation
        self._has_failed = False

    @classmethod
    def of(cls, instrumentation: Instrumentation | None) -> Telemetry | None:
        """Return what calls the instrument, if there is one."""
        if instrumentation is None:
            return None
        return cls(instrumentation)

    def begin(self, work: Work) -> End:
        """Tell that the work begins; return what tells its end. Neither raises an Exception."""
        try:
            end = self._instrumentation.begin(work)
        except Exception as exc:
            self._failed(exc)
            end = None

        def ended() -> None:
            if end is not None:
                try:
                    end()
                except Exception as exc:
                    self._failed(exc)

        return ended

    @contextmanager
    def around(self, work: W) -> Iterator[W]:
        """Measure the block: how long it takes, and what it raises."""
        ended = self.begin(work)
        began = perf_counter()
        try:
            yield work
        except BaseException as exc:
            work.error = work.error or type(exc).__name__
            raise
        finally:
            work.seconds = perf_counter() - began
            ended()

    def _failed(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.error("the instrument failed; further faults are not logged", exc_info=error)


__all__ = ["End", "Exchange", "Instrumentation", "ModelCall", "ToolRun", "TurnRun", "Work"]
