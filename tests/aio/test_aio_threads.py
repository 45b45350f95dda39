"""The threads in which mirrored code runs, without Redis: few, shared, and ended in time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import threading

import pytest

from miniagent_redis.runtime.cancellation import run_coroutine
from tests.support.coroutines import LIMIT, reached, run
from tests.support.mirrored import Facade


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
