"""All streams of an app count together, and read one at a time, whichever door they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from miniagent_redis.flask import MiniAgent, front_ends_blueprint, openai_blueprint
from miniagent_redis.flask.streams import OpenStreams
from tests.support.console_apps import Model, make_agents
from tests.support.waiting import LIMIT, until

AUTH = {"Authorization": "Bearer k"}
TEXT = "slowly"
Open = Callable[[FlaskClient, str], TestResponse]


def post(client: FlaskClient, path: str, **body: Any) -> TestResponse:
    return client.post(path, json=body, headers=AUTH, buffered=False)


def retrieve(client: FlaskClient, number: str) -> TestResponse:
    body = {"model": "helper", "input": TEXT, "background": True}
    begun: Any = client.post("/v1/responses", json=body, headers=AUTH).json
    return client.get(f"/v1/responses/{begun['id']}?stream=true", headers=AUTH, buffered=False)


def message(number: str) -> dict[str, Any]:
    return {"id": f"m{number}", "role": "user", "parts": [{"type": "text", "text": TEXT}]}


KINDS: dict[str, Open] = {
    "sse": lambda client, number: client.post(f"/sse/{number}", data=TEXT, buffered=False),
    "sse of another agent": lambda client, number: client.post(
        f"/other/{number}", data=TEXT, buffered=False
    ),
    "response": lambda client, number: post(
        client, "/v1/responses", model="helper", input=TEXT, stream=True
    ),
    "stored response": retrieve,
    "completion": lambda client, number: post(
        client,
        "/v1/chat/completions",
        model="helper",
        messages=[{"role": "user", "content": TEXT}],
        stream=True,
    ),
    "AI SDK": lambda client, number: post(
        client, "/api/chat", id=f"chat{number}", messages=[message(number)]
    ),
    "AG-UI": lambda client, number: post(
        client,
        "/agui",
        threadId=f"thread{number}",
        runId=f"r{number}",
        messages=[{"id": f"m{number}", "role": "user", "content": TEXT}],
        tools=[],
        context=[],
        state={},
        forwardedProps={},
    ),
    "console": lambda client, number: console(client, number),
}


def console(client: FlaskClient, number: str) -> TestResponse:
    path = f"/sse/{number}/start"
    client.post(path, data=TEXT)
    return client.get(f"/console/events?id={number}", buffered=False)


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.go_on.set()


@pytest.fixture
def client(redis_url: str, model: Model) -> Iterator[FlaskClient]:
    app = Flask("doors")
    app.config.update(TESTING=True, REDIS_URL=redis_url)
    app.config.update(MINIAGENT_MAX_STREAMS=2, OTHER_MINIAGENT_MAX_STREAMS=2)
    agents = make_agents(model)
    other = make_agents(model, name="other", prefix="OTHER_")
    for one in (agents, other):
        one.user_loader(lambda: "ada")
        one.init_app(app)
    app.register_blueprint(openai_blueprint(agents, other, keys={"k": "ada"}), url_prefix="/v1")
    app.register_blueprint(front_ends_blueprint(agents, other, keys={"k": "ada"}))
    app.register_blueprint(agents.console(), url_prefix="/console")

    def begin(one: MiniAgent, session_id: str) -> str:
        return one.manager.create_or_resume_session(session_id=session_id)

    @app.post("/sse/<number>")
    def sse(number: str) -> Any:
        return agents.sse(begin(agents, number), TEXT)

    @app.post("/other/<number>")
    def other_sse(number: str) -> Any:
        return other.sse(begin(other, number), TEXT)

    @app.post("/sse/<number>/start")
    def start(number: str) -> Any:
        agents.manager.start(begin(agents, number), TEXT)
        return ""

    yield app.test_client()
    model.go_on.set()
    with app.app_context():
        for one in (agents, other):
            one.close()


@pytest.mark.parametrize("kind", KINDS)
def test_each_stream_counts_and_is_refused_beyond_the_limit_in_the_form_of_its_door(
    kind: str, client: FlaskClient, model: Model
) -> None:
    opened = [KINDS[kind](client, "first"), KINDS["sse of another agent"](client, "second")]
    assert [one.status_code for one in opened] == [200, 200]
    refused = {name: KINDS[name](client, f"n{n}") for n, name in enumerate(KINDS)}
    for name, answer in refused.items():
        assert answer.status_code == 503, name
        assert int(answer.headers["Retry-After"]) >= 1, name
        told: Any = answer.get_json(silent=True)
        match name:
            case "response" | "stored response" | "completion":
                assert told["error"]["type"] == "server_error"
                assert told["error"]["code"] == "too_many_streams"
            case "console":
                assert "Too many are connected" in answer.text
            case _:
                assert told["code"] == "too_many_streams"
    model.go_on.set()
    for one in opened:
        assert "second half" in one.text
        one.close()
    until(lambda: KINDS["sse"](client, "last").status_code == 200, LIMIT)


@pytest.mark.parametrize("kind", KINDS)
def test_each_stream_reads_behind_the_gate_and_waits_in_front_of_it(
    kind: str, client: FlaskClient, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(OpenStreams, "gate", lambda self: gate)
    stream = KINDS[kind](client, "first")
    pieces = iter(stream.response)
    told = ""
    while "first half" not in told:
        told += _text(next(pieces))
    assert gate.entered > 0
    assert not gate.is_held
    entered = gate.entered
    model.go_on.set()
    assert "second half" in "".join(map(_text, pieces))
    assert gate.entered > entered
    stream.close()


class Gate:
    """Knows who is in it."""

    def __init__(self) -> None:
        self.entered = 0
        self.is_held = False

    def __enter__(self) -> None:
        assert not self.is_held
        self.entered += 1
        self.is_held = True

    def __exit__(self, *exc: object) -> None:
        self.is_held = False


def _text(piece: object) -> str:
    return piece.decode() if isinstance(piece, bytes) else str(piece)
