"""Going back in a conversation: what was said since is kept as a branch, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from miniagent_redis.errors import (
    InvalidInput,
    RateLimited,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    SessionWaiting,
)
from miniagent_redis.models import EventType, Message, WaitingCall
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.session import SessionThread
from miniagent_redis.store.branches import Branches
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.waiting import LIMIT
from tests.support.words import OpenStore, call, lines, result, said

Store = RedisSessionManager
ALL = ["user:one", "assistant:", "tool:ok", "assistant:1", "user:two", "assistant:2"]


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s", {"a": 1}, user_id="ada")
    store.commit_turn(
        store.begin_turn("s", "one", turn_id="t1"), [call("1"), result("1"), said("1")]
    )
    store.commit_turn(store.begin_turn("s", "two", turn_id="t2"), [said("2")])


def ids(store: Store) -> set[str]:
    return {each["session_id"] for each in store.list_sessions("ada")}


@pytest.mark.parametrize(
    ("to", "before", "kept"), [("t1", False, 4), ("t2", True, 4), ("t1", True, 0), (1, False, 1)]
)
def test_the_end_goes_and_the_branch_has_it_all(
    store: Store, to: str | int, before: bool, kept: int
) -> None:
    version = store.session_state("s").version
    branch = store.rewind("s", to, before=before, user_id="ada")
    assert branch
    assert lines(store) == ALL[:kept]
    assert lines(store, branch) == ALL
    assert [each["session_id"] for each in store.list_branches("s")] == [branch]
    state = store.session_state("s")
    assert (state.version, state.message_count, state.data) == (version + 1, kept, {"a": 1})
    store.commit_turn(store.begin_turn("s", "else"), [said("3")])
    assert lines(store) == [*ALL[:kept], "user:else", "assistant:3"]


def test_to_its_end_nothing_is_done(store: Store) -> None:
    version = store.session_state("s").version
    for to in ("t2", 6, 99):
        assert store.rewind("s", to) is None
        assert store.rewind("s", to, new_id="n") is None
    assert ids(store) == {"s"}
    assert store.session_state("s").version == version


def test_watchers_are_told_what_is_kept_and_where_the_rest_is(store: Store) -> None:
    branch = store.rewind("s", "t1")
    last = store.read_events("s", "")[-1]
    assert last.type == EventType.HISTORY_CLEARED
    assert (last.data["kept"], last.data["branch"]) == (4, branch)


def test_what_others_know_of_the_thread_is_forgotten(store: Store, open_store: OpenStore) -> None:
    thread = SessionThread(open_store(), "s")
    assert len(thread) == 6
    store.rewind("s", "t1")
    store.append_to_thread("s", [Message("user", "x"), Message("user", "y")])
    assert [message.text for message in thread.refresh()] == ["one", "", "ok", "1", "x", "y"]


def test_while_a_turn_is_open_nobody_goes_back(store: Store, clock: ManualClock) -> None:
    turn = store.begin_turn("s", "three")
    with pytest.raises(SessionBusy) as caught:
        store.rewind("s", "t1")
    assert caught.value.lease_remaining > 0
    clock.advance(store.config.lease_ttl + 1)
    with pytest.raises(SessionBusy) as caught:  # it was abandoned, but not what was said
        store.rewind("s", "t1")
    assert caught.value.lease_remaining == 0
    store.abort_turn(turn)
    assert store.rewind("s", "t1")


def test_watchers_are_told_the_end_of_a_turn_whose_beginning_was_removed(
    store: Store, clock: ManualClock
) -> None:
    turn = store.begin_turn("s", "three")
    clock.advance(31)  # it is left behind
    assert store.truncate_thread("s", 4, user_id="ada") == 2
    last = store.read_events("s", "")[-2:]
    assert [event.type for event in last] == [EventType.TURN_FAILED, EventType.HISTORY_CLEARED]
    assert last[0].turn_id == turn.turn_id


def test_while_a_turn_waits_nobody_goes_back(store: Store) -> None:
    turn = store.stage_step(store.begin_turn("s", "three"), [call("9")])
    store.parts.parking.park_turn(turn, [WaitingCall("9", "tool")])
    with pytest.raises(SessionWaiting) as caught:
        store.rewind("s", "t1")
    assert [each.id for each in caught.value.calls] == ["9"]  # type: ignore[attr-defined]
    assert ids(store) == {"s"}


def test_there_has_to_be_such_a_place(store: Store) -> None:
    for to, before in (("none", False), (2, False), (store.load_thread("s").messages[2].id, True)):
        with pytest.raises(InvalidInput):
            store.rewind("s", to, before=before)
    with pytest.raises(SessionNotFound):
        store.rewind("s", "t1", user_id="eve")
    with pytest.raises(SessionNotFound):
        store.rewind("none", "t1")
    assert ids(store) == {"s"}
    assert lines(store) == ALL


def test_who_may_have_no_more_sessions_keeps_all(open_store: OpenStore, store: Store) -> None:
    with pytest.raises(RateLimited):
        open_store(max_sessions_per_user=1).rewind("s", "t1")
    assert lines(store) == ALL


def test_a_repetition_changes_nothing_more(store: Store) -> None:
    assert store.rewind("s", "t1", new_id="b") == "b"
    store.append_to_thread("s", Message("user", "since"))
    assert store.rewind("s", "t1", new_id="b") == "b"
    assert lines(store) == [*ALL[:4], "user:since"]
    assert lines(store, "b") == ALL


def test_who_died_over_it_is_repeated(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch is there, unused, and nothing was removed: it is made anew."""
    store.parts.branches.keep_all("s", "b", None, bool)
    store.append_to_thread("s", Message("user", "since"))
    assert store.rewind("s", "t1", new_id="b") == "b"
    assert lines(store, "b") == [*ALL, "user:since"]
    assert lines(store) == ALL[:4]


