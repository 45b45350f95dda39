"""The servers of the tests: none outlives the process that started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import environment
from tests.support.waiting import until, wait_for_the_end_of

STARTS_ONE = """
from tests.support.servers import RedisServer

server = RedisServer()
server.start()
{then}
print(server.pid, server.folder, flush=True)
input()
"""


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize("then", ["pass", "server.pause()"])
def test_a_server_whose_starter_is_killed_ends_and_leaves_nothing(then: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE.format(then=then)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        starter.kill()
    wait_for_the_end_of(int(pid))
    until(lambda: not Path(folder).exists())
