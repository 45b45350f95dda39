"""A turn as Server-Sent Events: its status first, then events with ids, to go on behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from miniagent_redis import Approve, InvalidInput, ToolCall, ToolRegistry
from miniagent_redis.flask import MiniAgent, current_agents
from miniagent_redis.llm import Finish, ScriptedModel, TextDelta
from tests.flask.conftest import OpenApp
from tests.support.flask_apps import agents
from tests.support.sse import Sent, read_events, said
from tests.support.waiting import LIMIT, until

ADA, BOB = {"X-User": "ada"}, {"X-User": "bob"}


class Slow:
    """A model that says one word, and the second one when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def stream(self, request: Any) -> Iterator[Any]:
        yield TextDelta("one ")
        self.go_on.wait(LIMIT)
        yield TextDelta("two")
        yield Finish()


def a_session(client: FlaskClient) -> str:
    return str(client.post("/sessions", headers=ADA).json)


def events_of(answer: Any) -> list[Sent]:
    return list(read_events(answer.response))


def test_an_answer_is_streamed_with_ids(open_app: OpenApp) -> None:
    client = open_app("Hello dear Ada!").test_client()
    session_id = a_session(client)
    answer = client.post(f"/sessions/{session_id}/stream", headers=ADA, data="Hi")
    assert answer.status_code == 200
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "no-cache" in answer.headers["Cache-Control"]
    events = events_of(answer)
    assert events[0].event == "turn_started"
    assert events[-1].event == "agent_response"
    assert events[-1].text == "Hello dear Ada!"
    assert all(event.id for event in events)
    assert {(event.data or {})["session_id"] for event in events} == {session_id}


def test_its_status_comes_before_the_first_byte(open_app: OpenApp) -> None:
    client = open_app("Hello.").test_client()
    session_id = a_session(client)
    stream = f"/sessions/{session_id}/stream"
    assert client.post(stream, headers=BOB, data="Hi").status_code == 404
    assert client.post(stream, data="Hi").status_code == 401
    assert client.post("/sessions/none/stream", headers=ADA, data="Hi").status_code == 404
    assert client.post(stream, headers=ADA, data="x" * 70_000).status_code == 413
    assert client.post(stream, headers={**ADA, "Idempotency-Key": "%"}, data="").status_code == 422
    events = f"/sessions/{session_id}/events"
    assert client.get(events, headers=BOB).status_code == 404
    assert client.get(f"{events}?turn=none", headers=ADA).status_code == 404
    assert client.get(f"{events}?after=wrong", headers=ADA).status_code == 422
    assert client.get(events, headers=ADA).status_code == 204  # there is nothing to be read


def test_what_fails_is_told_in_words_for_people(open_app: OpenApp) -> None:
    client = open_app(ValueError("no key sk-1234 at http://10.0.0.7")).test_client()
    answer = client.post(f"/sessions/{a_session(client)}/stream", headers=ADA, data="Hi")
    assert answer.status_code == 200  # by then the turn has begun
    last = events_of(answer)[-1]
    assert last.event == "turn_failed"
    assert last.data is not None
    assert last.data["error"] == "model_error"
    assert last.data["message"] == "The model could not answer. Please try again in a moment."
    assert "sk-1234" not in str(last)


def test_a_stream_that_was_cut_goes_on_behind_the_last_event(open_app: OpenApp) -> None:
    model = Slow()
    client = open_app(MINIAGENT_MODEL=model, MINIAGENT_DELTA_INTERVAL=0).test_client()
    session_id = a_session(client)
    answer = client.post(f"/sessions/{session_id}/stream", headers=ADA, data="Hi")
    events = read_events(answer.response)
    first = [next(events), next(events)]
    assert said(first) == "one "
    answer.close()
    model.go_on.set()
    again = client.get(
        f"/sessions/{session_id}/events", headers={**ADA, "Last-Event-ID": first[-1].id}
    )
    rest = events_of(again)
    assert said(first + rest) in ("one two", "one ")  # the last piece comes with the whole
    assert rest[-1].text == "one two"
    assert not {event.id for event in first} & {event.id for event in rest}
    over = {**ADA, "Last-Event-ID": rest[-1].id}
    assert client.get(f"/sessions/{session_id}/events", headers=over).status_code == 204


def test_a_page_that_was_loaded_anew_finds_the_running_turn(open_app: OpenApp) -> None:
    model = Slow()
    client = open_app(MINIAGENT_MODEL=model, MINIAGENT_DELTA_INTERVAL=0).test_client()
    session_id = a_session(client)
    started = client.post(f"/sessions/{session_id}/turns", headers=ADA, data="Hi")
    assert started.status_code == 202
    events = read_events(client.get(f"/sessions/{session_id}/events", headers=ADA).response)
    assert next(events).event == "turn_started"
    model.go_on.set()
    assert [*events][-1].text == "one two"
    turn_id = (started.json or {})["turn_id"]
    later = client.get(f"/sessions/{session_id}/events?turn={turn_id}", headers=ADA)
    assert events_of(later)[-1].text == "one two"


