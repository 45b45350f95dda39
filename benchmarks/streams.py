"""Open streams in one process of gunicorn: memory, connections, and what other requests feel.

Linux only, as it looks into /proc. The turns that are read are done by this process, so that the
server's does nothing but tell of them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from miniagent_redis import AgentConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.servers import RedisServer
from tests.support.web_servers import USER, WebServer

from .bench import config
from .table import Row, duration

_LOADS = (("gevent", 500), ("gthread", 64))
_READ = 10  # sessions; each has its share of the streams
_QUICK = 4  # streams


class _Talking:
    """Says a word every five seconds until it is told to end."""

    def __init__(self) -> None:
        self.is_over = threading.Event()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        while not self.is_over.is_set():
            yield TextDelta("word ")
            self.is_over.wait(5)
        yield Finish()


def table(quick: bool) -> str:
    """Measure, and return the table."""
    if sys.platform != "linux":
        raise SystemExit("scripts/bench --streams looks into /proc, which Linux has.")
    lines = ["| Measured | gevent | gthread |", "|---|--:|--:|"]
    columns = []
    for kind, most in _LOADS:
        print(f"{kind} ...", file=sys.stderr)
        columns.append(_measured(kind, _QUICK if quick else most, quick))
    for rows in zip(*columns, strict=True):
        lines.append(f"| {rows[0].label} | {' | '.join(row.ours for row in rows)} |")
    return "\n".join(lines)


def _measured(kind: str, most: int, quick: bool) -> list[Row]:
    asked = 10 if quick else 30
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tcp=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = _Talking()
        settings = AgentConfig(model=model, turn_threads=_READ)
        agent = stack.enter_context(SessionAgent(settings, redis_config=config(redis.url)))
        stack.callback(model.is_over.set)
        limits = {"MINIAGENT_MAX_STREAMS": most, "PING": 15, "LEASE": 30}
        server = stack.enter_context(WebServer(kind, redis.url, folder, **limits))
        server.wait()
        server.post("/sessions")
        pid = int(server.get("/process")["pid"])

        manager = SessionManager(agent)
        names = [manager.create_or_resume_session("ada") for _ in range(min(_READ, most))]
        for name in names:
            manager.start(name, "Talk!", user_id="ada")
        _latencies(server, names[0], asked)  # so that all is loaded
        stack.enter_context(server.stream("GET", f"/sessions/{names[0]}/events"))
        before, alone = _resident(pid), _latencies(server, names[0], asked)
        for number in range(1, most):
            name = names[number % len(names)]
            stack.enter_context(server.stream("GET", f"/sessions/{name}/events"))
        connections = max(_connections(pid, redis.port) for _ in range(asked))
        beside = _latencies(server, names[0], asked)
        each = (_resident(pid) - before) / max(1, most - 1)
        refused, again = _refused(server, f"/sessions/{names[0]}/events")
        return [
            Row("streams open in one process", f"{most}"),
            Row("the next one", f"{refused}, Retry-After: {again}"),
            Row("memory of a stream", f"{each / 1000:.0f} kB"),
            Row("connections to Redis, at most", f"{connections}"),
            Row(
                "another request, the median: with one stream, with all",
                f"{duration(median(alone))}, {duration(median(beside))}",
            ),
        ]


def _latencies(server: WebServer, session_id: str, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        start = perf_counter()
        server.get(f"/sessions/{session_id}")
        taken.append(perf_counter() - start)
    return taken


def _refused(server: WebServer, path: str) -> tuple[int, Any]:
    connection = server.connect()
    try:
        connection.request("GET", path, headers=USER)
        answer = connection.getresponse()
        return answer.status, answer.headers["Retry-After"]
    finally:
        connection.close()


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process takes up."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _connections(pid: int, port: int) -> int:
    """Return how many connections a process has to a port of this machine."""
    time.sleep(0.01)
    there = f":{port:04X}"
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    found = {words[9] for words in map(str.split, lines) if words[2].endswith(there)}
    held = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(each).removeprefix("socket:[").rstrip("]"))
        except OSError:
            continue  # it was closed just now
    return len(found & held)
