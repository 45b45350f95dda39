"""Bad input gets a clear error before anything is sent, and loses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, OpenTurn, ToolCall
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.calls import call_store, of_sessions
from tests.support.stored import dump, watched
from tests.support.words import said

Store = RedisSessionManager
BAD_IDS: list[Any] = ["", None, 5, 1.5, True, b"abc", ["a"], ("a",), {"a": 1}, object()]
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: Any = 1
for _ in range(300):
    DEEP = {"a": DEEP}
BAD_VALUES: list[Any] = [
    math.nan, math.inf, -math.inf, b"bytes", bytearray(b"x"), {1, 2}, frozenset(), object(), 1j,
    {1: "a"}, {None: 1}, {b"k": 1}, {(1,): 1}, CYCLE, DEEP, 10**5000, Exception, range(3),
]  # fmt: skip
GOOD = Message("user", "x")


@pytest.fixture
def no_commands(real_store: Store) -> Iterator[Store]:
    """Yield a store on a real server, and fail if it sent it anything during the test."""
    before = dump(real_store.client)
    with watched(real_store.client) as sent:
        yield real_store
    assert sent == []
    assert dump(real_store.client) == before


def create(_: str, store: Store, session_id: Any, user: Any) -> None:
    store.create_session(session_id, user_id=user)


@pytest.mark.parametrize("name", [*of_sessions(), "create_session"])
def test_a_bad_session_id_is_refused_before_anything_is_sent(no_commands: Store, name: str) -> None:
    call = create if name == "create_session" else call_store
    for session_id in BAD_IDS:
        if name == "usage" and session_id is None:
            continue  # this means all sessions
        for user in (None, "ada"):
            with pytest.raises(InvalidInput, match="is not a session id") as caught:
                call(name, no_commands, session_id, user)
            assert len(str(caught.value)) < 400


@pytest.mark.parametrize("user", ["", 5, b"ada", True, ["ada"]], ids=repr)
def test_a_bad_user_id_is_refused_before_anything_is_sent(no_commands: Store, user: Any) -> None:
    for name in of_sessions():
        with pytest.raises(InvalidInput):
            call_store(name, no_commands, "s", user)
    with pytest.raises(InvalidInput):
        no_commands.create_session("s", user_id=user)
    with pytest.raises(InvalidInput):
        no_commands.list_sessions(user)


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: type(value).__name__)
def test_data_that_json_cannot_hold_is_refused_before_anything_is_sent(
    no_commands: Store, value: Any
) -> None:
    store = no_commands
    turn = OpenTurn("s", "t", "h", None, (GOOD,))  # type: ignore[arg-type]
    messages = [
        Message("user", [{"type": "text", "text": value}]),
        evolve(GOOD, metadata={"a": value}),
        evolve(GOOD, extra={"a": value}),
    ]
    with_call = Message("assistant", "", tool_calls=(ToolCall("1", "f", {"a": value}),))
    attempts: list[Callable[[], object]] = [
        lambda: store.create_session("s", {"a": value}),
        lambda: store.update_session("s", {"a": [value]}),
        lambda: store.cache_set("k", value),
        lambda: store.publish("c", value),
        lambda: store.stage_step(turn, [with_call]),
    ]
    for message in messages:
        attempts += [
            lambda message=message: store.append_to_thread("s", message),
            lambda message=message: store.append_to_thread("s", [GOOD, message]),
            lambda message=message: store.begin_turn("s", message),
            lambda message=message: store.stage_step(turn, [message]),
            lambda message=message: store.commit_turn(turn, [message]),
        ]
    for attempt in attempts:
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("data", [[], "text", 5, b"x", {1}, [("a", 1)], True])
def test_data_of_a_session_is_a_dict(no_commands: Store, data: Any) -> None:
    with pytest.raises(InvalidInput, match="must be a dict"):
        no_commands.create_session("s", data)
    with pytest.raises(InvalidInput, match="must be a dict"):
        no_commands.update_session("s", data)


# As called by those who check no types.
Msg: Any = Message
Call: Any = ToolCall
NOT_MESSAGES: list[Any] = [
    None, 5, b"text", ["text"], {"role": "user", "content": "x"}, ...,
    Msg("user", ""), Msg("user", []), Msg("assistant", ""), Msg("system", ""),
    Msg("robot", "x"), Msg("USER", "x"), Msg(None, "x"), Msg(["user"], "x"),
    Msg("user", None), Msg("user", 5), Msg("user", b"x"), Msg("user", {"a": 1}),
    Msg("user", ["part"]), Msg("user", [None]), Msg("user", ({"type": "text"},)),
    evolve(GOOD, id=None), evolve(GOOD, id=5), evolve(GOOD, name=5), evolve(GOOD, turn_id=b"x"),
    evolve(GOOD, created_at=math.nan), evolve(GOOD, created_at=math.inf),
    evolve(GOOD, created_at=-1.0), evolve(GOOD, created_at=1e18), evolve(GOOD, created_at="now"),
    evolve(GOOD, metadata=None), evolve(GOOD, metadata=[1]), evolve(GOOD, extra=[1]),
    evolve(GOOD, tool_calls=({"id": "1"},)), evolve(GOOD, tool_calls=(Call(5, "f"),)),
    evolve(GOOD, tool_calls=(Call("1", "f", [1]),)), evolve(GOOD, tool_calls=5),
    evolve(GOOD, tool_calls=None),
]  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("message", NOT_MESSAGES, ids=lambda value: repr(value)[:40])
def test_what_is_no_message_is_refused_before_anything_is_sent(
    no_commands: Store, message: Any
) -> None:
    turn = OpenTurn("s", "t", "h", None, (GOOD,))  # type: ignore[arg-type]
    for attempt in (
        lambda: no_commands.append_to_thread("s", message),
        lambda: no_commands.append_to_thread("s", [GOOD, message]),
        lambda: no_commands.begin_turn("s", message),
        lambda: no_commands.stage_step(turn, [message]),
        lambda: no_commands.commit_turn(turn, [message]),
    ):
        with pytest.raises(InvalidInput):
            attempt()


def test_tool_calls_and_results_are_refused_outside_a_turn(no_commands: Store) -> None:
    for message in (
        Message("assistant", "x", tool_calls=(ToolCall("1", "f"),)),
        Message("tool", "x", tool_call_id="1"),
    ):
        with pytest.raises(InvalidInput, match="one by one"):
            no_commands.append_to_thread("s", [GOOD, message])
    for nothing in ([], ()):
        with pytest.raises(InvalidInput, match="no message"):
            no_commands.append_to_thread("s", nothing)


def test_text_in_place_of_messages_is_not_taken_letter_by_letter(no_commands: Store) -> None:
    with pytest.raises(InvalidInput):
        no_commands.append_to_thread("s", "hello")  # type: ignore[arg-type]


def test_a_turn_begins_with_the_user(no_commands: Store) -> None:
    for message in (said("x"), Message("system", "x"), Message("tool", "x", tool_call_id="1")):
        with pytest.raises(InvalidInput, match="user"):
            no_commands.begin_turn("s", message)


@pytest.mark.parametrize("agent_name", [None, 5, b"x"])
def test_an_agents_name_is_text(no_commands: Store, agent_name: Any) -> None:
    with pytest.raises(InvalidInput):
        no_commands.create_session("s", agent_name=agent_name)


@pytest.mark.parametrize("namespace", ["a:b", "{a}", "a*", "a b"])
def test_a_bad_namespace_is_refused_before_anything_connects(namespace: str) -> None:
    with pytest.raises(InvalidInput, match="namespace"):
        Store(RedisConfig(url="unix:///nowhere", namespace=namespace))


def test_names_are_any_text_but_no_other_thing(no_commands: Store) -> None:
    store = no_commands
    calls: list[Callable[[Any], object]] = [
        store.cache_get,
        lambda name: store.cache_set(name, 1),
        store.cache_delete,
        store.lock,
        store.acquire_lock,
        store.is_locked,
        store.rate_limit,
        lambda name: store.publish(name, 1),
        lambda name: store.subscribe([name]),
    ]
    for call in calls:
        for name in ("", None, 5, b"x", ["x"]):
            with pytest.raises(InvalidInput):
                call(name)


texts = st.text(st.characters(exclude_categories=()), min_size=1, max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None, database=None)
@given(texts, json_values, texts, st.dictionaries(texts, json_values, max_size=3))
def test_whatever_json_can_hold_comes_back_from_everywhere(
    memory: Store, text: str, value: Any, name: str, data: dict[str, Any]
) -> None:
    memory.client.flushdb()
    memory.create_session("s", data, agent_name=name)
    message = Message("user", text, name=name, metadata={"m": value})
    turn = memory.begin_turn("s", message)
    call = Message("assistant", "", tool_calls=(ToolCall(name, text, {"a": value}),))
    answer = Message("tool", text, tool_call_id=name)
    turn = memory.stage_step(turn, [call, answer])
    memory.commit_turn(turn, [Message("assistant", [{"type": "text", "text": text, "x": value}])])
    memory.cache_set(name, value)

    assert repr(memory.get_session("s")) == repr(data)
    assert memory.session_state("s").agent_name == name
    user, stored_call, stored_answer, last = memory.load_thread("s").messages
    assert (user.content, user.name, repr(user.metadata)) == (text, name, repr({"m": value}))
    assert repr(stored_call.tool_calls) == repr(call.tool_calls)
    assert (stored_answer.text, stored_answer.tool_call_id) == (text, name)
    assert repr(last.content[0]["x"]) == repr(value)  # type: ignore[index]
    assert repr(memory.cache_get(name)) == repr(value)


def test_what_was_refused_left_the_store_as_it_was(store: Store, client: redis.Redis) -> None:
    store.create_session("s", {"a": 1})
    turn = store.begin_turn("s", "one")
    before = dump(client)
    for value in BAD_VALUES:
        with pytest.raises(InvalidInput):
            store.stage_step(turn, [evolve(GOOD, metadata={"a": value})])
        with pytest.raises(InvalidInput):
            store.commit_turn(turn, [evolve(GOOD, metadata={"a": value})])
        with pytest.raises(InvalidInput):
            store.update_session("s", {"a": value})
    assert dump(client) == before
