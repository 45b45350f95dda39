"""A pool of threads: closed at any line of a call to it, each job is done and each thread ends."""

from __future__ import annotations

import threading

import pytest

from miniagent_redis.runtime.threads import Pool, make_room
from tests.support.every_line import lines_of, run_at
from tests.support.every_step import interrupted_everywhere
from tests.support.waiting import LIMIT, until

NAME = "a pool that is tested"
OTHER = "another pool"


def threads(name: str = NAME) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


@pytest.mark.parametrize("size", [1, 3])
def test_jobs_are_done_by_no_more_threads_than_there_may_be(size: int) -> None:
    pool = Pool(NAME, size)
    go_on, most = threading.Event(), []
    done = threading.Semaphore(0)

    def job() -> None:
        go_on.wait(LIMIT)
        most.append(len(threads()))
        done.release()

    for _ in range(10):
        pool.submit(job)
    go_on.set()
    for _ in range(10):
        assert done.acquire(timeout=LIMIT)
    assert max(most) == size
    pool.close()
    until(lambda: not threads())


def test_a_thread_that_has_done_its_job_does_the_next() -> None:
    pool = Pool(NAME, 10)
    done = threading.Semaphore(0)
    for _ in range(5):
        pool.submit(done.release)
        assert done.acquire(timeout=LIMIT)
        until(lambda: not pool._crew.spare.empty())
    assert len(threads()) == 1
    pool.close()
    until(lambda: not threads())


@pytest.mark.parametrize("has_spare", [False, True])
def test_a_pool_may_be_closed_at_any_line_of_submit(has_spare: bool) -> None:
    pool = Pool(NAME, 2)
    done = threading.Semaphore(0)
    lines = lines_of(lambda: pool.submit(lambda: None))
    pool.close()
    until(lambda: not threads())
    for line in lines:
        if has_spare:
            pool.submit(done.release)
            assert done.acquire(timeout=LIMIT)
            until(lambda: not pool._crew.spare.empty())
        run_at(line, pool.close, lambda: pool.submit(done.release))
        assert done.acquire(timeout=LIMIT), line
        assert not done.acquire(timeout=0), line
        pool.close()
        until(lambda: not threads())


def test_a_pool_that_was_interrupted_at_any_step_still_does_its_jobs() -> None:
    pool = Pool(NAME, 2)
    done = threading.Semaphore(0)

    def use() -> None:
        pool.submit(lambda: None)
        pool.close()

    for _ in interrupted_everywhere(use):
        pool.submit(done.release)
        assert done.acquire(timeout=LIMIT)
    pool.close()


def test_a_job_that_waits_for_others_leaves_its_thread_of_the_pool_to_the_next() -> None:
    pool = Pool(OTHER, 2)
    go_on, done = threading.Event(), threading.Semaphore(0)

    def waits() -> None:
        make_room()
        make_room()  # twice is fine
        go_on.wait(LIMIT)
        done.release()

    for _ in range(10):
        pool.submit(waits)
    until(lambda: len(threads(OTHER)) == 10 + 2)
    short = threading.Semaphore(0)
    for _ in range(5):
        pool.submit(short.release)
        assert short.acquire(timeout=LIMIT)
    go_on.set()
    for _ in range(10):
        assert done.acquire(timeout=LIMIT)
    until(lambda: len(threads(OTHER)) == 2)
    pool.close()
    until(lambda: not threads(OTHER))


def test_making_room_does_nothing_outside_of_pools_and_in_those_without_an_end() -> None:
    make_room()
    pool = Pool(OTHER, float("inf"))
    done = threading.Semaphore(0)

    def job() -> None:
        make_room()
        done.release()

    pool.submit(job)
    assert done.acquire(timeout=LIMIT)
    assert len(threads(OTHER)) == 1
    pool.close()
    until(lambda: not threads(OTHER))
