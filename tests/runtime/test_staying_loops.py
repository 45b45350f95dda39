"""The loops in which async functions of the sync API run: when they begin, when they end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from miniagent_redis.runtime.recall import Recall
from miniagent_redis.runtime.staying_loops import NAME, StayingLoops
from tests.support.program import environment
from tests.support.waiting import LIMIT, until


@pytest.fixture
def loops() -> Iterator[StayingLoops]:
    loops = StayingLoops(patience=0.05)
    yield loops
    loops.end()


async def loop_of_mine() -> Any:
    return asyncio.get_running_loop()


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == NAME}


def in_thread(job: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=job)
    thread.start()
    return thread


def test_there_is_no_thread_before_the_first_call_and_one_for_all_of_them(
    loops: StayingLoops,
) -> None:
    before, found = threads(), []
    many = [in_thread(lambda: found.append(loops.run(loop_of_mine()))) for _ in range(20)]
    for thread in many:
        thread.join(LIMIT)
    assert len(found) == 20
    assert len(set(found)) == 1
    (mine,) = threads() - before
    assert mine.daemon
    loops.end()
    until(lambda: threads() == before)
    assert found[0].is_closed()


def test_ended_loops_begin_anew(loops: StayingLoops) -> None:
    first = loops.run(loop_of_mine())
    loops.end()
    assert loops.run(loop_of_mine()) is not first


def test_what_runs_at_the_end_is_cancelled(loops: StayingLoops) -> None:
    began, told = threading.Event(), []

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    def job() -> None:
        try:
            loops.run(wait())
        except CancelledError as exc:
            told.append(exc)

    thread = in_thread(job)
    assert began.wait(LIMIT)
    loops.end()
    thread.join(LIMIT)
    assert len(told) == 1


def test_a_call_that_is_recalled_before_it_waits_does_not_wait(loops: StayingLoops) -> None:
    recall, told = Recall(), []

    def job() -> None:
        recall.hear()
        recall.make()
        try:
            loops.run(asyncio.sleep(LIMIT))
        except CancelledError as exc:
            told.append(exc)

    in_thread(job).join(LIMIT)
    assert len(told) == 1


def test_a_loop_that_is_blocked_by_a_call_given_up_is_replaced_and_ends_when_it_is_free(
    loops: StayingLoops,
) -> None:
    before, recall = threads(), Recall()
    waits, began, free = threading.Event(), threading.Event(), threading.Event()
    healthy: list[str] = []
    slept = asyncio.Event()

    async def block() -> None:
        began.set()
        free.wait(LIMIT)
        slept.set()

    async def wait() -> str:
        waits.set()
        await slept.wait()
        await asyncio.sleep(0.01)
        return "done"

    def job() -> None:
        recall.hear()
        with pytest.raises(CancelledError):
            loops.run(block())

    waiting = in_thread(lambda: healthy.append(loops.run(wait())))
    assert waits.wait(LIMIT)
    blocking = in_thread(job)
    assert began.wait(LIMIT)
    recall.make()
    blocking.join(LIMIT)
    other = loops.run(loop_of_mine())
    assert loops.run(loop_of_mine()) is other
    assert len(threads() - before) == 2
    free.set()
    waiting.join(LIMIT)
    assert healthy == ["done"]  # what waited in the blocked loop was not cancelled
    until(lambda: len(threads() - before) == 1)
    assert loops.run(loop_of_mine()) is other


def test_a_call_given_up_in_a_loop_that_is_free_leaves_it_in_use() -> None:
    loops, recall = StayingLoops(), Recall()
    first, began = loops.run(loop_of_mine()), threading.Event()

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    def job() -> None:
        recall.hear()
        with pytest.raises(CancelledError):
            loops.run(wait())

    thread = in_thread(job)
    assert began.wait(LIMIT)
    recall.make()
    thread.join(LIMIT)
    assert loops.run(loop_of_mine()) is first
    loops.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_a_loop_of_its_own_and_the_parent_keeps_its(
    loops: StayingLoops,
) -> None:
    async def here() -> tuple[int, Any]:
        await asyncio.sleep(0)
        return os.getpid(), asyncio.get_running_loop()

    first = loops.run(here())
    child = os.fork()
    if child == 0:
        try:
            second, third = loops.run(here()), loops.run(here())
            is_right = second == third and second[0] == os.getpid() and second[1] is not first[1]
            os._exit(0 if is_right else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loops.run(here()) == first


PROGRAM = """
import asyncio, os, sys
from miniagent_redis import ToolRegistry
from miniagent_redis.models import ToolCall
from miniagent_redis.tools import call_tool

tools, tasks = ToolRegistry(), []

async def forever():
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up", os.getpid() == parent, flush=True)

@tools.tool
async def start() -> str:
    if "fork" not in sys.argv or os.getpid() != parent:  # the child cannot end a task it inherits
        tasks.append(asyncio.create_task(forever()))
    return await asyncio.to_thread(lambda: "started")

parent = os.getpid()
print(call_tool(tools, ToolCall("1", "start")).content, flush=True)
if "fork" in sys.argv and os.fork() == 0:
    print(call_tool(tools, ToolCall("2", "start")).content, flush=True)
    sys.exit()
if "fork" in sys.argv:
    os.wait()
"""


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("alone", ["started", "cleaned up True"]),
        ("fork", ["started", "started", "cleaned up False"]),
    ],
)
def test_a_program_ends_with_its_background_tasks_cancelled_and_without_a_word(
    argument: str, said: list[str]
) -> None:
    python = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:.*fork:DeprecationWarning"]
    done = subprocess.run(
        [*python, "-c", PROGRAM, argument],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:-1] == said
