"""How a blocking generator becomes an async one, without Redis: steps, endings, cancellation."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Generator

import pytest

from miniagent_redis.runtime.clock import SystemClock
from miniagent_redis.runtime.mirroring import mirrors_steps
from tests.support.coroutines import reached, run
from tests.support.mirrored import Facade, place


def test_stop_iteration_ends_with_an_error_and_not_in_a_hang() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        run(Facade().call(lambda: next(iter(()))))


def test_an_iterator_gives_each_item_and_ends() -> None:
    async def main() -> None:
        facade = Facade()
        assert [number async for number in facade.numbers(3)] == [0, 1, 2]
        assert facade.sync.heard == ["closed"]

    run(main())


def test_closing_an_iterator_closes_the_generator() -> None:
    async def main() -> None:
        facade = Facade()
        numbers = facade.numbers(3)
        assert await anext(numbers) == 0
        await numbers.aclose()
        assert facade.sync.heard == ["closed"]

    run(main())


def test_an_iterator_that_is_left_early_closes_the_generator() -> None:
    facade = Facade()

    async def main() -> None:
        async for _ in facade.numbers(3):
            break
        gc.collect()

    run(main())
    assert facade.sync.heard == ["closed"]


def test_closing_an_iterator_is_not_stopped_by_a_cancellation() -> None:
    async def main() -> None:
        facade = Facade()
        numbers = facade.numbers(3)
        assert await anext(numbers) == 0
        closing = asyncio.create_task(numbers.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert facade.sync.heard == ["closed"]

    run(main())


def test_cancelling_an_iteration_closes_the_generator() -> None:
    async def main() -> None:
        facade = Facade()

        async def listen() -> None:
            async for _ in facade.listen():
                pass

        task = asyncio.create_task(listen())
        await reached(facade.sync.began)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert facade.sync.heard == ["closed"]

    run(main())


def test_a_generator_keeps_its_context_from_step_to_step() -> None:
    class Contextual:
        def steps(self) -> Generator[str, None, None]:
            token = place.set("in the generator")
            yield place.get()
            yield place.get()
            place.reset(token)  # fails in another context
            yield place.get()

    class Mirror(Facade):
        @mirrors_steps(Contextual.steps, lambda sync: (Contextual().steps(), SystemClock()))
        def steps(self) -> None: ...

    async def main() -> None:
        seen = [step async for step in Mirror().steps()]
        assert seen == ["in the generator", "in the generator", "nowhere"]

    run(main())
