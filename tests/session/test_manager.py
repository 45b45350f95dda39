"""What a user of SessionManager expects, on both backends."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import (
    EventType,
    InvalidInput,
    Message,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
    SessionTooLarge,
    StreamCallback,
    ToolCall,
    ToolRegistry,
    UsageTotals,
)
from miniagent_redis.llm import ScriptedModel
from tests.support.waiting import until

Open = Callable[..., SessionManager]


def test_a_conversation_survives_a_restart(open_manager: Open) -> None:
    first = open_manager()
    session_id = first.create_or_resume_session(user_id="ada")
    first.chat(session_id, "My name is Ada.")
    first.agent.shutdown()

    second = open_manager()
    assert second.create_or_resume_session(user_id="ada", session_id=session_id) == session_id
    assert "Ada" in second.chat(session_id, "What is my name?")
    assert [m["role"] for m in second.get_history(session_id)] == ["user", "assistant"] * 2


def test_two_instances_see_each_others_messages(open_manager: Open) -> None:
    here, there = open_manager(), open_manager()
    session_id = here.create_or_resume_session()
    here.chat(session_id, "My name is Ada.")
    assert "Ada" in there.chat(session_id, "What is my name?")
    assert "What is my name?" in here.chat(session_id, "What did I just say?")


def test_the_model_gets_the_whole_conversation_each_time(open_manager: Open) -> None:
    model = ScriptedModel(["one", "two", "three"])
    manager = open_manager(model, system_prompt="Be brief.")
    session_id = manager.create_or_resume_session()
    for question in ("1?", "2?", "3?"):
        manager.chat(session_id, question)
    seen = [message.text for message in model.requests[-1].messages]
    assert seen == ["1?", "one", "2?", "two", "3?"]
    assert model.requests[-1].system == "Be brief."
    assert model.requests[-1].session_id == session_id


def test_a_result_has_its_steps_usage_and_version(open_manager: Open) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "What is 6 * 7?")
    assert "42" in result.text
    assert [step.role for step in result.steps] == ["assistant", "tool", "assistant"]
    assert result.usage.input_tokens > 0
    assert result.usage.output_tokens > 0
    assert result.version == 2
    assert result.persisted
    assert {step.turn_id for step in result.steps} == {result.turn_id}
    state = manager.store.session_state(session_id)
    assert (state.turns, state.tool_calls, state.message_count) == (1, 1, 4)
    assert (state.input_tokens, state.output_tokens) == (
        result.usage.input_tokens,
        result.usage.output_tokens,
    )


def test_a_stream_tells_everything_in_order_and_ends_when_all_is_stored(
    open_manager: Open,
) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session()
    kinds, text = [], ""
    for event in manager.stream(session_id, "What is 6 * 7?"):
        kinds.append(event.type)
        text += event.text if event.type is EventType.TEXT_DELTA else ""
        if event.type is EventType.AGENT_RESPONSE:
            assert len(manager.get_history(session_id)) == 4
            assert event.text == text
    assert kinds[:3] == [EventType.TURN_STARTED, EventType.TOOL_CALL, EventType.TOOL_RESULT]
    assert kinds[-1] is EventType.AGENT_RESPONSE


def test_a_stream_that_is_left_before_its_first_word_changes_nothing(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel(["a long answer", "another"]))
    session_id = manager.create_or_resume_session()
    stream: Any = manager.stream(session_id, "Go on")
    assert next(stream).type is EventType.TURN_STARTED
    stream.close()
    assert manager.get_history(session_id) == []
    assert manager.store.session_state(session_id).open_turn is None


def test_a_stream_that_is_left_early_is_stored_as_far_as_it_was_read(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel(["a long answer", "another"]))
    session_id = manager.create_or_resume_session()
    stream: Any = manager.stream(session_id, "Go on")
    assert next(stream).type is EventType.TURN_STARTED
    assert next(stream).text == "a"
    stream.close()
    _, answer = manager.get_history(session_id)
    assert (answer["content"], answer["metadata"]["interrupted"]) == ("a", "stopped")
    assert manager.store.session_state(session_id).open_turn is None
    assert manager.chat(session_id, "And now?") == "another"


def test_a_turn_whose_model_fails_leaves_the_thread_as_it_was(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([RuntimeError("boom")]))
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError):
        manager.chat(session_id, "Hello")
    assert manager.get_history(session_id) == []
    assert manager.store.session_state(session_id).open_turn is None


def test_a_tool_that_raises_is_told_to_the_model(open_manager: Open) -> None:
    tools = ToolRegistry()

    @tools.tool
    def fails(city: str) -> str:
        raise RuntimeError(f"no {city}")

    model = ScriptedModel([ToolCall("c1", "fails", {"city": "Oslo"}), "I could not find out."])
    manager = open_manager(model, tools)
    session_id = manager.create_or_resume_session()
    assert manager.chat(session_id, "Weather?") == "I could not find out."
    result = model.requests[1].messages[-1]
    assert result.role == "tool"
    assert "no Oslo" in result.text
    assert result.metadata["is_error"] is True


def test_callbacks_see_every_event_and_cannot_break_a_turn(open_manager: Open) -> None:
    callbacks = StreamCallback()
    seen = []
    callbacks.on(EventType.TEXT_DELTA, lambda event: seen.append(event.text))
    callbacks.on(EventType.AGENT_RESPONSE, lambda event: 1 / 0)
    manager = open_manager(lambda messages: "fine", callbacks=callbacks)
    assert manager.chat(manager.create_or_resume_session(), "Hi") == "fine"
    assert "".join(seen) == "fine"
    assert callbacks.errors == 1


def test_sessions_are_listed_newest_first_with_what_a_person_wants_to_know(
    open_manager: Open,
) -> None:
    manager = open_manager(name="Lister")
    old, new = (manager.create_or_resume_session(user_id="ada") for _ in range(2))
    manager.create_or_resume_session(user_id="bob")
    now = time.monotonic()
    until(lambda: time.monotonic() > now + 0.002)  # in lists a millisecond is one moment
    manager.chat(old, "Hello")
    listed = manager.list_sessions(user_id="ada")
    assert [entry["session_id"] for entry in listed] == [old, new]
    assert listed[0]["user_id"] == "ada"
    assert listed[0]["message_count"] == 2
    assert listed[0]["agent_name"] == "Lister"
    assert listed[0]["created_at"] <= listed[0]["last_activity"] < listed[0]["expires_at"]
    assert len(manager.list_sessions()) == 3


def test_history_is_read_in_pages_from_its_end(open_manager: Open) -> None:
    manager = open_manager(lambda messages: "yes")
    session_id = manager.create_or_resume_session()
    for number in range(5):
        manager.chat(session_id, f"{number}?")
    last = manager.get_history(session_id, limit=4)
    assert [m["content"] for m in last] == ["3?", "yes", "4?", "yes"]
    before = manager.get_history(session_id, limit=4, before=last[0]["index"])
    assert [m["index"] for m in before] == [2, 3, 4, 5]
    assert manager.get_history(session_id, before=2)[-1]["content"] == "yes"
    with pytest.raises(InvalidInput):
        manager.get_history(session_id, limit=0)


def test_clearing_keeps_the_session_and_ending_removes_it(open_manager: Open) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session(user_id="ada", data={"plan": "free"})
    manager.chat(session_id, "My name is Ada.")
    assert manager.clear_history(session_id)
    assert not manager.clear_history(session_id)
    assert manager.store.get_session(session_id) == {"plan": "free"}
    assert "Ada" not in manager.chat(session_id, "What is my name?")
    assert manager.end_session(session_id)
    assert not manager.end_session(session_id)
    with pytest.raises(SessionNotFound):
        manager.chat(session_id, "Hello?")
    assert manager.list_sessions() == []


def test_somebody_elses_session_and_an_unknown_one_get_the_same_answer(
    open_manager: Open,
) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session(user_id="ada")
    calls = (
        lambda sid: manager.chat(sid, "Hi", user_id="eve"),
        lambda sid: manager.get_history(sid, user_id="eve"),
        lambda sid: manager.get_history(sid, 2, user_id="eve"),
        lambda sid: manager.clear_history(sid, user_id="eve"),
        lambda sid: next(iter(manager.stream(sid, "Hi", user_id="eve"))),
    )
    for call in calls:
        messages = set()
        for sid in (session_id, "unknown"):
            with pytest.raises(SessionNotFound) as caught:
                call(sid)
            messages.add(str(caught.value).replace(sid, "X"))
        assert len(messages) == 1
    assert manager.end_session(session_id, user_id="eve") is False
    with pytest.raises(SessionNotFound):
        manager.create_or_resume_session(user_id="eve", session_id=session_id)
    assert manager.chat(session_id, "Hi", user_id="ada")


def test_a_message_may_have_content_parts(open_manager: Open) -> None:
    model = ScriptedModel(["A cat."])
    manager = open_manager(model)
    session_id = manager.create_or_resume_session()
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "url": "http://x"}]
    manager.chat(session_id, Message("user", parts))
    assert model.requests[0].messages[-1].content == parts
    assert manager.get_history(session_id)[0]["content"] == parts


@pytest.mark.parametrize("message", ["", [], None, 5, b"bytes"])
def test_a_message_that_is_no_message_is_refused_before_anything_happens(
    open_manager: Open, message: Any
) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session()
    with pytest.raises(InvalidInput):
        manager.chat(session_id, message)
    assert manager.store.session_state(session_id).version == 1


@pytest.mark.parametrize("text", ["\ud800 lone", "nul \x00", "🙂" * 100, "line\nbreak", "{}[]*?"])
def test_any_text_comes_back_as_it_was(open_manager: Open, text: str) -> None:
    manager = open_manager(lambda messages: messages[-1]["content"])
    session_id = manager.create_or_resume_session()
    assert manager.chat(session_id, text) == text
    assert open_manager().get_history(session_id)[0]["content"] == text


def test_a_message_too_large_for_the_session_changes_nothing(open_manager: Open) -> None:
    manager = open_manager(lambda messages: "x" * 5000, redis={"max_session_size": 4096})
    session_id = manager.create_or_resume_session()
    for text in ("y" * 5000, "short, but the answer is long"):
        with pytest.raises(SessionTooLarge) as caught:
            manager.chat(session_id, text)
        assert caught.value.limit == 4096
        state = manager.store.session_state(session_id)
        assert (state.version, state.message_count, state.open_turn) == (1, 0, None)


def test_an_agent_that_is_not_open_says_what_to_do(open_manager: Open) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session()
    manager.agent.shutdown()
    assert manager.agent.shutdown()  # twice is fine
    with pytest.raises(InvalidInput, match="initialize"):
        manager.chat(session_id, "Hi")


def test_a_page_of_a_list_has_fifty_sessions(open_manager: Open) -> None:
    manager = open_manager()
    for _ in range(51):
        manager.create_or_resume_session(user_id="ada")
    assert len(manager.list_sessions("ada")) == 50


def test_a_session_goes_on_under_a_new_id_with_what_waits_in_the_spool(
    store_url: str, tmp_path: Path
) -> None:
    config = RedisConfig(url=store_url, spool_dir=str(tmp_path / "spool"))
    with SessionAgent(redis_config=config) as agent:
        manager = SessionManager(agent)
        sid = manager.create_or_resume_session()
        manager.chat(sid, "Hello!")
        turn = agent.store.begin_turn(sid, "And?")
        assert agent.spool is not None
        agent.spool.keep(turn, [Message("assistant", "kept on disk")], UsageTotals())
        renewed = manager.renew_session_id(sid, new_user_id="ada")
        said = [message["content"] for message in manager.get_history(renewed, user_id="ada")]
        assert said[2:] == ["And?", "kept on disk"]
        assert manager.chat(renewed, "Still here?", user_id="ada")
        for call in (manager.chat, agent.run):
            with pytest.raises(SessionNotFound):
                call(sid, "Anybody?")
