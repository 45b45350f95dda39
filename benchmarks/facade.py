"""What a call costs more from asyncio than directly: the same objects, with and without await."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from statistics import median

from miniagent_redis import AgentConfig, aio
from miniagent_redis.llm import ScriptedModel

from .bench import ANSWER, QUESTION, Bench, config
from .measure import Run, alternate, difference
from .table import Row, duration

_numbers = itertools.count()


def rows(bench: Bench) -> Iterator[Row]:
    """Measure a short call and a whole turn, in one event loop."""
    model = ScriptedModel([ANSWER] * 10_000)
    agent = aio.SessionAgent(AgentConfig(model=model), redis_config=config(bench.server.url))
    manager = aio.SessionManager(agent)
    with asyncio.Runner() as runner:
        runner.run(agent.initialize())
        try:
            yield _row(
                "get_session", bench, runner, agent.store.get_session, agent.store.sync.get_session
            )
            yield _row(
                "chat",
                bench,
                runner,
                lambda session_id: manager.chat(session_id, QUESTION),
                lambda session_id: manager.sync.chat(session_id, QUESTION),
            )
        finally:
            runner.run(agent.shutdown())


def _row(
    name: str,
    bench: Bench,
    runner: asyncio.Runner,
    call: Callable[[str], Awaitable[object]],
    call_sync: Callable[[str], object],
) -> Row:
    calls = bench.times(50, 5)

    def prepare_async() -> Run:
        session_id = _new_session(bench)

        async def repeat() -> None:
            for _ in range(calls):
                await call(session_id)

        return lambda: runner.run(repeat())

    def prepare_sync() -> Run:
        session_id = _new_session(bench)

        def repeat() -> None:
            for _ in range(calls):
                call_sync(session_id)

        return repeat

    taken = alternate({"async": prepare_async, "sync": prepare_sync}, bench.times(40, 2))
    added = difference(taken["async"], taken["sync"])
    return Row(
        f"{name} from asyncio, on top of the blocking call",
        f"{duration(added / calls)} on {duration(median(taken['sync']) / calls)}",
        target="150 µs",
    )


def _new_session(bench: Bench) -> str:
    session_id = f"facade-{next(_numbers)}"
    bench.create_session(session_id)
    return session_id
