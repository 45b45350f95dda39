"""Bodies in which one member is something else: told as a fault of the request, with its place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("flask")
pytest.importorskip("waitress")

from flask import Flask
from flask.testing import FlaskClient

from miniagent_redis import AgentConfig, RedisConfig
from miniagent_redis.flask import MiniAgent, openai_blueprint
from tests.support.served import HEADERS, Filled, app_of, filled_store

WRONG: list[Any] = [
    None, True, -1, 10**30, float("nan"), "", "\x00", "\ud800", [], [None], [[]], {"x": 1},
    {"type": []},
]  # fmt: skip
IMAGE = "data:image/png;base64,iVBORw0KGgo="
FUNCTION: dict[str, Any] = {
    "name": "climate",
    "description": "Tell of it.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
USER = {"type": "message", "role": "user"}
BODIES: dict[str, Any] = {
    "/v1/responses": {
        "model": "helper",
        "input": [
            {
                **USER,
                "content": [
                    {"type": "input_text", "text": "hello"},
                    {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
                ],
            },
            {"type": "function_call", "call_id": "c9", "name": "climate", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c9", "output": "mild"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
            {"role": "user", "content": "x"},
        ],
        "stream": False,
        "background": False,
        "store": True,
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": {"type": "function", "name": "climate"},
        "instructions": "i",
        "metadata": {"a": "b"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
        "temperature": 0.5,
        "max_output_tokens": 100,
        "reasoning": {"effort": "low"},
        "conversation": None,
        "previous_response_id": None,
    },
    "/v1/chat/completions": {
        "model": "helper",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "t"},
                    {"type": "image_url", "image_url": {"url": IMAGE}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "climate", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "mild"},
            {"role": "user", "content": "x"},
        ],
        "stream": False,
        "tools": [{"type": "function", "function": FUNCTION}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": SCHEMA},
        },
        "temperature": 1,
        "max_tokens": 9,
        "stop": ["x"],
    },
    "/v1/conversations": {
        "metadata": {"a": "b"},
        "items": [{**USER, "content": [{"type": "input_text", "text": "x"}]}],
    },
    "/v1/conversations/{conversation}": {"metadata": {"a": "b"}},
    "/v1/sessions/{session}": {"title": "x"},
    "/v1/waiting/{response_id}": {
        "answers": {"n": {"approve": False, "reason": "r"}, "m": {"output": "x"}, "o": "x"}
    },
    "/api/chat": {
        "id": "chat",
        "model": "helper",
        "trigger": "submit-message",
        "messages": [
            {
                "id": "m1",
                "role": "user",
                "parts": [
                    {"type": "text", "text": "hi"},
                    {"type": "file", "mediaType": "image/png", "url": IMAGE},
                ],
            }
        ],
    },
    "/agui": {
        "threadId": "t1",
        "runId": "r1",
        "state": {},
        "messages": [{"id": "1", "role": "user", "content": "hi"}],
        "tools": [{"name": "w", "description": "d", "parameters": {"type": "object"}}],
        "context": [{"description": "d", "value": "v"}],
        "forwardedProps": {},
    },
}


@pytest.fixture
def filled(redis_url: str) -> Iterator[Filled]:
    with filled_store(redis_url) as found:
        yield found


@pytest.fixture
def client(filled: Filled) -> FlaskClient:
    return app_of(filled.agents, read_only=False).test_client()


def places(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(body, (dict, list)):
        for name, inner in body.items() if isinstance(body, dict) else enumerate(body):
            yield from places(inner, (*at, name))


def changed(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    made = whole = copy.deepcopy(body)
    for name in at[:-1]:
        made = made[name]
    made[at[-1]] = value
    return whole


@pytest.mark.parametrize("url", BODIES)
def test_no_member_of_a_wrong_kind_is_500_and_each_is_named(
    url: str, filled: Filled, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    where, refused = url.format(**filled.known), 0
    for at in places(BODIES[url]):
        for wrong in WRONG:
            body = json.dumps(changed(BODIES[url], at, wrong))
            answer = client.post(where, data=body, headers=HEADERS)
            if answer.status_code == 503:  # on a busy machine Redis may take too long
                answer = client.post(where, data=body, headers=HEADERS)
            told: Any = answer.get_json(silent=True)
            assert answer.status_code < 500, ascii((at, wrong, answer.text))
            if answer.status_code == 400 and url.startswith("/v1"):
                assert told["error"]["param"], ascii((at, wrong, told))
            refused += answer.status_code >= 400
    assert refused > 2
    lines = caplog.text.splitlines()
    assert all(line.isprintable() for line in lines), ascii(lines)


@pytest.mark.parametrize("url", ["/v1/responses", "/v1/chat/completions", "/api/chat", "/agui"])
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":NaN}', b"\xff", b'{"a":' + b"9" * 5000])
def test_what_is_no_json_is_400(url: str, body: bytes, client: FlaskClient) -> None:
    assert client.post(url, data=body, headers=HEADERS).status_code == 400


@pytest.mark.parametrize("name", ["a b", "a\nb", "\ud800", "x" * 65])
@pytest.mark.parametrize("url", ["/v1/responses", "/v1/chat/completions"])
def test_the_name_of_a_form_is_one_that_vendors_take(
    url: str, name: str, filled: Filled, client: FlaskClient
) -> None:
    form: dict[str, Any] = {"type": "json_schema", "name": name, "schema": SCHEMA}
    forms = {"text": {"format": form}, "response_format": {**form, "json_schema": form}}
    body = {**BODIES[url], **forms}
    answer = client.post(url, data=json.dumps(body), headers=HEADERS)
    told: Any = answer.json
    assert answer.status_code == 400
    assert told["error"]["param"].endswith(".name")


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/conversations/{conversation}/items?order=x", "order"),
        ("/v1/conversations/{conversation}/items?limit=x", "limit"),
        ("/v1/responses/{response_id}/input_items?order=x", "order"),
        ("/v1/sessions?page=x", "page"),
        ("/v1/waiting?page=x", "page"),
    ],
)
def test_a_wrong_parameter_of_a_query_is_named(
    path: str, param: str, filled: Filled, client: FlaskClient
) -> None:
    answer = client.get(path.format(**filled.known), headers=HEADERS)
    told: Any = answer.json
    assert (answer.status_code, told["error"]["param"]) == (400, param)


METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"}


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/api/chat", {"POST"}),
        ("/agui", {"POST"}),
        ("/agui/helper", {"POST"}),
        ("/api/chat/c", {"GET", "HEAD"}),
        ("/api/chat/c/stream", {"GET", "HEAD", "DELETE"}),
    ],
)
def test_another_method_is_405_in_the_form_of_the_door(
    path: str, known: set[str], client: FlaskClient
) -> None:
    for method in METHODS - known:
        answer = client.open(path, method=method, headers=HEADERS)
        assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
        assert known & set(answer.headers["Allow"].split(", "))
    options = client.open(path, method="OPTIONS", headers=HEADERS)
    assert options.status_code == 200
    assert known <= set(options.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1", set[str]()),
        ("/v1/", set[str]()),
        ("/v1/models", {"GET", "HEAD"}),
        ("/v1/responses", {"POST"}),
        ("/v1/no/such/thing", set[str]()),
    ],
)
def test_what_there_is_not_is_404_in_the_form_of_openai(
    path: str, known: set[str], client: FlaskClient
) -> None:
    for method in METHODS - known - {"HEAD"}:
        answer = client.open(path, method=method, headers=HEADERS)
        told: Any = answer.json
        assert (answer.status_code, told["error"]["code"]) == (404, "unknown_url"), method
    assert [client.open(path, method=one).status_code for one in ("TRACE", "BREW")] == [401, 401]


def test_what_is_beside_the_doors_is_the_apps_own() -> None:
    app = Flask(__name__)
    agents = MiniAgent(
        app, config=AgentConfig(model="demo"), redis_config=RedisConfig(url="memory://")
    )
    app.register_blueprint(openai_blueprint(agents, keys={"k": "ada"}), url_prefix="/v1")
    app.add_url_rule("/", "index", lambda: "mine")
    assert app.test_client().get("/").text == "mine"
    assert app.test_client().get("/other").mimetype == "text/html"
    assert app.test_client().open("/other", method="BREW").mimetype == "text/html"


def test_a_key_that_was_used_for_another_request_says_so(client: FlaskClient) -> None:
    headers = {**HEADERS, "Idempotency-Key": "once"}
    body = {"model": "helper", "input": "Hello"}
    first: Any = client.post("/v1/responses", json=body, headers=headers).json
    again: Any = client.post("/v1/responses", json=body, headers=headers).json
    assert first["id"] == again["id"]
    other: Any = client.post("/v1/responses", json={**body, "input": "Bye"}, headers=headers)
    error = other.json["error"]
    assert (other.status_code, error["param"]) == (400, "Idempotency-Key")
    assert error["code"] == "idempotency_key_reused"
