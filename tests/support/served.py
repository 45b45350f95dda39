"""All doors of ``serve`` in one app, over a session that has everything, and each of its routes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from miniagent_redis import RedisConfig
from miniagent_redis.cli.serving import served_app
from miniagent_redis.flask import MiniAgent
from tests.support.console_apps import make_agents

HEADERS = {"Authorization": "Bearer s3cret"}
READS = ("GET", "HEAD", "OPTIONS")


@frozen
class Filled:
    """What is stored, before the doors show it: ids by the names that routes have for them."""

    agents: MiniAgent
    known: dict[str, str]
    fields: dict[str, Any]


@contextmanager
def filled_store(redis_url: str) -> Iterator[Filled]:
    """Yield a store with a session, an answer of the API, and a call that waits."""
    agents = make_agents(redis_config=RedisConfig(url=redis_url))
    app = app_of(agents, read_only=False)
    client = app.test_client()
    begun: Any = client.post("/v1/conversations", json={}, headers=HEADERS).json
    conversation = begun["id"]
    body = {"model": "helper", "input": "I want a refund", "conversation": conversation}
    client.post("/v1/responses", json={**body, "input": "Hello"}, headers=HEADERS)
    made: Any = client.post("/v1/responses", json=body, headers=HEADERS).json
    session: Any = client.get(f"/v1/sessions/{conversation}", headers=HEADERS).json
    items: Any = client.get(f"/v1/conversations/{conversation}/items", headers=HEADERS).json
    known = {
        "response_id": made["id"], "conversation": conversation, "item": items["data"][0]["id"],
        "session": session["session_id"], "chat_id": session["session_id"],
        "name": "helper", "model": "helper", "rest": "unknown", "filename": "console.js",
    }  # fmt: skip
    fields = {
        "id": session["session_id"], "what": "end", "message": "more", "verdict": "approve",
        "call": "c2", "title": "other",
    }  # fmt: skip
    with app.app_context():
        agents.unbound.list_sessions()  # writes what is noted of turns, as any process may
    yield Filled(agents, known, fields)
    with app.app_context():
        agents.close()


def app_of(agents: MiniAgent, *, read_only: bool) -> Flask:
    agents.user_loader(lambda: "ada")
    keys = {"s3cret": "ada"}
    return served_app([agents], keys=keys, user="ada", token="s3cret", read_only=read_only)


def asked(app: Flask, rule: Rule, method: str, filled: Filled) -> TestResponse:
    """Ask for a route, about what is stored. A route with a name that nobody knows fails here."""
    values = {name: filled.known[name] for name in rule.arguments}
    built = app.url_map.bind("localhost").build(rule.endpoint, values, method)
    json: Any = None if "console" in rule.endpoint else {"title": "other", "model": "helper"}
    given: dict[str, Any] = {"json": json} if json is not None else {"data": filled.fields}
    if method in READS:
        given = {"query_string": filled.fields}
    answer = app.test_client().open(built, method=method, headers=HEADERS, **given)
    answer.get_data()
    answer.close()
    return answer


def routes(app: Flask) -> list[tuple[str, Rule]]:
    return [(method, rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()]
