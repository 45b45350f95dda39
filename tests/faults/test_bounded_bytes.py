"""A session takes bounded room in Redis, whatever its turns come to, and however often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    SessionManager,
)
from miniagent_redis.models import Message, ToolCall
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.fault_report import FaultRun

Store = RedisSessionManager
LIMIT = 1 << 20
MOST = 2 * LIMIT + 256 * 1024
LARGE = "x" * 900_000
HALF = LARGE[: len(LARGE) // 2]


def size(store: Store) -> int:
    """Return how many bytes all keys of the session take up in the server."""
    keys: Any = store.client.keys("*{s}*")
    return sum(store.client.memory_usage(key, samples=0) or 0 for key in keys)


def fails(store: Store) -> Iterator[object]:
    yield (turn := store.begin_turn("s", LARGE))
    yield store.abort_turn(turn, ValueError("no"))


def fails_with_a_long_error(store: Store) -> Iterator[object]:
    yield store.abort_turn(store.begin_turn("s", LARGE), ValueError(LARGE))


def fails_behind_steps(store: Store) -> Iterator[object]:
    turn = store.begin_turn("s", "x")
    calls = Message("assistant", HALF, tool_calls=(ToolCall("1", "look", {}),))
    yield (turn := store.stage_step(turn, [calls]))
    found = Message("tool", HALF, tool_call_id="1", name="look")
    yield (turn := store.stage_step(turn, [found]))
    yield store.abort_turn(turn, ValueError("no"))


def fails_after_it_has_told_much(store: Store) -> Iterator[object]:
    turn = store.begin_turn("s", "x")
    for _ in range(3):
        yield store.tell_text(turn, HALF)
    yield store.abort_turn(turn, ValueError("no"))


def is_too_large_with_its_answer(store: Store) -> Iterator[object]:
    turn = store.begin_turn("s", LARGE)
    try:
        store.commit_turn(turn, [Message("assistant", LARGE)])
    except MiniAgentError as exc:
        yield store.abort_turn(turn, exc)


def is_replaced(store: Store) -> Iterator[object]:
    yield store.begin_turn("s", LARGE)
    yield store.abort_turn(store.begin_turn("s", LARGE, on_busy="interrupt"))


def is_cleared(store: Store) -> Iterator[object]:
    yield store.begin_turn("s", LARGE)
    yield store.clear_thread("s")


def is_stored_and_cleared(store: Store) -> Iterator[object]:
    yield store.append_to_thread("s", Message("user", LARGE))
    yield store.clear_thread("s")


def is_stored_and_cut_off(store: Store) -> Iterator[object]:
    yield store.commit_turn(store.begin_turn("s", HALF), [Message("assistant", HALF)])
    yield store.truncate_thread("s", 0)


KINDS: list[Callable[[Store], Iterator[object]]] = [
    fails,
    fails_with_a_long_error,
    fails_behind_steps,
    fails_after_it_has_told_much,
    is_too_large_with_its_answer,
    is_replaced,
    is_cleared,
    is_stored_and_cleared,
    is_stored_and_cut_off,
]
"""What becomes of a turn, step by step."""


@pytest.mark.parametrize("what", ["one kind", "all kinds", "behind a full thread"])
def test_a_session_whose_large_turns_fail_stays_below_twice_its_size(
    faults: FaultRun, redis_url: str, what: str
) -> None:
    turns = faults.times(60, 1000)
    largest = 0
    with Store(RedisConfig(url=redis_url, max_session_size=LIMIT)) as store:
        store.create_session("s")
        kinds = KINDS[:1] if what == "one kind" else KINDS
        if what == "behind a full thread":
            kinds = [fails_after_it_has_told_much]
            store.append_to_thread("s", [Message("user", LARGE[:5_000])] * 200)
        for _ in range(turns):
            for _ in faults.random.choice(kinds)(store):
                largest = max(largest, size(store))
        events = store.read_events("s", limit=1000)
        faults.report(turns=turns, bytes_each=len(LARGE), largest=largest, limit=MOST)
    assert largest <= MOST
    assert events[-1].type is not EventType.GAP


def test_an_agent_whose_model_is_down_fills_nothing(faults: FaultRun, redis_url: str) -> None:
    def model(messages: Any) -> str:
        raise RuntimeError("the model is down")

    turns, largest = faults.times(20, 300), 0
    with SessionAgent(
        AgentConfig(model=model), redis_config=RedisConfig(url=redis_url, max_session_size=LIMIT)
    ) as agent:
        manager = SessionManager(agent)
        manager.create_or_resume_session("ada", "s")
        for _ in range(turns):
            with pytest.raises(MiniAgentError):
                manager.chat("s", LARGE)
            largest = max(largest, size(agent.store))
        faults.report(turns=turns, bytes_each=len(LARGE), largest=largest, limit=MOST)
    assert largest <= MOST
