"""Edit and resend, regenerate: what was there is kept as a branch, whatever comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import InvalidInput, ModelError, SessionNotFound, SessionWaiting
from miniagent_redis.llm import Finish, ModelRequest
from miniagent_redis.models import EventType, Message, ToolCall
from miniagent_redis.tools import ToolRegistry


class Counting:
    """A model that says how often it was asked, and what; it may be told to fail."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = False

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        if self.fails:
            raise RuntimeError("no answer")
        self.count += 1
        return f"{self.count}:{messages[-1]['content']}"


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def manager(store_url: str, model: Counting) -> Any:
    config = AgentConfig(model=model, on_busy="reject")
    with SessionAgent(config, redis_config=RedisConfig(url=store_url)) as agent:
        made = SessionManager(agent)
        made.create_or_resume_session("ada", "s")
        for text in ("one", "two", "three"):
            made.chat("s", text)
        yield made


def said(manager: SessionManager, session_id: str = "s") -> list[str]:
    return [each["content"] for each in manager.get_history(session_id)]


def turn_ids(manager: SessionManager) -> list[str]:
    return [each["turn_id"] for each in manager.get_history("s") if each["role"] == "user"]


ALL = ["one", "1:one", "two", "2:two", "three", "3:three"]


def test_the_last_answer_is_given_anew(manager: SessionManager) -> None:
    result = manager.regenerate("s", user_id="ada")
    assert result.text == "4:three"
    assert said(manager) == [*ALL[:5], "4:three"]
    assert result.branch
    assert said(manager, result.branch) == ALL
    again = manager.regenerate("s")
    assert said(manager) == [*ALL[:5], "5:three"]
    branches = [each["session_id"] for each in manager.list_branches("s", user_id="ada")]
    assert branches == [again.branch, result.branch]


def test_an_earlier_turn_is_given_anew(manager: SessionManager) -> None:
    result = manager.regenerate("s", turn_ids(manager)[1])
    assert said(manager) == ["one", "1:one", "two", "4:two"]
    assert result.turn_id == turn_ids(manager)[1]
    assert said(manager, result.branch or "") == ALL


def test_a_message_is_edited_and_sent_again(manager: SessionManager) -> None:
    result = manager.edit("s", turn_ids(manager)[1], "TWO", user_id="ada")
    assert result.text == "4:TWO"
    assert said(manager) == ["one", "1:one", "TWO", "4:TWO"]
    assert said(manager, result.branch or "") == ALL
    message = manager.get_history("s")[2]["id"]
    manager.edit("s", message, Message("user", "2"), params={"temperature": 0.5})
    assert said(manager) == ["one", "1:one", "2", "5:2"]


def test_if_the_new_turn_fails_what_was_there_is_kept(
    manager: SessionManager, model: Counting
) -> None:
    model.fails = True
    with pytest.raises(ModelError) as caught:
        manager.regenerate("s")
    (branch,) = manager.list_branches("s")
    assert branch["session_id"] in caught.value.__notes__[-1]
    assert said(manager, branch["session_id"]) == ALL
    assert said(manager) == ALL[:4]
    model.fails = False
    assert manager.chat("s", "three") == "4:three"


def test_with_an_id_of_ones_own_it_is_done_once(manager: SessionManager) -> None:
    turns = turn_ids(manager)
    first = manager.edit("s", turns[1], "TWO", new_turn_id="mine")
    assert manager.edit("s", turns[1], "TWO", new_turn_id="mine").text == first.text
    assert said(manager) == ["one", "1:one", "TWO", "4:TWO"]
    again = manager.regenerate("s", new_turn_id="again")
    assert manager.regenerate("s", new_turn_id="again") == again
    assert said(manager) == ["one", "1:one", "TWO", "5:TWO"]
    assert len(manager.list_branches("s")) == 2
    named = manager.regenerate("s", "again", new_turn_id="third")
    assert manager.regenerate("s", "again", new_turn_id="third") == named


def test_bad_input_leaves_all_as_it_is(manager: SessionManager) -> None:
    with pytest.raises(InvalidInput):
        manager.edit("s", "none", "x")
    with pytest.raises(InvalidInput):
        manager.edit("s", turn_ids(manager)[0], "")
    with pytest.raises(InvalidInput):
        manager.edit("s", turn_ids(manager)[0], "x", params={"temperature": -1})
    with pytest.raises(InvalidInput):
        manager.regenerate("s", "none")
    with pytest.raises(InvalidInput):
        manager.regenerate(manager.create_or_resume_session("ada"))
    with pytest.raises(SessionNotFound):
        manager.edit("s", turn_ids(manager)[0], "x", user_id="eve")
    with pytest.raises(SessionNotFound):
        manager.rewind("s", turn_ids(manager)[0], user_id="eve")
    with pytest.raises(SessionNotFound):
        manager.regenerate("s", user_id="eve")
    assert said(manager) == ALL
    assert manager.list_branches("s") == []


def test_an_abandoned_turn_is_finished_first(manager: SessionManager) -> None:
    store = manager.store
    store.begin_turn("s", "four")
    store.client.hset("metadata:{s}", "lease", 1)  # its process is gone
    result = manager.regenerate("s")
    assert said(manager) == [*ALL, "four", "5:four"]
    assert said(manager, result.branch or "") == [*ALL, "four", "4:four"]


def test_while_a_turn_waits_nothing_is_edited(store_url: str) -> None:
    class Asking:
        def stream(self, request: ModelRequest) -> Any:
            yield ToolCall("c1", "pick", {})
            yield Finish("tool_calls")

    tools = ToolRegistry()
    tools.declare("pick", "Pick one.", {"type": "object", "properties": {}})
    config = AgentConfig(model=Asking())
    with SessionAgent(config, tools, redis_config=RedisConfig(url=store_url)) as agent:
        manager = SessionManager(agent)
        sid = manager.create_or_resume_session()
        result = manager.run(sid, "go")
        with pytest.raises(SessionWaiting):
            manager.edit(sid, result.turn_id, "x")
        with pytest.raises(SessionWaiting):
            manager.rewind(sid, 0)


def test_going_back_is_told_to_watchers_and_other_processes(
    manager: SessionManager, store_url: str
) -> None:
    other = SessionAgent(AgentConfig(model=Counting()), redis_config=RedisConfig(url=store_url))
    with other:
        assert len(other.thread("s")) == 6
        branch = manager.rewind("s", turn_ids(manager)[0])
        events = list(manager.watch("s", "", 0.1))
        assert events[-1].type == EventType.HISTORY_CLEARED
        assert events[-1].data["branch"] == branch
        SessionManager(other).chat("s", "x")
        assert said(manager) == ["one", "1:one", "x", "1:x"]
