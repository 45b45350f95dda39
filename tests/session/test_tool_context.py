"""Tools are told for whom they run: in chat and submit, in resumed turns, by other instances."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import Message, ToolCall, ToolContext, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from tests.session.conftest import Open

LIMIT = 20
WISH = ToolCall("call-1", "look")


class Seen(list[ToolContext]):
    """What a tool was given."""

    def __init__(self) -> None:
        super().__init__()
        self.tools = ToolRegistry()
        self.tools.add(self.look)

    def look(self, context: ToolContext) -> str:
        """Look around."""
        self.append(context)
        return "seen"


@pytest.fixture
def seen() -> Seen:
    return Seen()


def replies() -> ScriptedModel:
    return ScriptedModel([WISH, "Done"] * 2)


@pytest.mark.parametrize("way", ["run", "submit"])
def test_a_tool_knows_its_session_user_turn_and_call(
    open_manager: Open, seen: Seen, way: str
) -> None:
    manager = open_manager(replies(), seen.tools)
    sid = manager.create_or_resume_session("ada", data={"language": "de"})
    if way == "run":
        result = manager.run(sid, "x", user_id="ada")
    else:
        result = manager.agent.submit(sid, "x").result(LIMIT)
    assert seen == [ToolContext(sid, "ada", result.turn_id, "call-1", {"language": "de"})]


def test_a_tool_of_a_session_without_user_and_data(open_manager: Open, seen: Seen) -> None:
    manager = open_manager(replies(), seen.tools)
    sid = manager.create_or_resume_session()
    result = manager.run(sid, "x")
    assert seen == [ToolContext(sid, None, result.turn_id, "call-1", {})]


def test_the_data_is_that_of_the_moment_and_a_copy(open_manager: Open) -> None:
    seen: list[Any] = []
    tools = ToolRegistry()

    @tools.tool
    def count(context: ToolContext) -> None:
        """Count the calls."""
        seen.append(dict(context.data))
        context.data["lost"] = True
        manager.store.patch_session(context.session_id, {"calls": len(seen)})

    manager = open_manager(ScriptedModel([[ToolCall("1", "count")], "A"] * 2), tools)
    sid = manager.create_or_resume_session()
    manager.chat(sid, "x")
    manager.chat(sid, "y")
    assert seen == [{}, {"calls": 1}]
    assert manager.store.get_session(sid) == {"calls": 2}


def test_a_call_that_another_instance_runs_again_has_the_same_turn_and_call(
    open_manager: Open, seen: Seen
) -> None:
    first = open_manager(redis={"lease_ttl": 0.05})
    sid = first.create_or_resume_session("ada", data={"language": "de"})
    turn = first.store.begin_turn(sid, "x")
    first.store.stage_step(turn, [Message("assistant", "", (WISH,))])
    other = open_manager(ScriptedModel(["Done"]), seen.tools)
    resumed = other.resume_turn(sid)
    assert resumed is not None
    assert seen == [ToolContext(sid, "ada", turn.turn_id, "call-1", {"language": "de"})]


def test_sessions_and_tenants_that_share_a_tool_each_get_their_own(
    open_manager: Open, seen: Seen
) -> None:
    manager = open_manager(replies(), seen.tools)
    tenant = manager.tenant("acme")
    manager.create_or_resume_session("ada", "s", data={"of": "all"})
    tenant.create_or_resume_session("bob", "s", data={"of": "acme"})
    manager.chat("s", "x")
    tenant.chat("s", "x")
    assert [(context.user_id, context.data) for context in seen] == [
        ("ada", {"of": "all"}),
        ("bob", {"of": "acme"}),
    ]
