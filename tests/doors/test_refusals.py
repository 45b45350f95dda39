"""What goes wrong behind the OpenAI door, as its clients are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis import AgentConfig, Budget, ModelError, RateLimit, RedisConfig
from miniagent_redis.llm import ScriptedModel
from tests.support.waiting import LIMIT, until

pytest.importorskip("flask")
from flask import Flask

from miniagent_redis.flask import MiniAgent, openai_blueprint


class Door:
    """An app with some agents, and ada who talks to it."""

    def __init__(self, url: str, **config: Any) -> None:
        self.may_answer = threading.Event()
        redis_config = RedisConfig(url=url, max_session_size=4000)
        self.app = Flask("door")
        self.app.config.update(config)
        models: dict[str, Any] = {
            "busy": {"model": self._answer, "on_busy": "reject"},
            "limited": {"rate_limits": [RateLimit(per="user", window=60, requests=1)]},
            "broken": {"model": ScriptedModel([ModelError("secret")] * 9)},
            "spent": {"budgets": [Budget(per="user", tokens=1)]},
        }
        agents = [
            MiniAgent(
                self.app,
                config=AgentConfig(name=name, **given),
                redis_config=redis_config,
                prefix=f"{name.upper()}_",
            )
            for name, given in models.items()
        ]
        door = openai_blueprint(*agents, keys={"k": "ada"}, max_body=100_000)
        self.app.register_blueprint(door, url_prefix="/v1")
        self.client = self.app.test_client()

    def _answer(self, messages: Any) -> str:
        self.may_answer.wait(LIMIT)
        return "At last."

    def post(self, path: str = "responses", **body: Any) -> Any:
        return self.client.post(f"/v1/{path}", json=body, headers={"Authorization": "Bearer k"})

    def get(self, path: str) -> Any:
        return self.client.get(f"/v1/{path}", headers={"Authorization": "Bearer k"})

    def close(self) -> None:
        self.may_answer.set()
        with self.app.app_context():
            for agent, _ in self.app.extensions["miniagent"].values():
                agent.close()


@pytest.fixture
def door(redis_url: str) -> Iterator[Door]:
    door = Door(redis_url, MINIAGENT_MAX_STREAMS=1, BUSY_MINIAGENT_MAX_STREAMS=1)
    yield door
    door.close()


def test_a_conversation_that_is_busy_is_409(door: Door) -> None:
    conversation = door.post("conversations").json["id"]
    begun = door.post(model="busy", input="x", conversation=conversation, background=True)
    assert begun.status_code == 200
    reply = door.post(model="busy", input="y", conversation=conversation)
    assert (reply.status_code, reply.json["error"]["code"]) == (409, "conversation_locked")
    assert int(reply.headers["Retry-After"]) >= 1


def test_a_limit_is_429_and_says_when_to_try_again(door: Door) -> None:
    assert door.post(model="limited", input="x").status_code == 200
    reply = door.post(model="limited", input="x")
    assert (reply.status_code, reply.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(reply.headers["Retry-After"]) >= 1


def test_a_budget_that_is_spent_is_429_of_a_quota(door: Door) -> None:
    reply = door.post(model="spent", input="x")
    assert (reply.status_code, reply.json["error"]["code"]) == (429, "insufficient_quota")
    body = {"model": "spent", "messages": [{"role": "user", "content": "x"}]}
    reply = door.post("chat/completions", **body)
    assert (reply.status_code, reply.json["error"]["code"]) == (429, "insufficient_quota")
    streamed = door.post(model="spent", input="x", stream=True)
    assert b"response.failed" in streamed.data
    assert b"insufficient_quota" in streamed.data


def test_a_model_that_fails_is_502_or_a_failed_response_and_nobody_hears_why(door: Door) -> None:
    reply = door.post(model="broken", input="x")
    assert (reply.status_code, reply.json["error"]["type"]) == (502, "server_error")
    streamed = door.post(model="broken", input="x", stream=True)
    assert b"response.failed" in streamed.data
    begun = door.post(model="broken", input="x", background=True).json["id"]
    until(lambda: door.get(f"responses/{begun}").json["status"] == "failed")
    assert "secret" not in reply.text + streamed.text + door.get(f"responses/{begun}").text


def test_what_is_too_large_is_413(door: Door) -> None:
    assert door.post(model="limited", input="x" * 8000).status_code == 413
    assert door.post(model="limited", input="x" * 200_000).status_code == 413


def test_an_outage_is_503() -> None:
    door = Door("redis://127.0.0.1:1")
    reply = door.post(model="limited", input="x")
    assert (reply.status_code, reply.json["error"]["type"]) == (503, "server_error")
    assert int(reply.headers["Retry-After"]) >= 1


def test_one_stream_too_many_is_503_and_begins_nothing(door: Door) -> None:
    first = door.post(model="busy", input="x", stream=True, buffered=False)
    second = door.post(model="busy", input="x", stream=True)
    assert second.status_code == 503
    assert int(second.headers["Retry-After"]) >= 1
    door.may_answer.set()
    assert b"response.completed" in first.data
    first.close()
    third = door.post(model="busy", input="x", stream=True)
    assert b"response.completed" in third.data


def test_a_single_item_is_not_deleted_and_it_is_said_why(door: Door) -> None:
    headers = {"Authorization": "Bearer k"}
    items = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
    place = f"conversations/{door.post('conversations', items=items).json['id']}/items"
    last = door.get(place).json["data"][0]["id"]
    reply = door.client.delete(f"/v1/{place}/{last}", headers=headers)
    assert reply.json is not None
    error = reply.json["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "unsupported", "item_id")
    assert "previous_response_id" in error["message"]
    assert len(door.get(place).json["data"]) == 2
    for unknown in (f"/v1/{place}/msg_none", f"/v1/conversations/conv_none/items/{last}"):
        assert door.client.delete(unknown, headers=headers).status_code == 404


def test_what_is_no_json_or_no_route_is_told_as_an_error_too(door: Door) -> None:
    headers = {"Authorization": "Bearer k"}
    reply = door.client.post("/v1/responses", data="{", headers=headers)
    assert reply.json is not None
    assert (reply.status_code, reply.json["error"]["code"]) == (400, "invalid_json")
    reply = door.post("embeddings", input="x")
    assert (reply.status_code, reply.json["error"]["code"]) == (404, "unknown_url")
