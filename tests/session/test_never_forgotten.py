"""Work is never forgotten: what a turn did stands, whatever ended it, and no tool is run again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    Message,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ScriptedModel
from miniagent_redis.models import Usage
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer

Open = Callable[..., SessionManager]
PAY = ToolCall("p1", "pay", {"order": 7})


def roles(manager: SessionManager, session_id: str) -> list[str]:
    return [message["role"] for message in manager.get_history(session_id)]


def end_of(manager: SessionManager, session_id: str) -> dict[str, Any]:
    """Return the metadata of the last message."""
    metadata: dict[str, Any] = manager.get_history(session_id)[-1]["metadata"]
    return metadata


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (ModelError("the vendor failed", cause="500"), "the vendor failed"),
        (TimeoutError("no answer within 60 s"), "no answer within 60 s"),
        (RuntimeError("a bug"), "a bug"),
        (Finish("length"), "empty answer"),
    ],
)
def test_a_model_that_fails_after_a_tool_ran_forgets_nothing(
    open_manager: Open, tools: ToolRegistry, paid: list[int], reply: Any, problem: str
) -> None:
    model = ScriptedModel([PAY, reply, "As I said, it is paid."])
    manager = open_manager(model, tools)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError, match=problem) as caught:
        manager.chat(session_id, "Pay order 7")
    assert "stored" in caught.value.__notes__[0]
    assert roles(manager, session_id) == ["user", "assistant", "tool", "assistant"]
    end = end_of(manager, session_id)
    assert (end["interrupted"], end["error"]) == ("incomplete", "ModelError")
    assert problem in end["reason"]

    assert manager.chat(session_id, "Is it paid?") == "As I said, it is paid."
    assert [message.text for message in model.requests[-1].messages] == [
        "Pay order 7",
        "",
        "order 7 is paid",
        "[interrupted]",
        "Is it paid?",
    ]
    assert paid == [7]


def test_the_error_has_what_was_done(open_manager: Open, tools: ToolRegistry) -> None:
    manager = open_manager(ScriptedModel([["I will pay", PAY], OSError("gone")]), tools)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError) as caught:
        manager.chat(session_id, "Pay order 7")
    assert caught.value.text == "I will pay"
    steps = [step for step in caught.value.steps if isinstance(step, Message)]
    assert [step.role for step in steps] == ["assistant", "tool", "assistant"]
    assert steps[1].text == "order 7 is paid"


def test_a_model_that_fails_before_anything_happened_leaves_the_thread_as_it_was(
    open_manager: Open, tools: ToolRegistry
) -> None:
    manager = open_manager(ScriptedModel([OSError("gone"), "Hello"]), tools)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError) as caught:
        manager.chat(session_id, "Hello?")
    assert (caught.value.text, tuple(caught.value.steps)) == ("", ())
    assert manager.get_history(session_id) == []
    assert manager.chat(session_id, "Hello?") == "Hello"


def test_text_that_was_shown_stands_whatever_the_model_breaks_off_with(open_manager: Open) -> None:
    refused = ModelError("the vendor failed", cause="500")
    manager = open_manager(ScriptedModel([["Once upon ", refused], "a time"]))
    session_id = manager.create_or_resume_session()
    events: list[Event] = []
    with pytest.raises(ModelError, match="the vendor failed") as caught:
        events.extend(manager.stream(session_id, "Tell"))
    assert caught.value is refused
    assert (caught.value.text, len(caught.value.steps)) == ("Once upon ", 1)
    assert (events[-1].type, events[-1].text) == (EventType.AGENT_RESPONSE, "Once upon ")
    assert events[-1].data["interrupted"] is True
    assert end_of(manager, session_id)["reason"] == "the vendor failed. 500."
    assert manager.chat(session_id, "Go on") == "a time"


def test_what_is_of_no_use_was_paid_for(open_manager: Open, tools: ToolRegistry) -> None:
    model = ScriptedModel([[Usage(10, 1), PAY], [Usage(50, 5), OSError("gone")]])
    manager = open_manager(model, tools)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError):
        manager.chat(session_id, "Pay order 7")
    spent = manager.usage(session_id=session_id)
    assert (spent.input_tokens, spent.output_tokens, spent.tool_calls) == (60, 6, 1)


def test_too_many_steps_end_in_an_answer_without_tools(
    open_manager: Open, tools: ToolRegistry
) -> None:
    model = ScriptedModel([PAY, ToolCall("p2", "pay", {"order": 8}), "Two are paid."])
    manager = open_manager(model, tools, max_steps=3)
    session_id = manager.create_or_resume_session()
    assert manager.chat(session_id, "Pay all orders") == "Two are paid."
    assert [len(request.tools) for request in model.requests] == [1, 1, 0]
    assert end_of(manager, session_id) == {"finish_reason": "max_steps"}


def test_what_was_found_within_too_many_steps_is_not_forgotten(
    open_manager: Open, tools: ToolRegistry, paid: list[int]
) -> None:
    more = [ToolCall(f"p{order}", "pay", {"order": order}) for order in (8, 9)]
    model = ScriptedModel([PAY, *more, "Two are paid."])
    manager = open_manager(model, tools, max_steps=3)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError, match="within 3 steps") as caught:
        manager.chat(session_id, "Pay all orders")
    assert len(caught.value.steps) == 5
    assert manager.chat(session_id, "And?") == "Two are paid."
    said = [message.text for message in model.requests[-1].messages]
    assert {"order 7 is paid", "order 8 is paid"} <= set(said)
    assert paid == [7, 8], "the last call was not asked for"


def test_watchers_hear_the_same(open_manager: Open, tools: ToolRegistry) -> None:
    manager = open_manager(ScriptedModel([PAY, OSError("gone")]), tools)
    session_id = manager.create_or_resume_session()
    streamed: list[Event] = []
    with pytest.raises(ModelError):
        streamed.extend(manager.stream(session_id, "Pay order 7"))
    heard = list(manager.watch(session_id, "", timeout=0.05))
    assert [event.id for event in heard][1:] == [event.id for event in streamed]
    assert heard[-1].data["interrupted"] is True


def read(stream: Generator[Event, None, Any], error: BaseException | None) -> None:
    """Read it to its end; an error stops it when the tool has run."""
    for event in stream:
        if error is not None and event.type is EventType.TOOL_RESULT:
            stream.throw(error)


class TimeIsUp(Exception):
    """As a job queue raises it, from a signal's handler."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeIsUp, SystemExit])
