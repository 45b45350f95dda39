"""Branches: sessions that begin with what another one has, told by both."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis.errors import (
    InvalidInput,
    RateLimited,
    SessionExists,
    SessionNotFound,
    SessionTooLarge,
)
from miniagent_redis.fsck import check
from miniagent_redis.models import EventType, Message, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store import branch_index, moving, places
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.words import OpenStore, call, lines, result, said

Store = RedisSessionManager
ONE = ["user:one", "assistant:", "tool:ok", "assistant:1"]
TWO = ["user:two", "assistant:2"]


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    """Make a session with two turns, the first of which used a tool."""
    store.create_session("s", {"a": 1}, user_id="ada", agent_name="Bot")
    turn = store.begin_turn("s", "one", turn_id="t1")
    spent = UsageTotals(input_tokens=5, tool_calls=1)
    store.commit_turn(turn, [call("1"), result("1"), said("1")], spent=spent)
    store.commit_turn(store.begin_turn("s", "two", turn_id="t2"), [said("2")])


def branch_ids(store: Store, session_id: str = "s") -> list[str]:
    return [each["session_id"] for each in store.list_branches(session_id, user_id="ada")]


# --- what a branch is -----------------------------------------------------------------------


def test_a_branch_has_the_messages_the_data_and_the_owner(store: Store) -> None:
    branch = store.fork_session("s", user_id="ada")
    assert store.load_thread(branch).messages == store.load_thread("s").messages
    state, origin = store.session_state(branch, user_id="ada"), store.session_state("s")
    told = (state.user_id, state.agent_name, state.data, state.message_count, state.bytes)
    assert told == ("ada", "Bot", {"a": 1}, 6, origin.bytes)
    assert state.forked_from == {"session_id": "s", "turn_id": "t2", "position": 6}
    assert origin.forked_from is None


def test_it_counts_for_no_usage_and_goes_on_by_itself(store: Store) -> None:
    branch = store.fork_session("s", "t1")
    state = store.session_state(branch)
    counters = (state.version, state.turns, state.input_tokens, state.tool_calls)
    assert counters == (1, 0, 0, 0)
    assert state.epoch != store.session_state("s").epoch
    store.commit_turn(store.begin_turn(branch, "other"), [said("way")])
    assert lines(store, branch) == [*ONE, "user:other", "assistant:way"]
    assert lines(store) == [*ONE, *TWO]
    events = store.read_events(branch, "")
    assert events[0].type == EventType.SESSION_CREATED
    assert EventType.GAP not in [event.type for event in events]


@pytest.mark.parametrize(
    ("at", "before", "kept"),
    [
        ("t1", False, 4), ("t1", True, 0), ("t2", False, 6), ("t2", True, 4),
        (0, False, 0), (1, False, 1), (4, False, 4), (6, False, 6), (99, False, 6),
        (None, False, 6),
    ],
)  # fmt: skip
def test_it_goes_up_to_a_turn_or_a_position(
    store: Store, at: str | int | None, before: bool, kept: int
) -> None:
    assert lines(store, store.fork_session("s", at, before=before)) == [*ONE, *TWO][:kept]


def test_it_goes_up_to_a_message(store: Store) -> None:
    messages = store.load_thread("s").messages
    for kept in (1, 4, 5):
        assert len(lines(store, store.fork_session("s", messages[kept - 1].id))) == kept
    before = store.fork_session("s", messages[4].id, before=True)
    assert lines(store, before) == ONE


def test_a_call_is_never_parted_from_its_results(store: Store) -> None:
    messages = store.load_thread("s").messages
    for at in (2, messages[1].id):
        with pytest.raises(InvalidInput, match="cannot be cut off from its call"):
            store.fork_session("s", at)
    with pytest.raises(InvalidInput, match="cannot be cut off from its call"):
        store.fork_session("s", messages[2].id, before=True)
    assert len(store.list_sessions("ada")) == 1


@pytest.mark.parametrize("at", ["nothing", -1, "", 1.5, b"t1", True])
def test_no_such_place(store: Store, at: Any) -> None:
    with pytest.raises(InvalidInput):
        store.fork_session("s", at)
    assert len(store.list_sessions("ada")) == 1


def test_a_place_far_back_is_found_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "FIRST", 2)
    monkeypatch.setattr(places, "PAGE", 3)
    monkeypatch.setattr(moving, "_PAGE", 2)
    for at, before, kept in (("t1", False, 4), ("t1", True, 0), ("t2", True, 4)):
        assert len(lines(store, store.fork_session("s", at, before=before))) == kept
    store.create_session("long")
    store.append_to_thread("long", [Message("user", str(n), id=f"m{n}") for n in range(20)])
    for n in (0, 7, 19):
        assert len(lines(store, store.fork_session("long", f"m{n}"))) == n + 1


def test_what_is_open_is_not_in_it(store: Store) -> None:
    turn = store.begin_turn("s", "three")
    branch = store.fork_session("s")
    assert store.session_state(branch).open_turn is None
    assert lines(store, branch) == [*ONE, *TWO]
    store.commit_turn(turn, [said("3")])


def test_others_find_no_place_to_branch_from(store: Store) -> None:
    for action in (store.fork_session, store.list_branches):
        with pytest.raises(SessionNotFound):
            action("s", user_id="eve")
    with pytest.raises(SessionNotFound):
        store.fork_session("none")


# --- limits ---------------------------------------------------------------------------------


def test_it_has_a_deadline_of_its_own(store: Store, clock: ManualClock) -> None:
    store.extend_session_ttl("s", 100)
    clock.advance(60)
    branch, short = store.fork_session("s"), store.fork_session("s", ttl=10)
    forever = store.fork_session("s", ttl="never")
    now = clock.time()
    assert store.session_state(branch).expires_at == pytest.approx(now + 100, abs=1)
    assert store.session_state(short).expires_at == pytest.approx(now + 10, abs=1)
    assert store.session_state(forever).expires_at is None
    clock.advance(50)  # the origin is over
    assert branch_ids_of_all(store) == {branch, forever}


def branch_ids_of_all(store: Store) -> set[str]:
    return {each["session_id"] for each in store.list_sessions("ada")}


def test_it_has_the_absolute_end_of_a_new_session(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(session_ttl=100, session_max_age=150)
    branch = store.fork_session("s")
    clock.advance(90)
    store.touch_session(branch)
    assert store.session_state(branch).expires_at == pytest.approx(clock.time() + 60, abs=1)


def test_it_counts_as_a_session_of_its_user(open_store: OpenStore) -> None:
    store = open_store(max_sessions_per_user=2)
    branch = store.fork_session("s")
    with pytest.raises(RateLimited):
        store.fork_session("s")
    assert branch_ids(store) == [branch]
    store.delete_session(branch)
    assert store.fork_session("s")


def test_it_may_be_too_large(open_store: OpenStore) -> None:
    with pytest.raises(SessionTooLarge):
        open_store(max_session_size=300).fork_session("s")


def test_a_trimmed_thread_keeps_its_positions(open_store: OpenStore) -> None:
    store = open_store(max_session_size=2_000, on_full="trim")
    store.create_session("full")
    for number in range(20):
        turn = store.begin_turn("full", f"{number} " + "x" * 100, turn_id=f"n{number}")
        store.commit_turn(turn, [said("fine")])
    origin = store.load_thread("full")
    assert origin.head > 0
    branch = store.fork_session("full", "n18")
    found = store.load_thread(branch)
    assert (found.head, found.count) == (origin.head, origin.count - 2)
    assert found.messages == origin.messages[:-2]
    with pytest.raises(InvalidInput):
        store.fork_session("full", 1)


# --- again ----------------------------------------------------------------------------------


def test_a_repetition_returns_what_is_there(store: Store) -> None:
    assert store.fork_session("s", "t1", new_id="b", user_id="ada") == "b"
    store.append_to_thread("b", Message("user", "more"))
    assert store.fork_session("s", "t1", new_id="b", user_id="ada") == "b"
    assert lines(store, "b") == [*ONE, "user:more"]
    with pytest.raises(SessionExists):
        store.fork_session("s", "t2", new_id="b")  # another branch than that one
    store.create_session("taken", user_id="eve")
    with pytest.raises(SessionExists):
        store.fork_session("s", new_id="taken")


def test_of_two_repetitions_at_once_the_slower_one_returns_what_the_faster_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches = store.parts.branches
    is_made, looks = branches._is_made, iter([False])  # the other one has not made it yet
    assert store.fork_session("s", new_id="b") == "b"
    monkeypatch.setattr(branches, "_is_made", lambda *args: next(looks, is_made(*args)))
    assert store.fork_session("s", new_id="b") == "b"


def test_any_id_can_be_a_branch_s(store: Store) -> None:
    names = ["with space\n and line", "ü{}" * 200, "b"]
    for name in names:
        assert store.fork_session("s", new_id=name) == name
    assert branch_ids(store) == names[::-1]
    assert store.session_state(names[1]).message_count == 6


def test_the_data_is_sound(store: Store) -> None:
    store.fork_session("s", "t1")
    store.set_title("s", "title")
    store.rewind("s", "t1")
    assert check(store) == []


# --- which branches there are ----------------------------------------------------------------


def test_a_session_lists_its_branches(store: Store, clock: ManualClock) -> None:
    assert store.list_branches("s") == []
    first = store.fork_session("s", "t1")
    clock.advance(1)
    second = store.fork_session("s", title="other way")
    third = store.fork_session(first)
    assert branch_ids(store) == [second, first]
    assert branch_ids(store, first) == [third]
    told = store.list_branches("s")
    assert [each["title"] for each in told] == ["other way", None]
    assert told[1]["forked_from"] == {"session_id": "s", "turn_id": "t1", "position": 4}
    listed = {each["session_id"]: each["forked_from"] for each in store.list_sessions("ada")}
    assert listed[third] == {"session_id": first, "turn_id": "t1", "position": 4}
    assert listed["s"] is None


def test_branches_that_have_ended_are_struck_out(
    store: Store, clock: ManualClock, client: redis.Redis
) -> None:
    first, second = store.fork_session("s"), store.fork_session("s", ttl=10)
    store.delete_session(first)
    assert branch_ids(store) == [second]
    noted: Any = client.hget("ops:{s}", "branches")
    assert first.encode() in noted  # it might have been on its way
    clock.advance(61)
    assert branch_ids(store) == []
    assert client.hget("ops:{s}", "branches") == b""


def test_the_newest_branches_are_kept_in_mind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_index, "MOST", 3)
    made = [store.fork_session("s", 0) for _ in range(5)]
    assert branch_ids(store) == made[:1:-1]
    monkeypatch.setattr(branch_index, "_MOST_BYTES", 120)
    made.append(store.fork_session("s", 0))
    assert branch_ids(store) == made[:-3:-1]


def test_a_branch_that_gets_a_new_id_is_still_one(store: Store) -> None:
    branch = store.fork_session("s")
    renewed = store.renew_session_id(branch)
    assert branch_ids(store) == [renewed]
    moved = store.renew_session_id("s")
    assert branch_ids(store, moved) == [renewed]


def test_a_branch_of_anothers_is_not_told(store: Store) -> None:
    branch = store.fork_session("s")
    store.renew_session_id(branch, new_user_id="eve")
    assert branch_ids(store) == []
