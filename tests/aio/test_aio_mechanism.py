"""How blocking code becomes async, without Redis: threads, context, cancellation."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest

from miniagent_redis.runtime.cancellation import Caller, run_coroutine
from miniagent_redis.runtime.threads import Pool
from tests.support.coroutines import LIMIT, reached, run
from tests.support.mirrored import Blocking, Facade, place


def test_a_mirrored_method_takes_and_returns_the_same() -> None:
    assert run(Facade().greet("Ada", mark="?")) == "Hello Ada?"
    with pytest.raises(TypeError):
        run(Facade().greet())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_it_runs_in_another_thread_with_the_context_variables_of_the_task() -> None:
    async def main() -> None:
        place.set("the task's")
        seen = await Facade().call(lambda: (place.get(), threading.current_thread().name))
        assert seen == ("the task's", "miniagent-redis-aio-call")

    run(main())


def test_what_it_sets_in_the_context_stays_there() -> None:
    async def main() -> str:
        await Facade().call(lambda: place.set("the thread's"))
        return place.get()

    assert run(main()) == "nowhere"


def test_an_exception_comes_out_as_it_is() -> None:
    def fail() -> None:
        raise LookupError("what?")

    with pytest.raises(LookupError, match="what") as caught:
        run(Facade().call(fail))
    assert caught.value.__cause__ is None


def test_cancelling_waits_for_the_thread() -> None:
    async def main() -> None:
        facade = Facade()
        task = asyncio.create_task(facade.turn())
        await reached(facade.sync.began)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # impatience does not help
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()
        facade.sync.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert facade.sync.heard == ["went on"]

    run(main())


def test_code_that_asks_hears_of_the_cancellation_and_ends_early() -> None:
    async def main() -> None:
        facade = Facade()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await facade.wait_politely()
        assert not facade.sync.go.is_set()

    run(main())


def test_what_a_cancelled_call_obtained_is_given_back() -> None:
    async def main() -> None:
        facade = Facade()
        task = asyncio.create_task(facade.wait())
        await reached(facade.sync.began)
        task.cancel()
        await asyncio.sleep(0)
        facade.sync.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert facade.sync.heard == ["went on", "undid done"]

    run(main())


def test_a_call_that_failed_while_it_was_cancelled_tells_why() -> None:
    async def main() -> None:
        began, go = threading.Event(), threading.Event()

        def fail() -> None:
            began.set()
            go.wait(LIMIT)
            raise LookupError("what?")

        task = asyncio.create_task(Facade().call(fail))
        await reached(began)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert isinstance(caught.value.__cause__, LookupError)

    run(main())


def test_a_call_that_stands_in_line_is_cancelled_at_once_and_never_run() -> None:
    async def main() -> None:
        pool, blocking = Pool("miniagent-redis-aio-test", 1), Blocking()
        first = asyncio.create_task(Caller().run(pool, blocking.wait))
        await reached(blocking.began)
        second = asyncio.create_task(Caller().run(pool, lambda: blocking.heard.append("second")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        blocking.go.set()
        assert await first == "done"
        assert await Caller().run(pool, lambda: blocking.heard) == ["went on"]

    run(main())


def test_a_coroutine_runs_in_the_loop_and_the_context_of_the_task() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        place.set("the task's")

        async def inner() -> tuple[bool, str]:
            return asyncio.get_running_loop() is loop, place.get()

        assert await Facade().call(lambda: run_coroutine(inner())) == (True, "the task's")

    run(main())


def test_without_a_task_a_coroutine_gets_a_loop_of_its_own() -> None:
    async def inner() -> str:
        return "inner"

    assert run_coroutine(inner()) == "inner"


def test_a_coroutine_is_cancelled_with_the_task() -> None:
    async def main() -> None:
        heard: list[str] = []
        began = asyncio.Event()

        async def inner() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                heard.append("inner ended")

        def outer() -> None:
            try:
                run_coroutine(inner())
            except concurrent.futures.CancelledError:
                heard.append("the thread heard of it")
                raise

        task = asyncio.create_task(Facade().call(outer))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(heard) == ["inner ended", "the thread heard of it"]

    run(main())
