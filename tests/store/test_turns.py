"""The turn protocol: begin, stage, commit, abort, resolve; one holder, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis.errors import InvalidInput, TurnSuperseded
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import call, lines, result, said

Store = RedisSessionManager


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s", user_id="ada")


def test_a_turn_enters_the_thread_whole_when_it_is_committed(store: Store) -> None:
    turn = store.begin_turn("s", "What is 2+3?")
    assert not turn.resumed
    assert lines(store) == []
    turn = store.stage_step(turn, [call("1")])
    turn = store.stage_step(turn, [result("1", "5")])
    assert lines(store) == []
    assert [m.role for m in turn.staged] == ["user", "assistant", "tool"]

    version = store.commit_turn(turn, [said("5")], spent=UsageTotals(10, 2, 1, tool_calls=1))

    assert lines(store) == ["user:What is 2+3?", "assistant:", "tool:5", "assistant:5"]
    state = store.session_state("s")
    assert (state.version, state.turns, state.message_count) == (version, 1, 4)
    assert (state.input_tokens, state.output_tokens, state.tool_calls) == (10, 2, 1)
    assert state.open_turn is None
    messages = store.load_thread("s").messages
    assert {m.turn_id for m in messages} == {turn.turn_id}
    assert messages[1].tool_calls[0].arguments == {"of": "1"}


def test_begin_gives_the_thread_so_far(store: Store) -> None:
    store.append_to_thread("s", [Message("user", "a"), Message("assistant", "b")])
    turn = store.begin_turn("s", "c")
    assert [m.text for m in turn.thread.messages] == ["a", "b"]
    assert (turn.thread.start, turn.thread.count) == (0, 2)
    assert [m.text for m in turn.staged] == ["c"]


def test_an_open_turn_is_seen_and_its_steps_are_not(store: Store) -> None:
    turn = store.begin_turn("s", "hello", turn_id="mine")
    assert store.session_state("s").open_turn == "mine"
    assert store.list_sessions()[0]["open_turn"] == "mine"
    assert store.resolve_turn("s", "mine") == "open"
    store.commit_turn(turn, [said("hi")])
    assert store.session_state("s").open_turn is None
    assert store.resolve_turn("s", "mine") == "committed"
    assert store.resolve_turn("s", "other") == "unknown"


def test_a_repeated_commit_changes_nothing_and_answers_the_same(
    store: Store, client: redis.Redis
) -> None:
    turn = store.begin_turn("s", "one")
    version = store.commit_turn(turn, [said("1")], spent=UsageTotals(1, 1))
    store.append_to_thread("s", Message("user", "later"))
    before = dump(client)
    assert store.commit_turn(turn, [said("1")], spent=UsageTotals(1, 1)) == version
    assert dump(client) == before


def test_a_repeated_commit_is_answered_while_the_next_turn_runs(
    store: Store, client: redis.Redis
) -> None:
    turn = store.begin_turn("s", "one")
    version = store.commit_turn(turn, [said("1")])
    store.begin_turn("s", "two")
    before = dump(client)
    assert store.commit_turn(turn, [said("1")]) == version
    assert dump(client) == before


def test_a_repeated_step_is_staged_once(store: Store) -> None:
    turn = store.begin_turn("s", "one")
    first = store.stage_step(turn, [call("1"), result("1")])
    again = store.stage_step(turn, first.staged[1:])
    assert again == first
    store.commit_turn(again, [said("done")])
    assert lines(store) == ["user:one", "assistant:", "tool:ok", "assistant:done"]


def test_a_step_that_does_not_follow_the_others_is_refused(
    store: Store, client: redis.Redis
) -> None:
    turn = store.begin_turn("s", "one")
    store.stage_step(turn, [call("1")])
    before = dump(client)
    with pytest.raises(TurnSuperseded):
        store.stage_step(turn, [call("2")])  # `turn` does not know of the first step
    assert dump(client) == before


def test_a_commit_that_does_not_know_all_steps_is_refused(
    store: Store, client: redis.Redis
) -> None:
    turn = store.begin_turn("s", "one")
    store.stage_step(turn, [call("1")])
    before = dump(client)
    with pytest.raises(TurnSuperseded):
        store.commit_turn(turn, [said("a call without its result would come before me")])
    assert dump(client) == before


def test_abort_drops_the_turn_and_leaves_the_thread(store: Store) -> None:
    store.append_to_thread("s", Message("user", "before"))
    turn = store.begin_turn("s", "one")
    turn = store.stage_step(turn, [call("1")])
    assert store.abort_turn(turn, RuntimeError("the model is gone"))
    assert not store.abort_turn(turn)
    assert lines(store) == ["user:before"]
    assert store.resolve_turn("s", turn.turn_id) == "unknown"
    with pytest.raises(TurnSuperseded):
        store.stage_step(turn, [result("1")])
    assert store.commit_turn(store.begin_turn("s", "two"), [said("2")])


def test_a_turn_id_that_was_aborted_can_be_used_again(store: Store) -> None:
    store.abort_turn(store.begin_turn("s", "one", turn_id="t"))
    store.commit_turn(store.begin_turn("s", "two", turn_id="t"), [said("2")])
    assert lines(store) == ["user:two", "assistant:2"]


def test_a_turn_id_that_was_committed_cannot_be_begun_again(
    store: Store, client: redis.Redis
) -> None:
    store.commit_turn(store.begin_turn("s", "one", turn_id="t"), [said("1")])
    before = dump(client)
    with pytest.raises(InvalidInput, match="committed already"):
        store.begin_turn("s", "one", turn_id="t")
    assert dump(client) == before


def test_a_turn_id_that_was_committed_supersedes_nobody(store: Store, client: redis.Redis) -> None:
    store.commit_turn(store.begin_turn("s", "one", turn_id="t"), [said("1")])
    running = store.begin_turn("s", "two")
    before = dump(client)
    with pytest.raises(InvalidInput, match="committed already"):
        store.begin_turn("s", "one", turn_id="t", on_busy="interrupt")
    assert dump(client) == before
    store.commit_turn(running, [said("2")])


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_begin_that_arrives_after_the_turns_end_opens_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """As when it was sent twice, and the first copy was held up in the network."""
    sent: list[tuple[Any, ...]] = []
    run = store.parts.core.scripts.run
    monkeypatch.setattr(
        store.parts.core.scripts,
        "run",
        lambda *args, **options: sent.append(args) or run(*args, **options),
    )
    turn = store.begin_turn("s", "hi")
    late = sent[-1]
    store.commit_turn(turn, [said("hello")]) if end == "commit" else store.abort_turn(turn)
    assert run(*late)[0] == "superseded"
    assert store.session_state("s").open_turn is None
    assert store.resume_turn("s") is None
    store.commit_turn(store.begin_turn("s", "next"), [said("fine")])
