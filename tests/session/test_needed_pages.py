"""An agent with a small context window loads what that has room for, however long the thread is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniagent_redis import (
    AgentConfig,
    InvalidInput,
    Message,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionThread,
    aio,
)
from miniagent_redis.agent import History, enough_for
from miniagent_redis.agent.context import ContextWindow
from miniagent_redis.models import new_id
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.exchanges import calls, is_valid, result
from tests.support.proxy import Proxy, Traffic
from tests.support.scripts import load_scripts
from tests.support.servers import RedisServer

Open = Callable[..., SessionManager]
NOW = Message("user", "And now?")
RULES = [Message("system", "Be kind"), Message("system", "Be brief")]
ROOM: dict[str, Any] = {"max_session_size": 100_000_000}


def talk(turns: int) -> list[Message]:
    roles: list[Any] = ["user", "assistant"]
    return [Message(role, f"{role}{i:07}", created_at=1e9) for i in range(turns) for role in roles]


def session_with(store: RedisSessionManager, *messages: Message) -> str:
    session_id = new_id()
    store.create_session(session_id)
    for first in range(0, len(messages), 4000):
        store.append_to_thread(session_id, messages[first : first + 4000])
    return session_id


class Shown:
    """A model that remembers what it was shown."""

    def __init__(self) -> None:
        self.last: list[tuple[str, str]] = []

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        self.last = [(message["role"], message["content"]) for message in messages]
        return "yes"


def said(*messages: Message) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


def test_a_first_turn_reads_as_much_of_twenty_thousand_messages_as_of_a_thousand(
    redis_server: RedisServer, redis_url: str
) -> None:
    load_scripts(redis_server.socket)
    read: list[Traffic] = []
    for turns in (500, 10_000):
        with RedisSessionManager(RedisConfig(url=redis_url, **ROOM)) as store:
            session_id = session_with(store, *RULES, *talk(turns))
        with Proxy(redis_server.socket) as proxy:
            config = AgentConfig(model=lambda messages: "yes", max_context_messages=20)
            redis = RedisConfig(url=proxy.url, **ROOM)
            store = RedisSessionManager(redis)
            with store, SessionAgent(config, store=store) as agent:
                proxy.take()
                real = store.begin_turn(session_id, "Hi", enough=enough_for(config))
                read.append(proxy.take())
                store.abort_turn(real)
                assert agent.run(session_id, "Hi").text == "yes"
    assert [traffic.round_trips for traffic in read] == [2, 2]
    assert abs(read[0].received - read[1].received) < 100, "but for the digits of numbers"


@pytest.mark.parametrize("limit", [{"max_context_messages": 20}, {"max_context_tokens": 300}])
def test_a_model_is_shown_the_same_as_of_the_whole_thread_from_turn_to_turn(
    open_manager: Open, limit: dict[str, int]
) -> None:
    model = Shown()
    manager = open_manager(model, redis=ROOM, **limit)
    other = open_manager(model, redis=ROOM, **limit)
    store = manager.store
    session_id = session_with(store, *RULES, *talk(1500))

    def check(used: SessionManager, text: str) -> None:
        before = store.load_thread(session_id).messages
        used.chat(session_id, text)
        window = ContextWindow(used.agent.config, (), History(before))
        assert model.last == said(*window.view([Message("user", text)]).messages)

    for number in range(3):
        check(manager, f"first {number}")
    assert manager.agent.thread(session_id).known == (None, 0)
    check(other, "of another")
    check(manager, "behind another's turn")
    store.append_to_thread(session_id, talk(70))
    check(manager, "behind more than a page of others")
    store.truncate_thread(session_id, 700)
    check(manager, "behind others' cut")
    store.clear_thread(session_id)
    check(manager, "behind others' clearing")
    check(other, "and again")


def test_the_whole_thread_is_there_for_who_looks_at_it(open_manager: Open) -> None:
    manager = open_manager(Shown(), redis=ROOM, max_context_messages=20)
    session_id = session_with(manager.store, *talk(200))
    manager.chat(session_id, "Hi")
    thread = manager.agent.thread(session_id)
    assert len(thread.newest) <= 102
    assert len(manager.get_history(session_id)) == len(thread) == 402
    assert thread.messages == list(manager.store.load_thread(session_id).messages)
    manager.chat(session_id, "Hi")
    assert thread.known[1] == len(thread.newest) == 404


def test_in_asyncio_a_part_of_the_thread_is_not_taken_for_all_of_it(
    open_manager: Open, store_url: str
) -> None:
    manager = open_manager(Shown(), redis=ROOM, max_context_messages=20)
    session_id = session_with(manager.store, *talk(200))
    config, where = manager.agent.config, RedisConfig(url=store_url, **ROOM)

    async def look() -> int:
        async with aio.SessionAgent(config, redis_config=where) as agent:
            await agent.run(session_id, "Hi")
            thread = agent.thread(session_id)
            assert not thread.unreadable
            with pytest.raises(InvalidInput, match="is not loaded"):
                _ = thread.messages
            return len((await thread.load()).messages)

    assert asyncio.run(look()) == 402


def test_a_record_that_cannot_be_read_is_told_of_though_it_is_far_from_the_end(
    open_manager: Open,
) -> None:
    manager = open_manager(Shown(), redis=ROOM, max_context_messages=20)
    session_id = session_with(manager.store, *talk(300))
    manager.store.client.lset(f"thread:{{{session_id}}}", 250, "?")
    manager.chat(session_id, "Hi")
    assert [record.index for record in manager.agent.thread(session_id).unreadable] == [250]


def test_a_count_that_fails_leaves_no_turn_open(open_manager: Open) -> None:
    def count(text: str) -> int:
        raise ZeroDivisionError

    manager = open_manager(Shown(), redis=ROOM, max_context_tokens=300, count_tokens=count)
    session_id = session_with(manager.store, *talk(300))
    with pytest.raises(ZeroDivisionError):
        manager.chat(session_id, "Hi")
    assert manager.store.list_sessions()[0]["open_turn"] is None


def test_a_history_that_is_cleared_while_it_is_loaded_is_empty(store: RedisSessionManager) -> None:
    session_id = session_with(store, *talk(300))

    def enough(newest: Sequence[Message]) -> bool:
        store.clear_thread(session_id)
        return False

    assert store.begin_turn(session_id, "Hi", enough=enough).thread.messages == ()


def test_what_continues_a_thread_that_was_forgotten_is_not_taken_for_all_of_it(
    store: RedisSessionManager,
) -> None:
    session_id = session_with(store, *talk(2))
    thread = SessionThread(store, session_id).refresh()
    epoch, count, mark = thread.end
    store.append_to_thread(session_id, Message("user", "more"))
    more = store.load_thread(session_id, epoch=epoch, start=count, mark=mark)
    thread.forget()
    thread.absorb(more)
    assert len(thread.messages) == 5


def test_of_a_part_nobody_knows_what_the_thread_has_let_go_of(store: RedisSessionManager) -> None:
    session_id = session_with(store, *talk(300))
    turn = store.begin_turn(session_id, "Hi", enough=lambda newest: True)
    store.abort_turn(turn)
    thread = SessionThread(store, session_id)
    thread.absorb(turn.thread)
    epoch, count, mark = thread.end
    store.append_to_thread(session_id, Message("user", "more"))
    more = store.load_thread(session_id, epoch=epoch, start=count, mark=mark)
    thread.absorb(evolve(more, head=2))
    assert tuple(thread.newest) == store.load_thread(session_id).messages


TURNS = st.one_of(
    st.just([Message("user", "u"), Message("assistant", "a")]),
    st.just([Message("system", "s")]),
    st.just([Message("user", "long " * 40), Message("assistant", "a")]),
    st.integers(1, 130).map(
        lambda n: [Message("user", "t"), *[m for _ in range(n) for m in (calls("a"), result("a"))]]
    ),
    st.floats(0.1, 9.0).map(
        lambda by: [
            Message("user", "c"),
            Message(
                "assistant",
                "b",
                metadata={"estimated_input_tokens": 100, "usage": {"input_tokens": int(100 * by)}},
            ),
        ]
    ),
)
LIMITS = st.fixed_dictionaries(
    {
        "max_context_messages": st.one_of(st.none(), st.integers(1, 400)),
        "max_context_tokens": st.one_of(st.none(), st.integers(1, 3000)),
    }
)


@pytest.fixture
def store(store_url: str) -> Iterator[RedisSessionManager]:
    with RedisSessionManager(RedisConfig(url=store_url, **ROOM)) as opened:
        yield opened


@given(
    st.integers(0, 150),
    st.lists(TURNS, max_size=12),
    st.integers(0, 200),
    st.lists(TURNS, max_size=40),
    LIMITS,
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_needed_makes_the_same_view_as_all(
    store: RedisSessionManager,
    rules: int,
    first: list[list[Message]],
    between: int,
    last: list[list[Message]],
    limits: dict[str, Any],
) -> None:
    config = AgentConfig(model=lambda messages: "yes", **limits)
    thread = [Message("system", f"rule {i}") for i in range(rules)]
    thread += [message for turn in first for message in turn]
    thread += talk(between) + [message for turn in last for message in turn]
    session_id = session_with(store, *thread)
    turn = store.begin_turn(session_id, NOW, enough=enough_for(config))
    whole = store.load_thread(session_id)
    found = turn.thread
    assert (found.epoch, found.version, found.count, found.mark) == (
        whole.epoch,
        whole.version,
        whole.count,
        whole.mark,
    )
    assert found.messages == tuple(whole.messages[index] for index in found.indexes)
    assert found.skipped == found.count - len(found.messages)
    views = [
        ContextWindow(config, (), History(each.messages)).view([NOW]) for each in (found, whole)
    ]
    assert views[0] == views[1]
    assert is_valid(views[0].messages)
