"""What the OpenAI door has beyond OpenAI's: sessions, usage, turns that wait, health. By HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from miniagent_redis import AgentConfig, RedisConfig, ToolCall, ToolRegistry
from miniagent_redis.llm import Finish, ModelRequest, TextDelta, Usage
from tests.support.waiting import LIMIT, until

pytest.importorskip("flask")
from flask import Flask
from werkzeug.serving import make_server

from miniagent_redis.flask import MiniAgent, openai_blueprint

KEYS = {"key-ada": "ada", "key-bob": "bob", "key-eve": "eve"}


class Shop:
    """A model that pays back and asks where somebody is, if it is told to; else it says so."""

    def stream(self, request: ModelRequest) -> Iterator[Any]:
        last = request.messages[-1]
        if last.role == "user" and "money" in last.text:
            yield ToolCall("c1", "refund", {"order": 7})
            yield ToolCall("c2", "locate", {})
            yield Finish("tool_calls")
            return
        results = [one.text for one in request.messages if one.role == "tool"]
        yield TextDelta(f"{request.system} {last.text} {results}")
        yield Usage(10, 5)
        yield Finish()


class Client:
    """Somebody who has a key."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent = Request(f"{self.url}/{path}", data, headers, method=method)
        try:
            with urlopen(sent, timeout=LIMIT) as reply:
                return reply.status, json.load(reply)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def get(self, path: str) -> Any:
        status, found = self.ask("GET", path)
        assert status == 200, found
        return found

    def post(self, path: str, **body: Any) -> Any:
        status, found = self.ask("POST", path, body)
        assert status == 200, found
        return found

    def say(self, text: str, **more: Any) -> Any:
        return self.post("responses", model="shop", input=text, **more)

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str | None]:
        status, found = self.ask(method, path, body)
        assert found["error"]["message"]
        return status, found["error"]["code"]


@pytest.fixture
def paid() -> list[int]:
    return []


@pytest.fixture
def url(redis_url: str, paid: list[int]) -> Iterator[str]:
    """Yield the address of a server with two shops; eve runs it."""
    tools = ToolRegistry()

    @tools.tool(approve=True)
    def refund(order: int) -> str:
        """Pay an order back."""
        paid.append(order)
        return "paid back"

    tools.declare("locate", "Tell where the customer is.", {"type": "object", "properties": {}})
    app = Flask("shop")
    agents = [
        MiniAgent(
            app,
            config=AgentConfig(model=Shop(), name=name),
            tools=tools,
            redis_config=RedisConfig(url=redis_url),
            prefix=prefix,
        )
        for name, prefix in (("shop", ""), ("other", "OTHER_"))
    ]

    def is_eve() -> bool:
        from flask import request

        return request.headers.get("Authorization") == "Bearer key-eve"

    door = openai_blueprint(*agents, keys=KEYS, admin=is_eve)
    app.register_blueprint(door, url_prefix="/v1")
    server: Any = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/v1"
    server.shutdown()
    thread.join(LIMIT)
    server.server_close()
    with app.app_context():
        for each in agents:
            each.close()


@pytest.fixture
def ada(url: str) -> Client:
    return Client(url, "key-ada")


@pytest.fixture
def bob(url: str) -> Client:
    return Client(url, "key-bob")


def test_a_users_sessions_are_listed_page_by_page(ada: Client, bob: Client) -> None:
    for number in range(5):
        ada.say(f"Hello {number}")
    bob.say("Hello")
    seen: list[Any] = []
    page = ada.get("sessions?limit=2")
    while True:
        assert page["object"] == "list"
        seen += page["data"]
        assert page["has_more"] == (page["next_page"] is not None)
        if not page["has_more"]:
            break
        page = ada.get(f"sessions?limit=2&page={page['next_page']}")
    assert len({one["id"] for one in seen}) == 5
    assert [one["turns"] for one in seen] == [1] * 5
    assert {one["object"] for one in seen} == {"session"}
    times = [one["last_activity"] for one in seen]
    assert times == sorted(times, reverse=True)
    assert all(isinstance(one["created_at"], int) for one in seen)
    assert len(bob.get("sessions")["data"]) == 1


def test_a_session_is_also_a_conversation_and_has_a_title_that_can_be_set(
    ada: Client, bob: Client
) -> None:
    ada.say("Hello")
    (listed,) = ada.get("sessions")["data"]
    session_id, conversation = listed["id"], listed["conversation"]["id"]
    assert ada.get(f"sessions/{session_id}") == ada.get(f"sessions/{conversation}")
    assert ada.get(f"sessions/{session_id}").keys() == listed.keys()
    assert len(ada.get(f"conversations/{conversation}/items")["data"]) == 2
    assert ada.post(f"sessions/{session_id}", title="Greetings")["title"] == "Greetings"
    assert ada.get("sessions")["data"][0]["title"] == "Greetings"
    assert ada.post(f"sessions/{session_id}", title=None)["title"] is None

    for method, path, body in (
        ("GET", "", None), ("POST", "", {"title": "x"}), ("DELETE", "", None),
        ("GET", "/usage", None),
    ):  # fmt: skip
        assert bob.refused(method, f"sessions/{session_id}{path}", body) == (404, "not_found")
    assert ada.ask("DELETE", f"sessions/{session_id}") == (
        200,
        {"id": session_id, "object": "session.deleted", "deleted": True},
    )
    assert ada.refused("DELETE", f"sessions/{session_id}") == (404, "not_found")
    assert ada.get("sessions")["data"] == []


