"""examples/fastapi_app.py under uvicorn: streams, readers that leave, and others who go on."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, SessionAgent, SessionManager
from tests.support.program import environment
from tests.support.servers import Leash, free_port
from tests.support.sse import Sent, read_events
from tests.support.waiting import LIMIT, until

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "fastapi_app.py"
MODELS = """
import time
from pathlib import Path
from miniagent_redis.llm import Finish, TextDelta

class Slow:
    def stream(self, request):
        while not Path("go-on").exists():
            yield TextDelta("on ")
            time.sleep(0.02)
        yield TextDelta("and over")
        yield Finish()

def slow(rest):
    return Slow()
"""
ENTRY_POINTS = """
[miniagent_redis.models]
slow = slow_models:slow
"""


class Server:
    """The example as a process."""

    def __init__(self, redis_url: str, folder: Path, model: str = "demo") -> None:
        self.port = free_port()
        self.folder = folder
        command = ["-m", "uvicorn", "--port", str(self.port), "--log-level", "warning"]
        surroundings = environment(REDIS_URL=redis_url, MINIAGENT_MODEL=model)
        self.process = subprocess.Popen(
            [sys.executable, *command, "--app-dir", str(EXAMPLE.parent), "fastapi_app:app"],
            env=surroundings | {"PYTHONPATH": f"{folder}:{surroundings['PYTHONPATH']}"},
            cwd=folder,
            start_new_session=True,
        )
        self._leash = Leash(-self.process.pid)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            self.ask("GET", "/docs")
        except OSError:
            return False
        return True

    @contextmanager
    def open(
        self, method: str, path: str, text: str | None = None, **headers: str
    ) -> Iterator[Any]:
        """Give an answer whose body is not read yet; the connection is cut behind the block."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        body = None if text is None else json.dumps(text)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json", **names})
            with closing(connection.getresponse()) as answer:
                yield answer

    def ask(self, *asked: str, **headers: str) -> tuple[int, bytes]:
        with self.open(*asked, **headers) as answer:
            return answer.status, answer.read()

    def close(self) -> None:
        self._leash.release()
        self.process.kill()
        self.process.wait()


def events_of(answer: Any) -> Iterator[Sent]:
    assert answer.status == 200
    return read_events(iter(lambda: answer.read1(1000), b""))


def test_an_answer_is_streamed_and_each_user_has_chats_of_their_own(
    redis_url: str, tmp_path: Path
) -> None:
    with closing(Server(redis_url, tmp_path)) as server:
        with server.open("POST", "/chats/first", "My name is Ada.", X_User="ada") as reply:
            events = list(events_of(reply))
        assert events[-1].text == "Hello, Ada!"
        turn = (events[-1].data or {})["turn"]
        again = server.ask("GET", f"/chats/first/{turn}", X_User="ada")[1]
        assert b"Hello, Ada!" in again
        assert server.ask("POST", "/chats/first", "Hi", X_User="bob")[0] == 404
        assert server.ask("GET", f"/chats/first/{turn}", X_User="bob")[0] == 404
        assert server.ask("GET", "/chats/first/none", X_User="ada")[0] == 404
        assert server.ask("POST", "/chats/first", "Hi")[0] == 422
        assert server.ask("POST", "/chats/first", "", X_User="ada")[0] in (200, 422)


def test_a_reader_that_leaves_stops_nothing_and_may_come_back(
    redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "slow_models.py").write_text(MODELS)
    (tmp_path / "slow_models-1.dist-info").mkdir()
    (tmp_path / "slow_models-1.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    with closing(Server(redis_url, tmp_path, "slow")) as server:
        seen = []
        with server.open("POST", "/chats/first", "Go.", X_User="ada") as reply:
            for event in events_of(reply):
                seen.append(event)
                if event.event == "text_delta":
                    break
        turn = (seen[-1].data or {})["turn"]
        (tmp_path / "go-on").touch()
        with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
            manager = SessionManager(agent)
            until(lambda: len(manager.get_history("first")) == 2)
        last = {"Last_Event_ID": seen[-1].id, "X_User": "ada"}
        with server.open("GET", f"/chats/first/{turn}", **last) as back:
            rest = list(events_of(back))
        assert rest[-1].text.endswith("on and over")
        assert not {event.id for event in rest} & {event.id for event in seen}


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 60
