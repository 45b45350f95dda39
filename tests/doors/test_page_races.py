"""Chat pages, where others are faster: what happens between two of the steps of a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from miniagent_redis import ToolCall
from miniagent_redis.doors.front_ends.turns import PageTurns
from miniagent_redis.llm import Finish, ModelRequest
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.waiting import LIMIT, until

pytest.importorskip("flask")
from miniagent_redis.session import SessionManager
from miniagent_redis.session.turns import AgentTurns
from tests.doors.test_agui import SHOUT, said
from tests.support.chat_page import Json, Page, kinds, text_of, told, user
from tests.support.pages_app import Shop

RESULT = {"id": "t1", "role": "tool", "toolCallId": "c1.0", "content": "loud"}


@pytest.fixture
def behind_the_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return what has a request wait, once it has answered calls, until something is so."""
    answer_soon = AgentTurns.answer_soon

    def wait_for(condition: Callable[[], object]) -> None:
        def answered(self: AgentTurns, *args: Any, **more: Any) -> Any:
            started = answer_soon(self, *args, **more)
            until(condition)
            return started

        monkeypatch.setattr(AgentTurns, "answer_soon", answered)

    return wait_for


def roles(messages: list[Json]) -> list[str]:
    return [one["role"] for one in messages]


def test_a_turn_that_is_over_at_once_is_not_told_twice_in_the_thread(
    page: Page, behind_the_answer: Callable[[Callable[[], object]], None]
) -> None:
    page.run(said("shout"), tools=[SHOUT])
    behind_the_answer(lambda: page.get("/api/chat/chat/stream").status_code == 204)
    rest = page.run(said("shout"), RESULT, tools=[SHOUT])
    assert roles(rest[1]["messages"]) == ["user", "assistant", "tool"], "the answer follows"
    assert "".join(one.get("delta", "") for one in rest) == "shout: loud"


def test_a_turn_that_waits_for_something_else_at_once_tells_that_once(
    page: Page, behind_the_answer: Callable[[Callable[[], object]], None]
) -> None:
    page.chat(user("move"))
    asked, answer = page.messages()
    (part,) = [one for one in answer["parts"] if one["type"] == "tool-move"]
    part["approval"] |= {"approved": True}
    part["state"] = "approval-responded"
    behind_the_answer(lambda: "data-question" in str(page.messages()))
    rest = page.chat(asked, answer)
    assert [one for one in kinds(rest) if one != "data-title"] == [
        "start", "data-question", "finish"
    ]  # fmt: skip
    assert rest[-1]["finishReason"] == "tool-calls"


def test_a_chat_that_is_opened_while_its_turn_comes_to_wait_is_told(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_call, load_tail = threading.Event(), RedisSessionManager.load_tail

    def called(self: Shop, request: ModelRequest) -> Iterator[Any]:
        may_call.wait(LIMIT)
        yield ToolCall("c9", "refund", {"about": "Paris"})
        yield Finish("tool_calls")

    def loaded(self: RedisSessionManager, *args: Any, **more: Any) -> Any:
        may_call.set()
        until(lambda: self.parts.parking.parked("chat"))
        return load_tail(self, *args, **more)

    monkeypatch.setattr(Shop, "_tells", called)
    page.post("/api/chat", id="chat", messages=[user("weather")]).close()
    until(lambda: "sky" in str(page.messages()))
    monkeypatch.setattr(RedisSessionManager, "load_tail", loaded)
    asked, answer = page.messages()
    assert asked == user("weather")
    assert answer["parts"][-1]["state"] == "output-available", "as it was a moment ago"
    monkeypatch.undo()
    assert page.messages()[1]["parts"][-1]["state"] == "approval-requested"


@pytest.mark.parametrize("meant", ["u1", None])
def test_one_that_is_asked_for_by_its_question_while_another_goes_back_is_the_same(
    page: Page, monkeypatch: pytest.MonkeyPatch, meant: str | None
) -> None:
    page.chat(user("one", "u0"))
    page.chat(user("two"))
    rewind = SessionManager.rewind
    body = {"trigger": "regenerate-message", **({"messageId": meant} if meant else {})}
    meanwhile: list[Json] = []

    def rewound(self: SessionManager, *args: Any, **more: Any) -> Any:
        monkeypatch.setattr(SessionManager, "rewind", rewind)
        branch = rewind(self, *args, **more)
        meanwhile.extend(page.chat(user("two"), **body))
        return branch

    monkeypatch.setattr(SessionManager, "rewind", rewound)
    found = page.chat(user("two"), **body)
    assert meanwhile[0]["messageId"] == found[0]["messageId"]
    assert text_of(meanwhile) == text_of(found) == "You said: two"
    assert len(page.messages()) == 4
    unknown = page.post(
        "/api/chat", id="chat", messages=[user("x", "u9")], **{**body, "messageId": "u9"}
    )
    assert unknown.status_code == 400


def test_one_that_is_asked_for_by_its_question_with_a_key_is_made_anew_once(page: Page) -> None:
    page.chat(user("one"))
    body = {"id": "chat", "messages": [user("one")], "trigger": "regenerate-message"}
    headers = {**page.headers, "Idempotency-Key": "k1"}
    again = [page.client.post("/api/chat", json=body, headers=headers) for _ in range(2)]
    assert len({told(one)[0]["messageId"] for one in again}) == 1


def test_an_answer_that_another_one_has_taken_the_place_of_says_so(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = PageTurns._start

    def started(self: PageTurns, *args: Any) -> Any:
        monkeypatch.setattr(PageTurns, "_start", start)
        begun = start(self, *args)
        page.chat(user("one"), trigger="regenerate-message")
        return begun

    monkeypatch.setattr(PageTurns, "_start", started)
    found = page.chat(user("one"))
    assert "taken the place" in found[-2]["errorText"]
    assert len(page.messages()) == 2


def test_what_came_of_anothers_answer_that_was_faster_is_told_whole(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.chat(user("refund"))
    asked, answer = page.messages()
    (part,) = [one for one in answer["parts"] if one["type"] == "tool-refund"]
    part["approval"] |= {"approved": True}
    part["state"] = "approval-responded"
    answer_soon = AgentTurns.answer_soon
    others: list[Json] = []

    def answered(self: AgentTurns, *args: Any, **more: Any) -> Any:
        monkeypatch.setattr(AgentTurns, "answer_soon", answer_soon)
        others.extend(page.chat(asked, answer))
        return answer_soon(self, *args, **more)

    monkeypatch.setattr(AgentTurns, "answer_soon", answered)
    found = page.chat(asked, answer)
    assert "tool-output-available" in kinds(others)
    assert text_of(others) == "refund: paid back"
    assert kinds(found) == kinds(others)
