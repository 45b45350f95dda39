"""Chat pages of others: the class behind ``useChat``, ``HttpAgent`` of AG-UI, and its validator."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.doors.conftest import KEY, Serve
from tests.support.waiting import LIMIT

pytest.importorskip("flask")
from tests.support.chat_page import Page
from tests.support.pages_app import SLOW

PROGRAM = Path(__file__).with_name("use_chat.mjs")
WEATHER = 'weather: {"sky": "blue", "city": "Paris"}'


def test_pages_of_the_ai_sdk_and_of_ag_ui_at_two_instances(serve: Serve, npm_folder: Path) -> None:
    one, other = (served.url.removesuffix("/v1") for served in serve(2, "pages_app"))
    done = subprocess.run(
        ["node", str(PROGRAM), one, other, KEY],
        cwd=npm_folder,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
    )
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert heard["failures"] == []
    weather = heard["weather"]
    assert (weather["text"], weather["thought"]) == (f"I look.|{WEATHER}", "Let me see.")
    assert weather["tool"]["output"] == {"sky": "blue", "city": "Paris"}
    assert weather["tokens"] == 34
    assert weather["same"], "what is stored is what was shown"
    cut = heard["cut"]
    assert SLOW.startswith(cut["begun"])
    assert (cut["text"], cut["count"], cut["status"]) == (SLOW, 2, "ready"), "whole, and once"
    assert heard["opened"] == {"text": SLOW, "count": 2}
    approved, denied = heard["approved-true"], heard["approved-false"]
    assert approved["asked"] == "approval-requested"
    assert (approved["state"], approved["count"]) == ("output-available", 2)
    assert approved["text"] == "I look.|refund: paid back"
    assert denied["state"] == "output-denied"
    assert "not today" in denied["text"]
    assert heard["client"] == {
        "runs": 1,
        "text": f'I look.|{WEATHER}; locate: {{"at": [1, 2]}}',
        "states": ["output-available", "output-available"],
    }
    assert heard["again"] == {"other": True, "text": "You said: two", "same": True}
    assert heard["stopped"] == {"status": "ready", "cut": True}
    assert heard["broken"]["status"] == "error"
    assert "sk-1234" not in heard["broken"]["message"]
    runs = heard["agui"]
    called = ["user", "reasoning", "assistant", "tool", "assistant"]
    assert runs["talk"] == {"roles": [*called, "user", "assistant"], "text": "You said: Hi"}
    assert runs["own"]["outcome"] == "success"
    assert (runs["own"]["pending"], runs["own"]["text"]) == (1, "shout: loud")
    assert runs["own"]["roles"] == called
    assert runs["asking"]["text"] == "refund: paid back"
    assert (runs["asking"]["left"], runs["asking"]["roles"]) == (0, called)
    assert runs["half"]["roles"] == ["user", "reasoning", "assistant"]
    assert (runs["half"]["text"], runs["half"]["thought"]) == (SLOW, "I take my time.")
    assert runs["empty"] == {"roles": ["user", "assistant"], "text": SLOW}
    assert runs["failed"] == "model_error"


def test_every_run_is_valid(page: Page) -> None:
    validate = pytest.importorskip("ag_ui_validate.pytest_plugin").validate_agui
    core = pytest.importorskip("ag_ui.core")

    def said(text: str, id: str) -> dict[str, str]:
        return {"id": id, "role": "user", "content": text}

    shout = {"name": "shout", "description": "Shout."}
    result = {"id": "t", "role": "tool", "content": "loud"}
    first = page.run(said("weather", "u1"))
    asked = page.run(said("refund", "u2"))
    (interrupt,) = asked[-1]["outcome"]["interrupts"]
    decision = {"status": "resolved", "payload": {"approved": True}}
    approved = page.run(said("refund", "u2"), resume=[{"interruptId": interrupt["id"], **decision}])
    called = page.run(said("shout", "u3"), tools=[shout])
    call_id = called[-1]["outcome"]["pendingToolCallIds"][0]
    shouted = page.run(said("shout", "u3"), {**result, "toolCallId": call_id}, tools=[shout])
    joined = page.run(said("weather", "u1"), {"id": "half", "role": "assistant", "content": "I"})
    streams = [first, asked, approved, called, shouted, joined, page.run()]
    streams.append(page.run(said("break", "u4")))
    for events in streams:
        report = validate([json.dumps(event) for event in events])
        assert (report.summary.errors, report.summary.warnings) == (0, 0), report.diagnostics
        for event in events:
            known = core.EventType(event["type"])
            name = "".join(part.capitalize() for part in known.value.split("_")) + "Event"
            getattr(core, name).model_validate(event)
