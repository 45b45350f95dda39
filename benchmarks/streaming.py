"""A streamed turn through an agent, on top of its two writes: what the pieces of text cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median

from miniagent_redis import AgentConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta

from .bench import ANSWER, QUESTION, Bench, config
from .measure import Run, Trial, alternate, ready
from .table import Row, duration

_PIECES = 200


class _Pieces:
    """Gives the usual answer in many pieces."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        size = -(-len(ANSWER) // _PIECES)
        for number in range(_PIECES):
            yield TextDelta(ANSWER[number * size : (number + 1) * size] or " ")
        yield Finish()


def rows(bench: Bench) -> Iterator[Row]:
    """Measure turns of 200 pieces, told to watchers at the end, at times, and piece by piece."""
    trials: dict[str, Trial] = {"alone": partial(_alone, bench)}
    with ExitStack() as stack:
        for interval in (None, 0.1, 0.0):
            settings = AgentConfig(model=_Pieces(), delta_interval=interval)
            agent = SessionAgent(settings, redis_config=config(bench.server.url))
            manager = SessionManager(stack.enter_context(agent))
            trials[str(interval)] = _streamed(bench, manager, f"stream-{interval}")
        taken = alternate(trials, bench.times(60, 2))
    alone, never, at_times, always = (median(times) for times in taken.values())
    yield Row(
        f"a streamed turn of {_PIECES} pieces; raw: begin + commit alone",
        duration(at_times),
        duration(alone),
        at_times / alone,
    )
    yield Row(
        "one piece of it: handed on, and told to watchers at once",
        f"{duration((never - alone) / _PIECES)}, {duration((always - alone) / _PIECES)}",
    )


def _alone(bench: Bench) -> Run:
    bench.store.delete_session("stream")
    return partial(bench.turn, "stream", bench.create_session("stream"), 0)


def _streamed(bench: Bench, manager: SessionManager, session_id: str) -> Trial:
    bench.create_session(session_id)

    def run() -> None:
        deque(manager.stream(session_id, QUESTION), maxlen=0)

    run()
    return ready(run)
