"""Servers of an older protocol, that die, are slow, ask in the middle, and change their tools."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from miniagent_redis import Approve, Deny, InvalidInput, ToolError, ToolRegistry
from miniagent_redis.mcp import MCPServer
from miniagent_redis.models import Question
from miniagent_redis.tools import call_tool
from tests.mcp.conftest import Old, Open, ask, call, result_of
from tests.support.waiting import LIMIT, is_alive, until


def heard(notes: Path, what: str) -> int:
    return notes.read_text().count(what) if notes.exists() else 0


def pid_of(notes: Path) -> int:
    """Return the process id of the server that was started last."""
    starts = [line for line in notes.read_text().splitlines() if line.startswith("start ")]
    return int(starts[-1].split()[1])


# --- which tools --------------------------------------------------------------------------------


def test_nothing_is_started_before_tools_are_wanted(old: Old, notes: Path) -> None:
    server = old()
    tools = ToolRegistry.of([server])
    assert not notes.exists()
    assert "echo" in tools
    assert heard(notes, "start") == 1


def test_tools_have_a_prefix_and_are_those_that_are_wanted(old: Old) -> None:
    tools = ToolRegistry.of([old(prefix="its_", only=["e*", "die.once"])])
    assert [tool.name for tool in tools] == ["its_echo", "its_die_once"]
    assert [tool.name for tool in old(only=lambda name: name == "slow").tools()] == ["slow"]


def test_what_the_server_says_of_a_tool_says_how_it_is_called(old: Old) -> None:
    tools = {tool.name: tool for tool in old().tools()}
    assert (tools["echo"].idempotent, tools["echo"].approve) == (True, False)
    assert (tools["wipe"].idempotent, tools["wipe"].approve) == (True, True)
    assert (tools["ask"].idempotent, tools["ask"].approve) == (False, False)
    assert not any(tool.approve for tool in old(approve=False).tools())
    assert all(tool.approve for tool in old(approve=True).tools())
    assert [tool.name for tool in old(approve="ask*").tools() if tool.approve] == [
        "ask",
        "ask_twice",
    ]


def test_a_tool_that_no_model_could_call_is_left_out_and_told_of(
    old: Old, caplog: pytest.LogCaptureFixture
) -> None:
    assert "bad" not in ToolRegistry.of([old()])
    assert "tool 'bad' of MCP server 'old' is left out" in caplog.text


def test_a_name_too_long_for_models_is_cut_and_stays_another_one(old: Old) -> None:
    names = [tool.name for tool in old(prefix="p" * 62).tools()]
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {64}


def test_our_own_tool_goes_before_one_of_a_server(
    old: Old, caplog: pytest.LogCaptureFixture
) -> None:
    def echo() -> str:
        """Answer."""
        return "ours"

    tools = ToolRegistry.of([echo, old()])
    assert call_tool(tools.copy(), call("echo")).content == "ours"
    assert "there is a tool 'echo' already: that of MCP server 'old' is left out" in caplog.text


def test_a_server_that_gets_more_tools_has_them_in_the_next_turn(
    old: Old, open_manager: Open
) -> None:
    server = old()
    manager = open_manager(server, calls=[call("more")])
    ask(manager)
    until(lambda: "extra" in manager.agent.agent.tools)
    before, after = server.tools(), server.tools()
    assert before is after


# --- one that dies ------------------------------------------------------------------------------


def test_a_server_that_died_is_started_once_more(old: Old, open_manager: Open, notes: Path) -> None:
    manager = open_manager(old(), calls=[call("ask_nothing")])
    tools = manager.agent.agent.tools
    assert call_tool(tools, call("echo", text="one")).content == "one"
    os.kill(pid_of(notes), signal.SIGKILL)
    until(lambda: not is_alive(pid_of(notes)))
    assert call_tool(tools, call("echo", text="two")).content == "two"
    assert heard(notes, "start") == 2


def test_a_call_that_may_have_been_done_is_not_done_again(old: Old, notes: Path) -> None:
    tools = ToolRegistry.of([old()])
    result = call_tool(tools, call("die"))
    assert result.is_error
    assert "outcome unknown" in result.text
    assert heard(notes, "call die") == 1
    assert call_tool(tools, call("echo", text="back")).content == "back"


def test_a_call_that_does_no_harm_is_done_again(old: Old, notes: Path) -> None:
    tools = ToolRegistry.of([old()])
    assert call_tool(tools, call("die_once")).content == "alive"
    assert heard(notes, "call die.once") == 2


def test_the_model_is_told_of_a_server_that_cannot_be_started_again(
    old: Old, open_manager: Open, notes: Path
) -> None:
    server = old()
    manager = open_manager(server, calls=[call("echo")])
    assert server.tools()
    server.close()
    server._address = evolve(server._address, args=("gone.py",))
    told = ask(manager)
    assert told["metadata"]["is_error"]
    assert "MCP server 'old' cannot be used" in told["content"]


def test_a_turn_fails_if_a_server_was_never_there() -> None:
    server = MCPServer(command="/no/such/program")
    with pytest.raises(ToolError, match="MCP server 'program' cannot be used"):
        server.open()
    with pytest.raises(ToolError, match="see what the command says"):
        ToolRegistry.of([server]).copy()


def test_one_that_is_not_required_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    tools = ToolRegistry.of([MCPServer(command="/no/such/program", required=False)])
    assert list(tools.copy()) == list(tools.copy()) == []
    assert caplog.text.count("cannot be read") == 1  # it is not tried again at once


def test_a_server_that_says_nothing_is_given_up() -> None:
    server = MCPServer(command="sleep", args=["60"], open_timeout=0.2)
    with pytest.raises(ToolError, match=r"no answer within 0\.2 s"):
        server.open()


# --- one that is slow ---------------------------------------------------------------------------


def test_a_call_that_takes_too_long_is_given_up_and_the_server_told(
    old: Old, open_manager: Open, notes: Path
) -> None:
    told = ask(open_manager(old(timeout=0.3), calls=[call("slow")]))
    assert told["metadata"]["is_error"]
    assert "0.3 s" in told["content"]
    until(lambda: heard(notes, "cancelled"))


def test_a_turn_that_is_cancelled_ends_its_calls(old: Old, open_manager: Open, notes: Path) -> None:
    manager = open_manager(old(), calls=[call("slow")])
    session_id = manager.create_or_resume_session()
    future = manager.agent.submit(session_id, "Go.")
    until(lambda: heard(notes, "call slow"))
    assert manager.cancel(session_id)
    assert future.result(LIMIT).interrupted
    until(lambda: heard(notes, "cancelled"))


# --- one that asks ------------------------------------------------------------------------------


def test_a_question_parks_the_turn_until_it_is_answered_anywhere(
    old: Old, open_manager: Open, notes: Path
) -> None:
    first = open_manager(old(), calls=[call("ask")])
    session_id = first.create_or_resume_session("ada")
    result = first.run(session_id, "Book it.")
    (waits,) = result.waiting
    assert (waits.waits_for, waits.name) == ("input", "ask")
    assert waits.question is not None
    assert waits.question.message == "For which day?"
    assert list(waits.question.schema["properties"]) == ["day", "seats"]
    first.agent.shutdown()  # nothing of the call is left in any process

    other = open_manager(old(), calls=[])
    (listed,) = other.list_waiting("ada")
    assert listed["calls"][0]["question"] == waits.question.to_dict()
    whole = other.answer(session_id, result.turn_id, {"c1": {"day": "friday"}})
    assert whole.text == "done"
    content = {"day": "friday", "seats": 2}
    assert json.loads(result_of(other, session_id)["content"]) == {
        "action": "accept",
        "content": content,
    }
    assert heard(notes, "call ask") == 2


def test_several_questions_are_asked_one_after_the_other(old: Old, open_manager: Open) -> None:
    manager = open_manager(old(), calls=[call("ask_twice")])
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "Book it.")
    result = manager.answer(session_id, result.turn_id, {"c1": '{"day": "monday"}'})
    (waits,) = result.waiting
    assert waits.question is not None
    assert waits.question.message == "Sure?"
    result = manager.answer(session_id, result.turn_id, {"c1": Approve()})
    assert not result.waiting
    assert "'day': 'monday'" in result_of(manager, session_id)["content"]
    said = [each["content"] for each in manager.get_history(session_id)]
    assert said[2:6] == [
        "For which day?",
        'answered: {"seats": 2, "day": "monday"}',
        "Sure?",
        "accepted",
    ]


def test_who_does_not_want_to_say_declines(old: Old, open_manager: Open) -> None:
    manager = open_manager(old(), calls=[call("ask")])
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "Book it.")
    manager.answer(session_id, result.turn_id, {"c1": Deny("none of your business")})
    assert json.loads(result_of(manager, session_id)["content"]) == {"action": "decline"}


def test_a_page_to_go_to_is_approved_when_it_was_gone_to(old: Old, open_manager: Open) -> None:
    manager = open_manager(old(), calls=[call("go_there")])
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "Pay it.")
    (waits,) = result.waiting
    assert waits.question is not None
    assert waits.question.to_dict() == {"message": "Pay first.", "url": "https://pay.example/1"}
    manager.answer(session_id, result.turn_id, {"c1": Approve()})
    assert result_of(manager, session_id)["content"] == "accept"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"day": "sunday"}, "'day' must be one of monday, friday"),
        ({"day": "friday", "hour": 3}, "hour"),
        ({}, "day"),
        ("friday", "does not answer"),
        (7, "does not answer"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_turn_waits_on(
    old: Old, open_manager: Open, wrong: object, why: str
) -> None:
    manager = open_manager(old(), calls=[call("ask")])
    session_id = manager.create_or_resume_session("ada")
    result = manager.run(session_id, "Book it.")
    with pytest.raises(InvalidInput, match=why):
        manager.answer(session_id, result.turn_id, {"c1": wrong})  # type: ignore[dict-item]
    assert len(manager.list_waiting("ada")) == 1


def test_a_turn_that_is_cancelled_while_it_asks_tells_the_model_so(
    old: Old, open_manager: Open, notes: Path
) -> None:
    manager = open_manager(old(), calls=[call("ask")])
    session_id = manager.create_or_resume_session("ada")
    manager.run(session_id, "Book it.")
    assert manager.cancel(session_id)
    assert "declined" in result_of(manager, session_id)["content"]
    assert not manager.list_waiting("ada")
    assert heard(notes, "call ask") == 1


def test_a_function_may_answer_on_the_spot(old: Old, open_manager: Open, notes: Path) -> None:
    asked: list[str] = []

    def answer(question: Question) -> object:
        asked.append(question.message)
        return {"day": "monday"} if "day" in question.message else None

    manager = open_manager(old(elicitation=answer), calls=[call("ask_twice")])
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "Book it.")
    (waits,) = result.waiting  # None leaves it to the user
    assert waits.question is not None
    assert waits.question.message == "Sure?"
    assert asked == ["For which day?", "Sure?"]
    manager.answer(session_id, result.turn_id, {"c1": Approve()})
    assert "'day': 'monday'" in result_of(manager, session_id)["content"]


def test_outside_of_turns_nobody_can_be_asked(old: Old) -> None:
    result = call_tool(ToolRegistry.of([old()]), call("ask"))
    assert result.is_error
    assert "nobody is there: For which day?" in result.text


def test_without_elicitation_a_server_is_not_told_that_it_may_ask(old: Old) -> None:
    tools = ToolRegistry.of([old(elicitation=False)])
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(call_tool, tools, call("slow"))
        assert call_tool(tools, call("echo", text="beside it")).content == "beside it"
        tools.close()
        assert "closed meanwhile" in slow.result(LIMIT).text


# --- its life -----------------------------------------------------------------------------------


def test_a_server_ends_with_the_agent(old: Old, open_manager: Open, notes: Path) -> None:
    manager = open_manager(old(), calls=[call("echo", text="hello")])
    assert ask(manager)["content"] == "hello"
    pid = pid_of(notes)
    assert is_alive(pid)
    manager.agent.shutdown()
    until(lambda: not is_alive(pid))


def test_a_server_may_be_opened_again(old: Old, notes: Path) -> None:
    with old() as server:
        assert call_tool(ToolRegistry.of([server]), call("echo", text="1")).content == "1"
    server.close()
    assert call_tool(ToolRegistry.of([server]), call("echo", text="2")).content == "2"
    assert heard(notes, "start") == 2


def test_all_servers_of_a_process_share_one_thread(old: Old) -> None:
    for server in (old(), old()):
        server.open()
    names = [each.name for each in threading.enumerate()]
    assert names.count("miniagent-redis-mcp") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_a_server_of_its_own(old: Old, notes: Path) -> None:
    tools = ToolRegistry.of([old()])
    assert call_tool(tools, call("echo", text="parent")).content == "parent"
    if (child := os.fork()) == 0:
        try:
            said = call_tool(tools, call("echo", text="child")).content
            tools.close()
            os._exit(0 if said == "child" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert heard(notes, "start") == 2
    assert call_tool(tools, call("echo", text="still")).content == "still"
    assert heard(notes, "start") == 2
