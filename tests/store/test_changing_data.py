"""Changing a session's data beside others: only as it was seen, or only in part."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from miniagent_redis import InvalidInput, Message, RedisSessionManager, SessionChanged
from tests.support.words import OpenStore, said

Store = RedisSessionManager


def test_an_update_is_made_if_the_session_is_as_it_was_seen(store: Store) -> None:
    store.create_session("s", {"n": 1})
    seen = store.session_state("s")
    assert store.update_session("s", {"n": 2}, expected_version=seen.version)
    assert store.get_session("s") == {"n": 2}
    assert store.session_state("s").version == seen.version + 1


@pytest.mark.parametrize("change", ["update", "patch", "turn", "append", "clear"])
def test_an_update_is_refused_if_anything_was_written_since(store: Store, change: str) -> None:
    store.create_session("s", {"n": 1})
    seen = store.session_state("s")
    if change == "update":
        store.update_session("s", {"n": 5})
    elif change == "patch":
        store.patch_session("s", {"n": 5})
    elif change == "turn":
        store.commit_turn(store.begin_turn("s", "hi"), [said("x")])
    elif change == "append":
        store.append_to_thread("s", Message("user", "x"))
    else:
        store.clear_thread("s")
    before = store.session_state("s")
    with pytest.raises(SessionChanged) as caught:
        store.update_session("s", {"n": 2}, expected_version=seen.version)
    assert (caught.value.expected, caught.value.version) == (seen.version, before.version)
    assert caught.value.session_id == "s"
    assert store.session_state("s") == before
    assert store.update_session("s", {"n": 2}, expected_version=before.version)


def test_an_update_of_what_is_not_there_says_so(store: Store) -> None:
    store.create_session("s", user_id="ada")
    assert not store.update_session("t", {}, expected_version=1)
    assert not store.update_session("s", {}, expected_version=1, user_id="bo")
    assert not store.patch_session("t", {"a": 1})
    assert not store.patch_session("s", {"a": 1}, user_id="bo")
    assert store.get_session("s") == {}


@pytest.mark.parametrize("version", [-1, 1.0, "1", True])
def test_a_version_is_a_whole_number(store: Store, version: Any) -> None:
    store.create_session("s")
    with pytest.raises(InvalidInput, match="expected_version"):
        store.update_session("s", {}, expected_version=version)


@pytest.mark.parametrize(
    ("data", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": {"b": {"c": 2}}}, {"a": {"b": {"c": 2}}}),
        ({"n": 2**70, "f": 1.0}, {}, {"n": 2**70, "f": 1.0}),
    ],
)
def test_a_patch_does_what_rfc_7396_says(store: Store, data: Any, patch: Any, result: Any) -> None:
    store.create_session("s", data)
    assert store.patch_session("s", patch)
    assert repr(store.get_session("s")) == repr(result)


@pytest.mark.parametrize("patch", [None, [], "a", 1, {"a": object()}])
def test_what_is_no_patch_changes_nothing(store: Store, patch: Any) -> None:
    store.create_session("s", {"a": 1})
    before = store.session_state("s")
    with pytest.raises(InvalidInput):
        store.patch_session("s", patch)
    assert store.session_state("s") == before


def test_a_patch_leaves_what_newer_versions_keep_in_the_document(store: Store) -> None:
    store.create_session("s", {"a": 1})
    core = store.parts.core
    where = core.where("session", "s")
    raw: Any = store.client.get("session:{s}")
    document = {**core.format.decode(raw, where), "title": "Tea"}
    store.client.set("session:{s}", core.format.encode(document, where), keepttl=True)
    assert store.patch_session("s", {"b": 2})
    raw = store.client.get("session:{s}")
    assert core.format.decode(raw, where) == {**document, "data": {"a": 1, "b": 2}}


def test_of_many_who_patch_at_the_same_time_nobody_loses_anything(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    stores[0].create_session("s", {"mine": {}})

    def patch(number: int) -> None:
        for n in range(10):
            assert stores[number].patch_session("s", {"mine": {f"{number}-{n}": n}})

    threads = [threading.Thread(target=patch, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{number}-{n}": n for number in range(4) for n in range(10)}
    assert stores[0].get_session("s") == {"mine": expected}


@pytest.mark.parametrize("times", [99, 100])
def test_a_patch_for_which_others_are_too_fast_is_tried_a_hundred_times(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    other, read, left = open_store(), store.parts.sessions.read, list(range(times))
    store.create_session("s", {})

    def read_and_be_late(session_id: str, user_id: str | None) -> Any:
        found = read(session_id, user_id)
        if left:
            other.patch_session("s", {f"other-{left.pop()}": 1})
        return found

    monkeypatch.setattr(store.parts.sessions, "read", read_and_be_late)
    if times < 100:
        assert store.patch_session("s", {"mine": 1})
    else:
        with pytest.raises(SessionChanged):
            store.patch_session("s", {"mine": 1})
    assert left == []
    others = dict.fromkeys([f"other-{number}" for number in range(times)], 1)
    assert store.get_session("s") == others | ({"mine": 1} if times < 100 else {})


def test_data_that_was_read_is_not_written_into_a_session_made_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_session("s", {"whose": "alice"}, user_id="alice")
    sessions = store.parts.sessions
    read = sessions.read

    def read_and_be_late(session_id: str, user_id: str | None) -> Any:
        found = read(session_id, user_id)
        monkeypatch.undo()
        store.delete_session("s")
        store.clock.advance(1)  # type: ignore[attr-defined]
        store.create_session("s", {"whose": "bob"}, user_id="bob")
        return found

    monkeypatch.setattr(sessions, "read", read_and_be_late)
    assert not store.update_session("s", {"secret": "alice's"})
    assert store.get_session("s", user_id="bob") == {"whose": "bob"}
