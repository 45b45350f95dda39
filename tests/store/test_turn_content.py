"""What a turn may hold, what it counts, and how long operations are remembered."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import call, lines, result, said

Store = RedisSessionManager


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s", user_id="ada")


@pytest.mark.parametrize(
    "messages",
    [
        [call("1")],
        [result("1")],
        [call("1"), said("an answer without the result")],
        [result("1"), call("1"), said("the result before its call")],
        [call("1"), result("2"), said("a result of something else")],
        [call("1"), result("1"), result("1"), said("a result twice")],
        [call("1"), result("1"), call("1"), said("the second call by that name has no result")],
        [call("1"), Message("user", "in between"), result("1"), said("x")],
        [Message("tool", "of no call"), said("x")],
    ],
    ids=lambda messages: "-".join(m.role for m in messages),
)
def test_a_call_without_its_result_never_enters_the_thread(
    store: Store, client: redis.Redis, messages: list[Message]
) -> None:
    turn = store.begin_turn("s", "one")
    before = dump(client)
    with pytest.raises(InvalidInput, match="result"):
        store.commit_turn(turn, messages)
    assert dump(client) == before


def test_parallel_calls_and_reused_call_ids_are_fine(store: Store) -> None:
    turn = store.begin_turn("s", "one")
    steps = [call("1", "2"), result("2"), result("1"), call("1"), result("1")]
    store.commit_turn(turn, [*steps, said("done")])
    assert len(lines(store)) == 7


@pytest.mark.parametrize("bad", [1.5, None, "7", -1, 2**60, True])
def test_what_is_no_count_is_refused_and_half_of_nothing_is_written(
    store: Store, client: redis.Redis, bad: Any
) -> None:
    turn = store.begin_turn("s", "one")
    before = dump(client)
    for name in ("input_tokens", "output_tokens", "tool_calls"):
        with pytest.raises(InvalidInput):
            store.commit_turn(turn, [said("x")], spent=UsageTotals(**{name: bad}))
    assert dump(client) == before


def test_more_messages_than_fit_luas_stack_are_staged_and_committed(store: Store) -> None:
    turn = store.begin_turn("s", "one")
    many = [said(str(n)) for n in range(2500)]
    turn = store.stage_step(turn, many)
    store.commit_turn(turn, many)
    assert store.session_state("s").message_count == 5001
    assert [m.text for m in store.load_thread("s").messages[1:]] == [
        str(n) for n in range(2500)
    ] * 2


def test_a_version_never_goes_back_and_counts_each_change_once(store: Store) -> None:
    versions = [store.session_state("s").version]

    def note() -> None:
        versions.append(store.session_state("s").version)

    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    note()
    store.append_to_thread("s", Message("user", "x"))
    note()
    store.update_session("s", {"a": 1})
    note()
    store.clear_thread("s")
    note()
    store.abort_turn(store.begin_turn("s", "two"))
    store.touch_session("s")
    note()
    assert versions == [1, 2, 3, 4, 5, 5]


def test_an_operation_repeated_with_its_id_changes_nothing(
    store: Store, client: redis.Redis
) -> None:
    version = store.append_to_thread("s", Message("user", "x"), operation_id="op")
    store.append_to_thread("s", Message("user", "y"))
    before = dump(client)
    assert store.append_to_thread("s", Message("user", "x"), operation_id="op") == version
    assert dump(client) == before
    assert store.resolve_turn("s", "op") == "committed"


def test_the_last_64_operations_are_remembered_and_no_more_are_kept(
    store: Store, client: redis.Redis
) -> None:
    for n in range(100):
        store.append_to_thread("s", Message("user", str(n)), operation_id=f"op-{n}")
    ids = [field for field in client.hkeys("ops:{s}") if b"=" not in field]  # type: ignore[union-attr]
    assert len(ids) == 64 + 4  # and the times of every 16th
    for n in range(100):
        store.commit_turn(store.begin_turn("s", "x", turn_id=f"turn-{n}"), [said("y")])
    told = [store.resolve_turn("s", f"turn-{n}") for n in range(100)]
    assert told == ["unknown"] * 36 + ["committed"] * 64


def test_an_operation_id_that_a_caller_gave_is_remembered_for_500_changes(
    store: Store, client: redis.Redis
) -> None:
    said_once = Message("user", "order 10 chairs")
    store.append_to_thread("s", said_once, operation_id="webhook")
    for n in range(499):
        store.append_to_thread("s", Message("user", "x"), operation_id=f"op-{n}")
    store.append_to_thread("s", said_once, operation_id="webhook")
    for n in range(800):
        store.append_to_thread("s", Message("user", "x"), operation_id=f"more-{n}")
    assert client.hlen("ops:{s}") <= 1101  # type: ignore[operator]
    store.append_to_thread("s", Message("user", "x"), operation_id="more-400")
    assert [line for line in lines(store) if "chairs" in line] == ["user:order 10 chairs"]
    assert len(lines(store)) == 1300


@pytest.mark.parametrize(
    "operation_id", ["", "#1", "a b", "x 1 y", "{}", "a\n", "x" * 200, 5, b"x"]
)
def test_an_operation_id_follows_the_rule_of_session_ids(
    store: Store, client: redis.Redis, operation_id: Any
) -> None:
    before = dump(client)
    with pytest.raises(InvalidInput, match="operation id"):
        store.append_to_thread("s", Message("user", "x"), operation_id=operation_id)
    assert dump(client) == before
