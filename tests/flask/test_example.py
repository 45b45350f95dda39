"""examples/flask_app.py does what it says: login, streaming, reconnecting, approvals."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from miniagent_redis import ToolCall
from miniagent_redis.llm import ScriptedModel
from tests.support.sse import read_events

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "flask_app.py"


@pytest.fixture
def app() -> Flask:
    refund = ToolCall("c1", "refund", {"order": 7})
    found: Flask = runpy.run_path(str(EXAMPLE))["app"]
    model = ScriptedModel(["Hello Ada.", [refund], "Your money is on its way."])
    found.config.update(TESTING=True, MINIAGENT_MODEL=model)
    return found


def told(answer: Any) -> list[Any]:
    return list(read_events(answer.response))


def test_a_customer_gets_the_money_back(app: Flask) -> None:
    ada, bo = app.test_client(), app.test_client()
    assert ada.get("/chat").status_code == 401
    for client, name in ((ada, "ada"), (bo, "bo")):
        page = client.post("/login", data={"name": name}, follow_redirects=True)
        assert "<main>" in page.text
    turn = (ada.post("/chat", json={"text": "I am Ada."}).json or {})["turn_id"]
    assert told(ada.get(f"/events?turn={turn}"))[-1].text == "Hello Ada."

    turn = (ada.post("/chat", json={"text": "I want my money back!"}).json or {})["turn_id"]
    first = told(ada.get(f"/events?turn={turn}"))
    assert first[-1].event == "turn_waiting"
    assert (first[-1].data or {})["calls"][0]["arguments"] == {"order": 7}
    assert bo.post(f"/answer/{turn}/c1", json={"yes": True}).status_code == 422
    assert ada.post(f"/answer/{turn}/c1", json={"yes": True}).status_code == 202
    again = ada.get(f"/events?turn={turn}", headers={"Last-Event-ID": first[-1].id})
    assert told(again)[-1].text == "Your money is on its way."
    assert ada.get("/events").status_code == 204
    said = [message["content"] for message in ada.get("/chat").json or ()]
    assert said[-2:] == ["order 7 was paid back", "Your money is on its way."]
    assert bo.get("/chat").json == []


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 60