def test_a_request_that_is_repeated_joins_its_turn(open_app: OpenApp) -> None:
    client = open_app("Only once.").test_client()
    session_id = a_session(client)
    headers = {**ADA, "Idempotency-Key": '"8e03978e-40d5"'}
    url = f"/sessions/{session_id}/stream"
    told = [events_of(client.post(url, headers=headers, data="Hi")) for _ in range(2)]
    assert told[0] == told[1]
    first, second = (client.post(url[:-6] + "turns", headers=headers, data="Hi") for _ in "12")
    assert first.json == second.json
    assert (first.json or {})["turn_id"] == "8e03978e-40d5"
    assert len(client.get(f"/sessions/{session_id}", headers=ADA).json or ()) == 2
    assert client.post(url, headers=headers, data="Another").status_code == 422


@pytest.mark.parametrize(("how", "state"), [("", "completed"), ("?cancel", "interrupted")])
def test_a_reader_that_goes_away_stops_the_turn_only_if_that_is_wanted(
    open_app: OpenApp, how: str, state: str
) -> None:
    model = Slow()
    app = open_app(MINIAGENT_MODEL=model, MINIAGENT_DELTA_INTERVAL=0)
    client = app.test_client()
    session_id = a_session(client)
    headers = {**ADA, "Idempotency-Key": "t1"}
    answer = client.post(f"/sessions/{session_id}/stream{how}", headers=headers, data="Hi")
    events = read_events(answer.response)
    assert said([next(events), next(events)]) == "one "
    answer.close()
    model.go_on.set()
    with app.app_context():
        ada = current_agents.for_user("ada")
        until(lambda: ada.turn(session_id, "t1").state == state)
        assert len(agents.opening.streams) == 0


def test_a_silent_stream_is_pinged(open_app: OpenApp) -> None:
    model = Slow()
    client = open_app(MINIAGENT_MODEL=model, MINIAGENT_PING_INTERVAL=0.05).test_client()
    answer = client.post(f"/sessions/{a_session(client)}/stream", headers=ADA, data="Hi")
    events = read_events(answer.response, comments=True)
    assert "ping" in [next(events).comment for _ in range(4)]
    model.go_on.set()
    assert [*events][-1].text == "one two"


def test_no_more_streams_are_open_than_may_be(open_app: OpenApp) -> None:
    model = Slow()
    client = open_app(MINIAGENT_MODEL=model, MINIAGENT_MAX_STREAMS=1).test_client()
    session_id = a_session(client)
    url = f"/sessions/{session_id}/events"
    answer = client.post(f"/sessions/{session_id}/stream", headers=ADA, data="Hi")
    refused = client.get(url, headers=ADA)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "3"
    assert (refused.json or {})["code"] == "too_many_streams"
    model.go_on.set()
    answer.close()
    assert client.get(url, headers=BOB).status_code == 404  # which takes no place
    until(lambda: client.get(url, headers=ADA).status_code == 204)


def test_a_turn_that_waits_ends_the_stream_and_goes_on_in_another() -> None:
    tools = ToolRegistry()

    @tools.tool(approve=True)
    def refund(order: int) -> str:
        """Pay an order back."""
        return "done"

    call = ToolCall("c1", "refund", {"order": 7})
    extension = MiniAgent(model=ScriptedModel([[call], "It is on its way."]), tools=tools)
    extension.user_loader(lambda: "ada")
    app = Flask(__name__)
    app.config["TESTING"] = True
    extension.init_app(app)
    with app.test_request_context(method="POST"):
        ada = extension.manager
        session_id = ada.create_or_resume_session()
        first = list(read_events(extension.sse(session_id, "Pay me back!", "t1").response))
        assert first[-1].event == "turn_waiting"
        assert (first[-1].data or {})["calls"][0]["id"] == "c1"
        follow = extension.sse(session_id, turn_id="t1", after=first[-1].id)
        with pytest.raises(InvalidInput):
            extension.answer(session_id, "t1", {"c2": Approve()})
        started = extension.answer(session_id, "t1", {"c1": Approve()})
        assert started == ("t1", first[-1].id)
        rest = list(read_events(follow.response))
        assert rest[-1].text == "It is on its way."
        assert extension.answer(session_id, "t1", {"c1": Approve()}).turn_id == "t1"  # again
        whole = list(read_events(extension.sse(session_id, turn_id="t1", after="").response))
        assert [one.id for one in whole][-len(rest) :] == [one.id for one in rest]
        extension.close()


def test_each_call_of_the_app_is_closed(open_app: OpenApp) -> None:
    """A HEAD request, and a reader that leaves before the first byte, hold no place."""
    app = open_app("Hello.")
    client = app.test_client()
    session_id = a_session(client)
    client.post(f"/sessions/{session_id}/stream", headers=ADA, data="Hi").close()
    client.head(f"/sessions/{session_id}/events?after=", headers=ADA).close()
    with app.app_context():
        assert len(agents.opening.streams) == 0