def test_what_turns_took_is_told_of_a_session_a_user_and_for_who_runs_it_by_day(
    ada: Client, bob: Client, url: str
) -> None:
    ada.say("Hello")
    ada.say("Hello again")
    bob.say("Hello")
    (newest, _) = ada.get("sessions")["data"]
    one = ada.get(f"sessions/{newest['id']}/usage")
    assert (one["turns"], one["input_tokens"], one["total_tokens"]) == (1, 10, 15)
    assert one["session_id"] == newest["id"]
    until(lambda: ada.get("usage")["total_tokens"] == 30)  # counted behind the answer
    until(lambda: bob.get("usage")["turns"] == 1)
    assert ada.refused("GET", "usage/days") == (403, "not_permitted")
    days = Client(url, "key-eve").get("usage/days?days=3")["data"]
    assert len(days) == 3
    assert [one["day"] for one in days] == sorted(one["day"] for one in days)
    assert sum(one["turns"] for one in days) == 3
    assert Client(url, "key-eve").refused("GET", "usage/days?days=0")[0] == 400


def test_turns_that_wait_are_listed_and_answered_call_by_call(
    ada: Client, bob: Client, paid: list[int]
) -> None:
    asked = ada.say("My money back!", instructions="Be kind.")
    (waiting,) = ada.get("waiting")["data"]
    assert waiting["message"] == "My money back!"
    assert waiting["id"] == asked["id"]
    assert [call["waits_for"] for call in waiting["calls"]] == ["approval", "result"]
    assert bob.get("waiting")["data"] == []
    path = f"waiting/{waiting['id']}"
    assert bob.refused("POST", path, {"answers": {"c2": "Bern"}}) == (404, "not_found")

    half = ada.post(path, answers={"c2": {"output": "Paris"}})
    assert [call["id"] for call in half["calls"]] == ["c1"]
    assert half["response"] is None
    assert [call["id"] for call in ada.get("waiting")["data"][0]["calls"]] == ["c1"]
    assert paid == []
    rest = ada.post(path, answers={"c1": {"approve": True}, "c2": {"output": "Rome"}})
    assert rest["calls"] == []
    made = until_over(ada, rest["response"])
    (said,) = [one for one in made["output"] if one["type"] == "message"]
    text = said["content"][0]["text"]
    assert "Be kind." in text, "it goes on as it was asked for"
    assert "['paid back', 'Paris']" in text, "the first answer counts"
    assert paid == [7]
    assert ada.get("waiting")["data"] == []
    assert ada.refused("POST", path, {"answers": {"c1": {"approve": True}}}) == (
        409,
        "not_waiting",
    )


def until_over(client: Client, response: str) -> Any:
    """Return the response once it is over."""
    found: list[Any] = []

    def is_over() -> bool:
        found.append(client.get(f"responses/{response}"))
        return bool(found[-1]["status"] != "in_progress")

    until(is_over)
    assert found[-1]["status"] == "completed"
    return found[-1]


def test_a_half_that_was_answered_here_may_be_finished_by_an_openai_client(
    ada: Client, paid: list[int]
) -> None:
    asked = ada.say("My money back!")
    ada.post(f"waiting/{asked['id']}", answers={"c1": {"approve": False, "reason": "too late"}})
    output = {"type": "function_call_output", "call_id": "c2", "output": "Paris"}
    made = ada.post("responses", model="shop", input=[output], previous_response_id=asked["id"])
    assert "too late" in made["output"][-1]["content"][0]["text"]
    assert ada.get(f"responses/{made['id']}")["output"] == made["output"]
    assert paid == []


def test_answers_that_cannot_be_used_are_refused(ada: Client, paid: list[int]) -> None:
    asked = ada.say("My money back!")
    path = f"waiting/{asked['id']}"
    for answers in (
        None, {}, [], {"c1": 1}, {"c1": {}}, {"c1": {"approve": "yes"}}, {"c9": {"output": "x"}},
        {"c1": {"approve": True, "output": "x"}}, {"c2": {"approve": True}},
        {"c2": {"output": 3}},
        {"c1": {"output": "paid back"}},  # what the agent's own tool gives is not the client's say
        {"c1": "paid back"},
    ):  # fmt: skip
        assert ada.refused("POST", path, {"answers": answers})[0] == 400, answers
    assert ada.refused("POST", "waiting/resp_x", {"answers": {}}) == (404, "not_found")
    assert len(ada.get("waiting")["data"][0]["calls"]) == 2
    assert paid == []


def test_who_has_no_key_is_told_of_health_and_of_nothing_else(url: str, ada: Client) -> None:
    nobody = Client(url, "wrong")
    for path in ("sessions", "sessions/x", "sessions/x/usage", "usage", "usage/days", "waiting"):
        assert nobody.refused("GET", path) == (401, "invalid_api_key")
    found = nobody.get("health")
    assert found["status"] in ("healthy", "degraded")
    assert "redis" not in json.dumps(found), "it does not say where"
    for path in ("sessions?limit=0", "sessions?limit=x", "sessions?page=x", "waiting?page=x"):
        assert ada.refused("GET", path)[0] == 400
    assert ada.refused("POST", "sessions/none", {"title": "x"}) == (404, "not_found")
    ada.say("Hello")
    session = ada.get("sessions")["data"][0]["id"]
    for body in ({}, {"title": ""}, {"title": 3}, {"title": "x" * 300}):
        assert ada.refused("POST", f"sessions/{session}", body)[0] == 400


def test_health_is_503_while_redis_is_away() -> None:
    app = Flask("shop")
    agents = MiniAgent(app, redis_config=RedisConfig(url="redis://127.0.0.1:1"))
    app.register_blueprint(openai_blueprint(agents, keys=KEYS), url_prefix="/v1")
    reply = app.test_client().get("/v1/health")
    assert (reply.status_code, reply.json) == (503, {"object": "health", "status": "down"})
