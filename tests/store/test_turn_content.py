"""What a turn may hold, what it counts, and how long operations are remembered."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from attrs import evolve

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
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
    assert len(client.hkeys("ops:{s}")) == 64 + 4 + 100 + 100  # type: ignore[arg-type]


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
    assert client.hlen("ops:{s}") <= 641  # type: ignore[operator]
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


def later(store: Store, changes: int) -> None:
    for _ in range(changes):
        store.append_to_thread("s", Message("user", "of others"))


def test_a_turn_whose_id_a_caller_gave_is_not_begun_again_after_499_changes(store: Store) -> None:
    store.commit_turn(store.begin_turn("s", "order 10 chairs", turn_id="order"), [said("done")])
    later(store, 499)
    with pytest.raises(InvalidInput, match="order was committed already"):
        store.begin_turn("s", "order 10 chairs", turn_id="order")
    assert store.resolve_turn("s", "order") == "committed"
    assert lines(store).count("user:order 10 chairs") == 1


def test_nor_if_another_holder_has_finished_it(store: Store, clock: ManualClock) -> None:
    store.begin_turn("s", "order 10 chairs", turn_id="order")
    clock.advance(31)
    turn = store.resume_turn("s")
    assert turn is not None
    store.commit_turn(turn, [said("done")])
    later(store, 100)
    with pytest.raises(InvalidInput, match="order was committed already"):
        store.begin_turn("s", "order 10 chairs", turn_id="order")


def test_nor_if_it_was_stored_late(store: Store) -> None:
    turn = store.begin_turn("s", "order 10 chairs", turn_id="order")
    store.abort_turn(turn)
    store.replay_turn(evolve(turn, staged=(*turn.staged, said("done"))))
    later(store, 100)
    with pytest.raises(InvalidInput, match="order was committed already"):
        store.begin_turn("s", "order 10 chairs", turn_id="order")


def test_what_became_of_a_turn_is_known_however_much_happened_since(store: Store) -> None:
    turn = store.begin_turn("s", "hello")
    store.commit_turn(turn, [said("hi")])
    later(store, 100)
    assert store.resolve_turn("s", turn.turn_id) == "committed"
    assert store.resolve_turn("s", "another") == "unknown"
