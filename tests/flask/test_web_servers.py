"""The extension under real web servers: cut streams, other workers, servers that end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, SessionAgent, SessionManager
from tests.support.sse import Sent, said
from tests.support.waiting import LIMIT, until
from tests.support.web_servers import WebServer

KINDS = ["flask run --debug", "gthread", "gthread --preload", "gevent", "waitress"]
ALL = "".join(f"w{number} " for number in range(20))


@pytest.fixture
def manager(redis_url: str) -> Iterator[SessionManager]:
    """Yield somebody who looks at what is stored, and has no part in what is done."""
    agent = SessionAgent(redis_config=RedisConfig(url=redis_url))
    agent.background.remove("recover")
    with agent:
        yield SessionManager(agent)


def begun(server: WebServer) -> str:
    return str(server.post("/sessions"))


def text_of(events: list[Sent]) -> str:
    """Return the text that a reader has, who was told the last piece only with the whole."""
    assert events[-1].event == "agent_response"
    assert events[-1].text.startswith(said(events))
    return events[-1].text


def take(events: Iterator[Sent], words: int) -> list[Sent]:
    """Read until so many words were said."""
    taken: list[Sent] = []
    while said(taken).count("w") < words:
        taken.append(next(events))
    return taken


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_turns_survive_what_happens_to_their_readers(
    kind: str, redis_url: str, manager: SessionManager, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        kinds = (kind, "waitress" if kind.startswith("flask") else kind)
        one, other = (stack.enter_context(WebServer(each, redis_url, tmp_path)) for each in kinds)
        for server in (one, other):
            server.wait()
        assert not one.get("/process")["is_open"]

        session_id = begun(one)
        assert one.get("/process")["is_open"]
        assert one.post(f"/sessions/{session_id}/chat", "say 3 0") == "w0 w1 w2 "

        # A reader goes away: the turn goes on, and is stored.
        with one.stream("POST", f"/sessions/{session_id}/stream", "say 20 0.05") as events:
            take(events, 3)
        until(lambda: texts(manager, session_id)[-1] == ALL)

        # One goes away while nothing happens: a ping finds out, and its thread is free again.
        silent = begun(one)
        with one.stream("POST", f"/sessions/{silent}/stream", "say 2 60") as events:
            take(events, 1)
        until(lambda: one.get("/process")["streams"] == 0)
        assert manager.store.session_state(silent).open_turn is not None
        assert manager.cancel(silent)

        # A stream is cut, and gone on with at another worker.
        with one.stream("POST", f"/sessions/{session_id}/stream", "say 20 0.05") as events:
            seen = take(events, 4)
        last = {"Last_Event_ID": seen[-1].id}
        with other.stream("GET", f"/sessions/{session_id}/events", **last) as events:
            seen += list(events)
        assert text_of(seen) == ALL
        assert len({event.id for event in seen}) == len(seen)
        assert [event.event for event in seen].count("turn_started") == 1

        # The server is told to end in the middle of an answer: its turn is stored all the same.
        # Flask's reloader kills its server a quarter of a second after Ctrl-C: the other one
        # finishes that.
        unread = begun(one)
        with one.stream("POST", f"/sessions/{session_id}/stream", "say 20 0.05") as events:
            seen = take(events, 2)
            one.post(f"/sessions/{unread}/turns", "say 20 0.1")
            one.tell_to_end()
            seen += rest_of(events)
        one.process.wait(LIMIT)
        last = {"Last_Event_ID": seen[-1].id}
        if seen[-1].event != "agent_response":  # this server drops its clients
            with other.stream("GET", f"/sessions/{session_id}/events", **last) as events:
                seen += list(events)
        assert text_of(seen) == ALL
        until(lambda: texts(manager, unread) == ["say 20 0.1", ALL])
        assert texts(manager, session_id)[1::2] == ["w0 w1 w2 ", ALL, ALL, ALL]


def rest_of(events: Iterator[Sent]) -> list[Sent]:
    """Read to the end, or until the connection is cut."""
    seen: list[Sent] = []
    with suppress(OSError, HTTPException):
        seen.extend(events)
    return seen


def texts(manager: SessionManager, session_id: str) -> list[Any]:
    return [message["content"] for message in manager.get_history(session_id)]


def test_a_turn_whose_worker_was_killed_is_finished_by_another(
    redis_url: str, manager: SessionManager, tmp_path: Path
) -> None:
    with (
        WebServer("gthread", redis_url, tmp_path, LEASE=1) as one,
        WebServer("gthread", redis_url, tmp_path, LEASE=1) as other,
    ):
        for server in (one, other):
            server.wait()
        session_id = begun(one)
        begun(other)  # who has not been used looks after nobody's turns
        with one.stream("POST", f"/sessions/{session_id}/stream", "say 20 0.05") as events:
            seen = take(events, 4)
            one.kill()
        last = {"Last_Event_ID": seen[-1].id}
        with other.stream("GET", f"/sessions/{session_id}/events", **last) as events:
            seen = list(events)
        assert seen[-1].text == ALL
        assert texts(manager, session_id) == ["say 20 0.05", ALL]


@pytest.mark.parametrize(("kind", "most"), [("gthread", 64), ("gevent", 200)])
def test_many_read_and_others_are_served(
    kind: str, most: int, redis_url: str, manager: SessionManager, tmp_path: Path
) -> None:
    with (
        ExitStack() as stack,
        WebServer(kind, redis_url, tmp_path, MINIAGENT_MAX_STREAMS=most) as server,
    ):
        server.wait()
        session_id = begun(server)
        # As long as a busy machine takes to open them all.
        server.post(f"/sessions/{session_id}/turns", "say 20 1.5")
        url = f"/sessions/{session_id}/events"
        streams = [stack.enter_context(server.stream("GET", url)) for _ in range(most)]
        status, problem = server.ask("GET", url)
        assert (status, problem["code"]) == (503, "too_many_streams")
        assert server.get(f"/sessions/{session_id}") == []
        assert len(connections(manager)) <= 12  # our own too
        ended = [list(events)[-1].text for events in streams]
        assert set(ended) == {ALL}
        until(lambda: server.ask("GET", url)[0] == 204)


def connections(manager: SessionManager) -> list[Any]:
    return list(manager.store.client.client_list())


def test_workers_that_were_forked_from_an_open_agent_serve(
    redis_url: str, manager: SessionManager, tmp_path: Path
) -> None:
    with WebServer("gthread --preload", redis_url, tmp_path, OPEN_AT_ONCE=1) as server:
        server.wait()
        assert server.get("/process")["is_open"]
        session_id = begun(server)
        with server.stream("POST", f"/sessions/{session_id}/stream", "say 20 0") as events:
            assert text_of(list(events)) == ALL


def test_gevent_that_patches_too_late_is_told_at_once(redis_url: str, tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    with WebServer("gevent --preload", redis_url, tmp_path) as server:
        server.wait()
        status, problem = server.ask("POST", "/sessions")
        assert status == 503
        assert "monkey" not in str(problem)
        assert "begin gunicorn.conf.py with `from gevent import monkey" in server.log.read_text()


def test_gevent_that_patches_first_may_preload(redis_url: str, tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    first = "from gevent import monkey\n\nmonkey.patch_all()\n"
    (tmp_path / "gunicorn.conf.py").write_text(first, "utf-8")
    with WebServer("gevent --preload", redis_url, tmp_path) as server:
        server.wait()
        session_id = begun(server)
        with server.stream("POST", f"/sessions/{session_id}/stream", "say 20 0") as events:
            assert text_of(list(events)) == ALL