def test_a_session_that_somebody_uses_is_not_written_over(store: Store) -> None:
    store.parts.branches.keep_all("s", "used", None, bool)
    store.append_to_thread("used", Message("user", "mine"))
    store.create_session("other", user_id="ada")
    for taken in ("used", "other"):
        with pytest.raises(SessionExists):
            store.rewind("s", "t1", new_id=taken)
    assert lines(store, "used") == [*ALL, "user:mine"]
    assert lines(store) == ALL


# --- others write meanwhile -------------------------------------------------------------------


@pytest.fixture
def meanwhile(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Store], Any]], None]:
    """Have somebody else do something between the copy and the cut, once."""

    def arrange(action: Callable[[Store], Any]) -> None:
        other, copy, todo = open_store(), store.parts.branches.keep_all, [action]

        def keep_all(*args: Any) -> Any:
            made = copy(*args)
            while todo:
                todo.pop()(other)
            return made

        monkeypatch.setattr(store.parts.branches, "keep_all", keep_all)

    return arrange


def test_what_was_added_meanwhile_is_in_the_branch_too(
    store: Store, meanwhile: Callable[..., None]
) -> None:
    meanwhile(lambda other: other.append_to_thread("s", Message("user", "three")))
    branch = store.rewind("s", "t1")
    assert branch
    assert lines(store) == ALL[:4]
    assert lines(store, branch) == [*ALL, "user:three"]
    assert ids(store) == {"s", branch}


def test_a_turn_that_was_begun_meanwhile_goes_on(
    store: Store, meanwhile: Callable[..., None]
) -> None:
    turns = []
    meanwhile(lambda other: turns.append(other.begin_turn("s", "three")))
    with pytest.raises(SessionBusy):
        store.rewind("s", "t1")
    assert ids(store) == {"s"}
    store.commit_turn(turns[0], [said("3")])
    assert lines(store) == [*ALL, "user:three", "assistant:3"]


def test_of_two_who_go_back_at_once_the_second_goes_on_from_there(
    store: Store, meanwhile: Callable[..., None]
) -> None:
    kept = []
    meanwhile(lambda other: kept.append(other.rewind("s", "t1")))
    with pytest.raises(InvalidInput):
        store.rewind("s", "t2", before=True)  # that turn is gone by then
    assert lines(store) == ALL[:4]
    assert lines(store, kept[0]) == ALL
    assert ids(store) == {"s", kept[0]}


def test_many_who_go_back_and_write_at_once_lose_nothing(real_store: Store) -> None:
    store = real_store
    store.create_session("r")
    store.append_to_thread("r", [Message("user", f"0-{n}") for n in range(5)])

    def work(number: int) -> None:
        for n in range(5):
            if number % 2:
                store.append_to_thread("r", Message("user", f"{number}-{n}"))
            else:
                try:
                    store.rewind("r", 3)
                except SessionBusy:  # the others were faster, twenty times
                    continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(1, 5)))
    kept = [store.load_thread("r"), *(
        store.load_thread(each["session_id"]) for each in store.list_branches("r")
    )]  # fmt: skip
    there = {message.text for thread in kept for message in thread.messages}
    assert there >= {f"{number}-{n}" for number in (1, 3) for n in range(5)}


@pytest.mark.parametrize("is_written_to", [False, True])
def test_the_same_call_at_many_places_at_once_goes_back_once_and_loses_nothing(
    open_store: OpenStore, is_written_to: bool
) -> None:
    stores, added = [open_store() for _ in range(5)], ["x", "y", "z"] if is_written_to else []
    for number in range(20):
        session, branch, start = f"r{number}", f"b{number}", Barrier(len(stores))
        stores[0].create_session(session)
        stores[0].append_to_thread(session, [Message("user", text) for text in "abc"])

        def go_back(store: Store, session: str, branch: str, start: Barrier) -> str | None:
            start.wait(LIMIT)
            return store.rewind(session, 2, new_id=branch)

        def write(store: Store, session: str, start: Barrier) -> None:
            start.wait(LIMIT)
            for text in added:
                store.append_to_thread(session, Message("user", text))

        with ThreadPoolExecutor(len(stores)) as pool:
            each = [pool.submit(go_back, one, session, branch, start) for one in stores[1:]]
            pool.submit(write, stores[0], session, start).result()
        assert [one.result() for one in each] == [branch] * 4
        kept, here = lines(stores[0], branch), lines(stores[0], session)
        assert kept == [f"user:{text}" for text in "abc"] + kept[3:]
        assert here[:2] == ["user:a", "user:b"]
        assert kept[3:] + here[2:] == [f"user:{text}" for text in added]


def test_a_branch_that_is_put_in_anothers_place_just_now_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches = store.parts.branches
    branches.keep_all("s", "b", None, lambda: False)
    moved, looks = Branches._moved, []

    def moved_in_between(self: Branches, *args: Any) -> Any:
        looks.append(args)
        return ("", b"") if len(looks) == 1 else moved(self, *args)

    monkeypatch.setattr(Branches, "_moved", moved_in_between)
    assert store.rewind("s", "t1", new_id="b") == "b"
    assert lines(store, "b") == ALL
    store.delete_session("b")
    with pytest.raises(SessionExists):
        branches.keep_all("s", "b", None, lambda: False)
