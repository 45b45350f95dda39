"""Processes that chat with servers that lose replies; they and the servers are killed.

Leaves out when to kill what (test_once.py, soak.py), how servers are run (battered.py), and what
came of it (history.py).
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import Any

from miniagent_redis import MiniAgentError, RedisConfig, RedisSessionManager
from tests.support.battered import Kind, battered
from tests.support.history import History, Verdict
from tests.support.program import command, environment

CHATTERS = 6
LIMIT = 60.0  # seconds in which the next turns are stored, and in which a chatter ends


class Storm:
    """Servers of a kind, and six chatters. A context manager that ends them all.

    Each chatter has a session of its own, and one that it shares with another.
    """

    def __init__(self, folder: Path, dice: random.Random, kind: Kind = "single") -> None:
        self.server_kills = 0
        self.client_kills = 0
        self._folder = folder
        self._dice = dice
        self._kind: Kind = kind
        self._stack = ExitStack()
        self._chatters: list[subprocess.Popen[bytes]] = []
        self._sessions: list[str] = []
        self._round = self._started = 0
        self._dots, self._dot = os.pipe()

    def __enter__(self) -> Storm:
        self._servers = self._stack.enter_context(battered(self._kind, self._dice))
        return self

    def __exit__(self, *_: object) -> None:
        for chatter in self._chatters:
            _end(chatter)
        self._stack.close()
        os.close(self._dots)
        os.close(self._dot)

    @property
    def replies_lost(self) -> int:
        return self._servers.replies_lost

    def begin(self) -> None:
        """Begin a history: new sessions, and chatters on them."""
        self._round += 1
        self._sessions = sorted({s for place in range(CHATTERS) for s in self._sessions_of(place)})
        with self._store() as store:
            for session in self._sessions:
                store.create_session(session)
        self._chatters = [self._chatter(place) for place in range(CHATTERS)]

    def _sessions_of(self, place: int) -> tuple[str, str]:
        return f"{self._round}-{place}", f"{self._round}-shared-{place // 2}"

    def _store(self) -> RedisSessionManager:
        return RedisSessionManager(RedisConfig(url=self._servers.calm_url))

    def _chatter(self, place: int) -> subprocess.Popen[bytes]:
        self._started += 1
        name = f"c{self._started}"
        sessions = ",".join(self._sessions_of(place))
        arguments = (self._folder / f"{name}.log", name, self._dice.getrandbits(32), sessions)
        return subprocess.Popen(
            command("chatter", self._servers.url, *arguments),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=self._dot,
        )

    def wait(self, turns: float = inf, seconds: float = LIMIT) -> int:
        """Block until so many turns more are stored or the time is over; return how many are.

        Ends too when a chatter has ended by itself: ``settle`` tells.
        """
        heard, deadline = 0, time.monotonic() + seconds
        while heard < turns and (left := deadline - time.monotonic()) > 0:
            if select.select([self._dots], [], [], min(left, 1.0))[0]:
                heard += len(os.read(self._dots, int(min(turns - heard, 4096))))
            elif any(chatter.poll() is not None for chatter in self._chatters):
                break
        return heard

    def kill(self, what: str) -> None:
        """Kill a "server", which comes back after a while, or a "client", which is replaced."""
        if what == "server":
            self.server_kills += 1
            self._servers.strike()
        else:
            self.client_kills += 1
            place = self._dice.randrange(CHATTERS)
            _end(self._chatters[place])
            self._chatters[place] = self._chatter(place)

    def settle(self) -> Verdict:
        """Let the chatters finish, judge the whole history, and forget it."""
        for chatter in self._chatters:
            assert chatter.stdin is not None
            chatter.stdin.close()
        ended = [chatter.wait(LIMIT) for chatter in self._chatters]
        assert not any(ended), f"chatters failed: {ended}"
        history = History(self._records())
        threads: dict[str, list[dict[str, Any]]] = {}
        unlike = []
        with self._store() as store:
            for session in self._sessions:
                key = store.parts.core.keys.of_session(session)[1]
                records: Any = store.client.lrange(key, 0, -1)
                # What is empty is left out of a record.
                threads[session] = [{"content": "", **json.loads(r)} for r in records]
                if not _agrees(store, session, threads[session]):
                    unlike.append(session)
            verdict = history.judge(threads)
            for session in unlike:
                verdict.add("torn", f"{session} is not what the library makes of it")
            if not verdict.findings:
                for session in self._sessions:
                    store.delete_session(session)
                for log in self._folder.glob("*.log"):
                    log.unlink()
        return verdict

    def _records(self) -> Iterator[dict[str, Any]]:
        for log in sorted(self._folder.glob("*.log")):
            for line in log.read_bytes().splitlines():
                yield json.loads(line)


def _agrees(store: RedisSessionManager, session: str, records: list[dict[str, Any]]) -> bool:
    """Whether the library tells the same as what is there, its counters too."""
    try:
        thread = store.load_thread(session)
        state = store.session_state(session)
    except MiniAgentError:
        return False
    told = [[m.id, m.turn_id, m.role, m.content] for m in thread.messages]
    there = [[m["id"], m["turn_id"], m["role"], m["content"]] for m in records]
    turns = len({m["turn_id"] for m in records})
    return told == there and (state.message_count, state.turns) == (len(records), turns)


def _end(chatter: subprocess.Popen[bytes]) -> None:
    chatter.kill()
    chatter.wait()
    assert chatter.stdin is not None
    chatter.stdin.close()