@pytest.mark.parametrize("where", ["model", "reader"])
def test_what_interrupts_the_caller_arrives_as_itself(
    open_manager: Open, tools: ToolRegistry, paid: list[int], error: Any, where: str
) -> None:
    def time_is_up(signum: int, frame: Any) -> None:
        raise error

    def work(request: Any) -> str:
        if where == "model" and not manager.get_history(session_id):
            signal.raise_signal(signal.SIGUSR1)
        return "It is paid."

    before = signal.signal(signal.SIGUSR1, time_is_up)
    try:
        manager = open_manager(ScriptedModel([PAY, work, work]), tools)
        session_id = manager.create_or_resume_session()
        thrown = error() if where == "reader" else None
        with pytest.raises(error) as caught:
            read(manager.agent.stream(session_id, "Pay order 7"), thrown)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert caught.type is error
    assert "stored" in caught.value.__notes__[0]
    assert roles(manager, session_id) == ["user", "assistant", "tool", "assistant"]
    end = end_of(manager, session_id)
    assert (end["interrupted"], end["error"]) == ("stopped", error.__name__)
    assert manager.store.session_state(session_id).open_turn is None
    assert manager.chat(session_id, "Is it paid?") == "It is paid."
    assert paid == [7]


@pytest.mark.parametrize("is_sent", [False, True])
def test_an_answer_whose_commit_is_interrupted_is_stored_whole(
    open_manager: Open, tools: ToolRegistry, monkeypatch: pytest.MonkeyPatch, is_sent: bool
) -> None:
    manager = open_manager(ScriptedModel([PAY, "It is paid.", "Yes."]), tools)
    session_id = manager.create_or_resume_session()
    commit = manager.store.commit_turn

    def interrupted(*args: Any, **named: Any) -> int:
        monkeypatch.undo()
        if is_sent:
            commit(*args, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(manager.store, "commit_turn", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        manager.chat(session_id, "Pay order 7")
    assert caught.value.__notes__ == ["The answer is stored."]
    assert [message["content"] for message in manager.get_history(session_id)][3:] == [
        "It is paid."
    ]
    assert manager.chat(session_id, "Sure?") == "Yes."
    assert len(manager.get_history(session_id)) == 6
    assert manager.usage(session_id=session_id).turns == 2


def test_a_call_that_was_cut_off_has_a_result_that_says_so(
    open_manager: Open, tools: ToolRegistry
) -> None:
    @tools.tool
    def stop() -> str:
        raise KeyboardInterrupt

    model = ScriptedModel([[PAY, ToolCall("s", "stop", {})], "It may be paid."])
    manager = open_manager(model, tools)
    session_id = manager.create_or_resume_session()
    with pytest.raises(KeyboardInterrupt):
        manager.chat(session_id, "Pay order 7")
    results = {m["tool_call_id"]: m["content"] for m in manager.get_history(session_id)[2:-1]}
    assert "it is not known whether the tool was run" in results["s"]
    assert set(results) == {"p1", "s"}
    assert manager.chat(session_id, "Is it paid?") == "It may be paid."


def test_a_turn_that_ends_so_costs_no_more_round_trips(
    redis_server: RedisServer, redis_url: str, tools: ToolRegistry
) -> None:
    model = ScriptedModel([PAY, "Paid", PAY, "Paid", PAY, OSError("gone")])
    with Proxy(redis_server.socket) as proxy:
        redis = RedisConfig(url=proxy.url)
        with SessionAgent(AgentConfig(model=model), tools, redis_config=redis) as agent:
            session_id = SessionManager(agent).create_or_resume_session()
            costs: list[int] = []
            for _ in range(3):
                proxy.take()
                with suppress(ModelError):
                    agent.run(session_id, "Pay order 7")
                costs.append(proxy.take().round_trips)
    assert costs[2] == costs[1], f"{costs}: the first loads scripts"
