"""Processes that do everything to the same sessions, with lost replies; they and the server die.

Leaves out when to kill what (test_repetition_storm.py) and what came of it (told.py).
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.support.appended import KEPT, changes
from tests.support.lives import Lives
from tests.support.program import command, environment
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.told import Verdict, judge, read

PROCESSES, SESSIONS = 8, "s0,s1,s2"
LOSE, SILENCE = 0.1, 0.4
_LONGEST_DOWN = 1.0  # seconds for which a killed server stays away
_LIMIT = 60.0  # seconds in which something more is done, and in which a process ends


class Restlessness:
    """A server that keeps all that it ever wrote, and eight programs. A context manager."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self._folder = folder
        self._dice = dice
        self._server = RedisServer(*KEPT)
        self._proxy = Proxy(self._server.socket, random.Random(dice.random()))
        self._programs: list[subprocess.Popen[bytes]] = []
        self._started = 0
        self._dots, self._dot = os.pipe()

    def __enter__(self) -> Self:
        self._server.start()
        self._proxy.listen()
        self._proxy.lose, self._proxy.linger = LOSE, SILENCE
        self._programs = [self._program() for _ in range(PROCESSES)]
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._programs:
            _end(program)
        self._proxy.__exit__()
        self._server.close()
        os.close(self._dots)
        os.close(self._dot)

    @property
    def replies_lost(self) -> int:
        return self._proxy.lost

    def _program(self) -> subprocess.Popen[bytes]:
        self._started += 1
        name = f"p{self._started}"
        log, seed = self._folder / f"{name}.log", self._dice.getrandbits(32)
        return subprocess.Popen(
            command("restless", self._proxy.url, log, name, seed, SESSIONS),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=self._dot,
        )

    def wait(self, operations: int) -> None:
        """Block until so many operations more are done, or may be."""
        heard, deadline = 0, time.monotonic() + _LIMIT
        while heard < operations:
            assert time.monotonic() < deadline, "nothing is done any more"
            if select.select([self._dots], [], [], 1.0)[0]:
                heard += len(os.read(self._dots, min(operations - heard, 4096)))
                deadline = time.monotonic() + _LIMIT
            failed = [program.poll() for program in self._programs]
            assert failed == [None] * PROCESSES, f"programs failed: {failed}"

    def kill(self, what: str) -> None:
        """Kill the "server", which comes back after a while, or a "client", which is replaced."""
        if what == "server":
            self._server.kill()
            threading.Event().wait(self._dice.uniform(0, _LONGEST_DOWN))
            self._server.start()
        else:
            place = self._dice.randrange(PROCESSES)
            _end(self._programs[place])
            self._programs[place] = self._program()

    def settle(self) -> Verdict:
        """Let the programs finish, and judge all that was done."""
        for program in self._programs:
            assert program.stdin is not None
            program.stdin.close()
        ended = [program.wait(_LIMIT) for program in self._programs]
        assert not any(ended), f"programs failed: {ended}"
        there = self._threads()
        self._server.stop()
        lives = Lives(changes(self._server.folder))
        assert there == {name: life.thread for name, life in lives.now.items()}
        verdict = judge(read(self._folder.glob("*.log")), lives)
        verdict.figures["sessions"] = sum(map(len, lives.all.values()))
        return verdict

    def _threads(self) -> dict[str, list[str]]:
        """Return what is there by the server's own account."""
        client: Any = self._server.client()
        return {
            name: [json.loads(r)["content"] for r in client.lrange(f"thread:{{{name}}}", 0, -1)]
            for name in SESSIONS.split(",")
            if client.exists(f"session:{{{name}}}")
        }


def _end(program: subprocess.Popen[bytes]) -> None:
    program.kill()
    program.wait()
    assert program.stdin is not None
    with suppress(OSError):
        program.stdin.close()
