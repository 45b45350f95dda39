"""How blocking code becomes async, without Redis: threads, context, cancellation, iteration."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from miniagent_redis._mirror import (
    Caller,
    Pool,
    Threads,
    mirrors,
    mirrors_iterator,
    raise_if_cancelled,
    run_coroutine,
)

LIMIT = 20  # seconds: generous, for waits that a right program ends at once
place: ContextVar[str] = ContextVar("place", default="nowhere")


class Blocking:
    """What is mirrored: each method blocks until the test lets it go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()
        self.heard: list[str] = []

    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"Hello {name}{mark}"

    def wait(self) -> str:
        self.began.set()
        assert self.go.wait(LIMIT)
        self.heard.append("went on")
        return "done"

    def wait_politely(self) -> None:
        self.began.set()
        while not self.go.wait(0.01):
            raise_if_cancelled()

    def call(self, function: Callable[[], Any]) -> Any:
        return function()

    def numbers(self, upto: int) -> Iterator[int]:
        try:
            for number in range(upto):
                yield number
                raise_if_cancelled()
        finally:
            self.heard.append("closed")

    def listen(self) -> Iterator[int]:
        try:
            yield 1
            self.began.set()
            while not self.go.wait(0.01):
                raise_if_cancelled()
        finally:
            self.heard.append("closed")


class Facade:
    def __init__(self) -> None:
        self.sync = Blocking()
        self._threads = Threads()

    @mirrors(Blocking.greet)
    def greet(self) -> None: ...
    @mirrors(Blocking.wait, undo=lambda blocking, result: blocking.heard.append(f"undid {result}"))
    def wait(self) -> None: ...
    @mirrors(Blocking.wait, on="turns")
    def turn(self) -> None: ...
    @mirrors(Blocking.wait_politely)
    def wait_politely(self) -> None: ...
    @mirrors(Blocking.call)
    def call(self) -> None: ...
    @mirrors(Blocking.call, on="turns")
    def call_in_turn(self) -> None: ...
    @mirrors_iterator(Blocking.numbers, on="turns")
    def numbers(self) -> None: ...
    @mirrors_iterator(Blocking.listen, on="waits")
    def listen(self) -> None: ...


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, LIMIT)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, LIMIT))


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


def test_stop_iteration_ends_with_an_error_and_not_in_a_hang() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        run(Facade().call(lambda: next(iter(()))))


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


def test_many_calls_share_few_threads() -> None:
    async def main() -> None:
        facade = Facade()
        names = await asyncio.gather(*(facade.call(threading.get_ident) for _ in range(200)))
        assert len(set(names)) <= 16

    run(main())


def test_turns_that_take_long_do_not_hold_up_short_calls() -> None:
    async def main() -> None:
        facade = Facade()
        turns = [asyncio.create_task(facade.turn()) for _ in range(40)]
        await reached(facade.sync.began)
        assert await facade.greet("Ada") == "Hello Ada!"
        assert not any(turn.done() for turn in turns)
        facade.sync.go.set()
        assert await asyncio.gather(*turns) == ["done"] * 40

    run(main())


def test_turns_inside_turns_never_wait_for_a_thread_of_their_own_kind() -> None:
    async def main() -> None:
        facade = Facade()

        async def inner() -> str:
            result: str = await facade.call_in_turn(lambda: "inner")
            return result

        outer = (facade.call_in_turn(lambda: run_coroutine(inner())) for _ in range(40))
        assert await asyncio.gather(*outer) == ["inner"] * 40

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
        def steps(self) -> Iterator[str]:
            token = place.set("in the generator")
            yield place.get()
            yield place.get()
            place.reset(token)  # fails in another context
            yield place.get()

    class Mirror(Facade):
        @mirrors_iterator(Contextual.steps, on="calls")
        def steps(self) -> None: ...

    async def main() -> None:
        seen = [step async for step in Mirror().steps()]
        assert seen == ["in the generator", "in the generator", "nowhere"]

    run(main())


def test_one_facade_serves_several_loops_at_once_and_in_turn() -> None:
    facade = Facade()
    barrier = threading.Barrier(3)

    def use() -> str:
        barrier.wait(LIMIT)
        greeting: str = run(facade.greet("Ada"))
        return greeting

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda _: use(), range(3))) == ["Hello Ada!"] * 3
    assert run(facade.greet("Ada")) == "Hello Ada!"


def test_a_closed_pool_ends_its_threads_and_can_be_used_again() -> None:
    async def main() -> None:
        facade = Facade()
        thread = await facade.call(threading.current_thread)
        facade._threads.close()
        await asyncio.to_thread(thread.join, LIMIT)
        assert not thread.is_alive()
        assert await facade.call(threading.current_thread) is not thread

    run(main())


def test_a_facade_that_is_dropped_ends_its_threads() -> None:
    facade = Facade()
    thread = run(facade.call(threading.current_thread))
    del facade
    gc.collect()
    thread.join(LIMIT)
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own() -> None:
    facade = Facade()
    assert run(facade.greet("Ada")) == "Hello Ada!"
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: sender.send(run(facade.greet("child"))))
    child.start()
    assert receiver.poll(LIMIT)
    assert receiver.recv() == "Hello child!"
    child.join(LIMIT)
    assert child.exitcode == 0
