"""Any text is the id of a session: it is another one than any other text, and comes back whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagent_redis import Message, RedisSessionManager, SessionExists, SessionNotFound
from miniagent_redis.fsck import check
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.keys import GRACE_MS, Keys, decode_id, encode_id
from tests.support.cluster import one_node
from tests.support.words import said

Store = RedisSessionManager
IDS = [
    "telegram:-1003538414719:91088", "-1003538414719", "+4915112345678", "_x7Jt0kzvQ", "slack/C0/1",
    "-Vq1oX2s0mE", "ada+bo@ex.org", "a b", "a{b}", "{", "}", "{}", "a*?[b]", "100%", "%41", "A",
    "a\nb", "\x00", "a\x00", "é", "e\u0301", "日本", "🙂", "\ud83d", "\udc00\ud800", " ", "~", "..",
    "x" * 129, "x" * 300, "x" * 301, "é" * 100, "%sha256:" + "0" * 64, "\ud800" * 99, "x" * 20_000,
]  # fmt: skip


def chatted(store: Store, session_id: str) -> None:
    store.create_session(session_id, {"is": session_id}, user_id="ada")
    store.commit_turn(store.begin_turn(session_id, "hi"), [said(session_id)])


@pytest.mark.parametrize("session_id", IDS, ids=lambda text: ascii(text)[:30])
def test_a_session_of_any_id_lives_like_every_other(
    store: Store, clock: ManualClock, session_id: str
) -> None:
    chatted(store, session_id)
    with pytest.raises(SessionExists) as caught:
        store.create_session(session_id)
    assert caught.value.session_id == session_id
    assert store.get_session(session_id) == {"is": session_id}
    assert store.session_state(session_id, user_id="ada").session_id == session_id
    assert [m.text for m in store.load_thread(session_id).messages] == ["hi", session_id]
    assert {event.session_id for event in store.read_events(session_id)} == {session_id}
    assert [each["session_id"] for each in store.list_sessions()] == [session_id]
    assert [each["session_id"] for each in store.list_sessions("ada")] == [session_id]
    assert store.update_session(session_id, {"is": 2})
    assert check(store) == []
    with store.lock(session_id):
        assert store.is_locked(session_id)
    ended: list[str] = []
    clock.advance(3601)
    assert store.sweep([lambda session: ended.append(session.session_id)]) == 1
    assert ended == [session_id]
    with pytest.raises(SessionNotFound) as gone:
        store.session_state(session_id)
    assert gone.value.session_id == session_id
    store.create_session(session_id)
    assert store.delete_session(session_id)
    assert list(store.list_sessions()) == check(store) == []


def test_all_of_them_are_different_sessions(store: Store, clock: ManualClock) -> None:
    for session_id in IDS:
        chatted(store, session_id)
    clock.advance(1)
    for session_id in IDS:
        assert store.get_session(session_id) == {"is": session_id}
    listed: list[str] = []
    cursor: str | None = None
    while cursor or not listed:
        page = store.list_sessions("ada", 4, cursor)
        listed += [each["session_id"] for each in page]
        cursor = page.cursor
    assert sorted(listed) == sorted(IDS)
    assert check(store) == []
    assert store.client.keys("session:*") != []
    for session_id in IDS:
        assert store.delete_session(session_id)
    assert check(store) == []


@one_node
@pytest.mark.parametrize("session_id", ["a/b", "x" * 300, "\ud83d"], ids=ascii)
def test_the_check_of_the_data_names_a_session_by_its_id(store: Store, session_id: str) -> None:
    chatted(store, session_id)
    for index in store.client.keys("sessions:*"):
        store.client.delete(index)
    metadata = store.parts.core.keys.metadata(session_id)
    store.client.hset(metadata, "message_count", 1)
    found = {(each.kind, each.session_id) for each in check(store)}
    assert found == {("not_indexed", session_id), ("counter", session_id)}
    assert all(each.repaired for each in check(store, repair=True))
    assert [each["session_id"] for each in store.list_sessions()] == [session_id]
    assert check(store) == []


def test_notes_name_the_session(store: Store) -> None:
    session_id = "a/b\ud83d"
    store.create_session(session_id)
    store.subscribe(["session_updates"])
    store.append_to_thread(session_id, Message("user", "x"))
    store.list_sessions()  # the note is sent with what is due for the indexes
    note: Any = next(iter(store.get_messages()))
    assert note["data"]["session_id"] == session_id


def test_an_id_of_old_has_the_keys_it_had() -> None:
    assert Keys().of_session("A.b_c:d@e-f")[0] == "session:{A.b_c:d@e-f}"
    assert Keys("ns").session("x" * 128) == "ns:session:{" + "x" * 128 + "}"


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=100))
def test_a_key_tells_the_id_of_its_session(session_id: str) -> None:
    encoded = encode_id(session_id)
    assert not set(encoded) & set("{}*?[]^\\ \n\r\x00")
    assert decode_id(encoded) == (None if encoded.startswith("%sha256:") else session_id)


@pytest.mark.parametrize("tag", ["%", "%4", "%41", "%ff", "a b", "%2f", "é", ""])
def test_what_is_no_encoded_id_is_none(tag: str) -> None:
    assert decode_id(tag) is None


def test_another_programs_bytes_in_an_index_stop_no_sweep(store: Store, clock: ManualClock) -> None:
    store.create_session("s", ttl=1)
    shard = store.parts.core.keys.shard("s")
    store.client.zadd(f"deadlines:{{{shard}}}", {b"\xff\xfe": 1})
    clock.advance(GRACE_MS / 1000)
    assert store.sweep() == 1
    assert json.dumps(list(store.list_sessions())) == "[]"
