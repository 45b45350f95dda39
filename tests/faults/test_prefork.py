"""gunicorn --preload: workers forked from a process with an open agent chat like any other."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, SessionAgent, SessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import PROGRAMS, environment
from tests.support.servers import Leash, RedisServer
from tests.support.waiting import LIMIT, until

pytest.importorskip("gunicorn")

WORKERS = 3
LEASE = 0.6
GRACE = 2  # seconds that gunicorn leaves a request which does not end
ENDS_WITHIN = 5.0
LOAD = 5.0  # seconds more, on a machine that has much else to do


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=LIMIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Site:
    """A gunicorn with its workers, and what its visitors were told."""

    def __init__(self, server: RedisServer) -> None:
        self.socket = server.folder / "g"
        self.told: list[tuple[str, str, int]] = []  # session, text, version
        self.workers: set[int] = set()
        self.without_background: set[int] = set()
        # Closed by the system when the last of its processes has ended.
        self.alive, alive = os.pipe()
        options = {
            "workers": WORKERS,
            "graceful-timeout": GRACE,
            "bind": f"unix:{self.socket}",
            "chdir": server.folder,
        }
        # 3.12 warns of each fork with threads; what comes of it is what is tested here.
        python = (sys.executable, "-W", "ignore::DeprecationWarning")
        settings = [f"--{name}={value}" for name, value in options.items()]
        gunicorn = ("-m", "gunicorn", "--preload", "--no-control-socket", *settings)
        self.process = subprocess.Popen(
            [*python, *gunicorn, f"{PROGRAMS}.prefork_app:application"],
            env=environment(REDIS_URL=server.url, LEASE=LEASE),
            pass_fds=[alive],
        )
        os.close(alive)
        self._leash = Leash(self.process.pid)

    def has_ended(self, limit: float) -> bool:
        """Wait for the end of the master and of each worker; return whether they did in time."""
        return bool(select.select([self.alive], [], [], limit)[0])

    def close(self) -> None:
        # Without their master the workers end by themselves.
        self._leash.release()
        self.process.kill()
        self.process.wait()
        ended = self.has_ended(LIMIT)
        os.close(self.alive)
        assert ended

    @contextmanager
    def asking(self, session_id: str, text: str) -> Iterator[tuple[int, Callable[[], str]]]:
        """Send a message; give the worker that got it, and what waits for its answer."""
        connection = UnixConnection(self.socket)
        connection.request("POST", f"/{session_id}/{text}")
        response = connection.getresponse()
        worker = json.loads(response.readline())
        self.workers.add(worker["pid"])
        if not worker["background"]:
            self.without_background.add(worker["pid"])

        def answer() -> str:
            said: dict[str, Any] = json.loads(response.readline())
            self.told.append((session_id, text, said["version"]))
            return str(said["answer"])

        try:
            yield worker["pid"], answer
        finally:
            response.close()
            connection.close()

    def chat(self, session_id: str, text: str) -> int:
        """Have a message answered; return the worker that did."""
        with self.asking(session_id, text) as (pid, answer):
            assert answer() == f"re: {text}"
        return pid

    def chat_through_all(self, pool: ThreadPoolExecutor, name: str) -> set[int]:
        """Chat until each of the workers had a turn that outlasts its lease; return them."""
        seen: set[int] = set()
        deadline = time.monotonic() + LIMIT
        while len(seen) < WORKERS and time.monotonic() < deadline:
            sessions = [f"{name}-{len(self.told)}-{number}" for number in range(WORKERS)]
            seen |= set(pool.map(lambda session_id: self.chat(session_id, "slow"), sessions))
        return seen


@pytest.fixture
def site(redis_server: RedisServer, redis_url: str) -> Iterator[Site]:
    site = Site(redis_server)
    try:
        until(lambda: site.process.poll() is not None or site.socket.exists())
        yield site
    finally:
        site.close()


def test_workers_forked_from_an_open_agent(faults: FaultRun, site: Site, redis_url: str) -> None:
    kills, chats = faults.times(1, 20), faults.times(40, 2000)
    sessions = [f"s{faults.random.randrange(8)}" for _ in range(chats)]
    config = RedisConfig(url=redis_url, lease_ttl=LEASE)
    with SessionAgent(redis_config=config) as agent, ThreadPoolExecutor(WORKERS) as pool:
        manager = SessionManager(agent)
        first = site.chat_through_all(pool, "first")
        list(pool.map(site.chat, sessions, map(str, range(chats))))
        for kill in range(kills):
            kill_a_worker(site, manager, f"killed-{kill}")
        last = site.chat_through_all(pool, "last")
        seconds = end_at_work(site, manager)
        lost = [told for told in site.told if not is_stored(manager, *told)]
        untaken = [kill for kill in range(kills) if texts(manager, f"killed-{kill}") != TAKEN_OVER]
        resumed = manager.resume_turn("unfinished")
    faults.report(
        workers=len(site.workers),
        kills=kills,
        acknowledged=len(site.told),
        lost=len(lost),
        not_taken_over=len(untaken),
        without_background=len(site.without_background),
        ended_within=seconds,
    )
    assert len(first) == len(last) == WORKERS
    assert not lost
    assert not untaken
    assert not site.without_background
    assert site.process.returncode == 0
    assert seconds <= ENDS_WITHIN + LOAD
    assert resumed is not None


TAKEN_OVER = ["slow", "re: slow", "next", "re: next"]


def kill_a_worker(site: Site, manager: SessionManager, session_id: str) -> None:
    """Kill a worker in the middle of a turn, which another one takes over."""
    manager.create_or_resume_session(session_id=session_id)
    with site.asking(session_id, "slow") as (pid, _):
        until(lambda: is_at_work(manager, session_id))
        os.kill(pid, signal.SIGKILL)
    assert site.chat(session_id, "next") != pid


def end_at_work(site: Site, manager: SessionManager) -> float:
    """Tell gunicorn to end while one request takes its time and one hangs; return how long it took.

    The one that does not hang is answered.
    """
    for session_id in ("finished", "unfinished"):
        manager.create_or_resume_session(session_id=session_id)
    with site.asking("unfinished", "endless"):
        with site.asking("finished", "slow") as (_, answer):
            until(lambda: is_at_work(manager, "unfinished") and is_at_work(manager, "finished"))
            began = time.monotonic()
            site.process.terminate()
            assert answer() == "re: slow"
        assert site.has_ended(LIMIT)
    seconds = time.monotonic() - began
    site.process.wait(LIMIT)
    return seconds


def is_at_work(manager: SessionManager, session_id: str) -> bool:
    return manager.store.session_state(session_id).open_turn is not None


def is_stored(manager: SessionManager, session_id: str, text: str, version: int) -> bool:
    """Whether the turn is where its version says: a session begins as 1, each turn is one more."""
    return texts(manager, session_id)[2 * version - 4 : 2 * version - 2] == [text, f"re: {text}"]


def texts(manager: SessionManager, session_id: str) -> list[str]:
    return [message["content"] for message in manager.get_history(session_id)]
