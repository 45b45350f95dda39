"""Whole threads: exported, imported, copied, and cut off at an earlier end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from miniagent_redis.errors import (
    InvalidInput,
    RecordUnreadable,
    SchemaTooNew,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    SessionTooLarge,
)
from miniagent_redis.models import EventType, Message, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store import transfer
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump, watched
from tests.support.words import OpenStore, call, lines, result, said

Store = RedisSessionManager
EXCHANGE = [call("1", "2"), result("1"), result("2"), said("done")]
ROLES = ["user", "assistant", "tool", "tool", "assistant"]


@pytest.fixture(autouse=True)
def sessions(store: Store) -> None:
    """Make a session with a turn that used tools, and an empty one."""
    store.create_session("s", {"a": 1}, user_id="ada", agent_name="Bot")
    turn = store.begin_turn("s", "one", turn_id="t1")
    store.commit_turn(turn, EXCHANGE, spent=UsageTotals(input_tokens=5, tool_calls=2))
    store.create_session("t", user_id="ada")


def user(text: str) -> Message:
    return Message("user", text)


def many(count: int) -> list[Message]:
    return [user(str(number)) for number in range(count)]


# --- export and import ----------------------------------------------------------------------


def test_an_exported_thread_is_json_with_a_header(store: Store) -> None:
    header, *messages = json.loads(json.dumps(store.export_thread("s", user_id="ada")))
    told = [header[name] for name in ("kind", "session_id", "user_id", "agent_name", "data")]
    assert told == ["thread", "s", "ada", "Bot", {"a": 1}]
    assert (header["message_count"], header["input_tokens"], header["tool_calls"]) == (5, 5, 2)
    assert [message["role"] for message in messages] == ROLES
    assert {message["v"] for message in messages} == {header["v"]} == {1}


def test_an_import_gives_the_same_messages_and_counts_for_no_usage(store: Store) -> None:
    written = json.dumps(store.export_thread("s"))
    assert store.import_thread("t", json.loads(written), user_id="ada") == 5
    assert store.load_thread("t").messages == store.load_thread("s").messages
    state = store.session_state("t")
    assert (state.message_count, state.turns, state.input_tokens, state.tool_calls) == (5, 0, 0, 0)
    assert state.bytes == store.session_state("s").bytes


def test_members_that_this_version_does_not_know_are_kept(store: Store) -> None:
    store.import_thread("t", [{"v": 1, "role": "user", "content": "x", "mood": "good"}])
    assert store.load_thread("t").messages[0].extra == {"mood": "good"}
    assert store.export_thread("t")[1]["mood"] == "good"


def test_messages_can_be_imported_as_they_are_and_as_plain_data(
    store: Store, clock: ManualClock
) -> None:
    assert store.import_thread("t", [user("a"), {"role": "assistant", "content": "b"}]) == 2
    assert lines(store, "t") == ["user:a", "assistant:b"]
    assert {message.created_at for message in store.load_thread("t").messages} == {clock.time()}


def test_watchers_are_told_each_message_of_an_import(store: Store) -> None:
    last = store.read_events("t")[-1].id
    store.import_thread("t", store.export_thread("s"))
    told = store.read_events("t", last)
    assert {event.type for event in told} == {EventType.MESSAGE_ADDED}
    assert [event.data["message"]["role"] for event in told] == ROLES


def test_what_is_exported_is_of_one_moment(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, other = store.parts.threads, open_store()
    load = threads.load_thread
    meanwhile: Iterator[Any] = iter(
        [lambda: other.clear_thread("s"), lambda: other.append_to_thread("s", user("later"))]
    )

    def load_after_others(*args: Any, **kwargs: Any) -> Any:
        next(meanwhile)()
        return load(*args, **kwargs)

    monkeypatch.setattr(threads, "load_thread", load_after_others)
    header, *messages = store.export_thread("s")
    # It was cleared first, so it is begun anew; what was appended then is later than the header.
    assert (header["message_count"], messages) == (0, [])


def test_a_damaged_message_is_told_and_not_left_out(store: Store, client: redis.Redis) -> None:
    client.lset("thread:{s}", 2, "no record")
    with pytest.raises(RecordUnreadable) as caught:
        store.export_thread("s")
    assert (caught.value.key, caught.value.raw) == ("thread:{s}", b"no record")
    with pytest.raises(RecordUnreadable):
        store.copy_thread("s", "t")
    with pytest.raises(RecordUnreadable):
        store.truncate_thread("s", 2)  # it may be the result of a call
    assert store.copy_thread("s", "t", upto=1) == 1  # what lies before it is whole


def test_a_long_import_is_stored_in_pieces_that_part_no_call_from_its_results(
    store: Store, monkeypatch: pytest.MonkeyPatch, client: redis.Redis
) -> None:
    monkeypatch.setattr(transfer, "PAGE", 3)
    given = [user("0"), *EXCHANGE, *many(4)]
    seen: list[int] = []
    append = transfer.append_messages

    def append_and_look(*args: Any, **kwargs: Any) -> Any:
        reply = append(*args, **kwargs)
        seen.append(client.llen("thread:{t}"))  # type: ignore[arg-type]
        return reply

    monkeypatch.setattr(transfer, "append_messages", append_and_look)
    assert store.import_thread("t", given) == 9
    assert seen == [4, 7, 9]
    assert [message.id for message in store.load_thread("t").messages] == [m.id for m in given]


def test_pieces_are_small_in_bytes_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAGE_BYTES", 1000)
    version = store.session_state("t").version
    store.import_thread("t", [user("x" * 400) for _ in range(6)])
    assert store.session_state("t").version == version + 3


def test_an_import_that_broke_off_goes_on_where_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PAGE", 2)
    exported = store.export_thread("s")
    append, rounds = transfer.append_messages, iter([True, False])

    def append_or_die(*args: Any, **kwargs: Any) -> Any:
        if next(rounds):
            return append(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "append_messages", append_or_die)
    with pytest.raises(KeyboardInterrupt):
        store.import_thread("t", exported)
    assert len(lines(store, "t")) == 4
    monkeypatch.setattr(transfer, "append_messages", append)
    assert store.import_thread("t", exported) == 1
    assert lines(store, "t") == lines(store, "s")


def test_a_repeated_import_changes_nothing_however_late(store: Store, client: redis.Redis) -> None:
    exported = store.export_thread("s")
    store.import_thread("t", exported)
    for number in range(70):
        store.append_to_thread("t", user(str(number)))
    before = dump(client)
    assert store.import_thread("t", exported) == 0
    assert dump(client) == before


def test_messages_made_anew_are_known_by_what_they_say(store: Store) -> None:
    plain = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert store.import_thread("t", plain) == 2
    assert store.import_thread("t", [*plain, user("c")]) == 1
    assert lines(store, "t") == ["user:a", "assistant:b", "user:c"]


def test_a_session_with_other_messages_stays_as_it_is(store: Store, client: redis.Redis) -> None:
    before = dump(client)
    with pytest.raises(SessionExists, match="other messages") as caught:
        store.import_thread("s", many(9))
    assert caught.value.session_id == "s"
    assert dump(client) == before


def test_an_import_does_not_mix_with_what_others_write(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PAGE", 2)
    append, rounds = transfer.append_messages, iter([open_store()])

    def append_before_another(*args: Any, **kwargs: Any) -> Any:
        reply = append(*args, **kwargs)
        for other in rounds:
            other.append_to_thread("t", user("mine"))
        return reply

    monkeypatch.setattr(transfer, "append_messages", append_before_another)
    with pytest.raises(SessionExists):
        store.import_thread("t", many(4))
    assert lines(store, "t") == ["user:0", "user:1", "user:mine"]


def test_two_that_import_the_same_at_once_store_it_once(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PAGE", 2)
    given = many(6)
    append, rounds = transfer.append_messages, iter([open_store()])

    def append_behind_another(*args: Any, **kwargs: Any) -> Any:
        for first in rounds:
            assert first.import_thread("t", given) == 6
        return append(*args, **kwargs)

    monkeypatch.setattr(transfer, "append_messages", append_behind_another)
    assert store.import_thread("t", given) == 0
    assert len(lines(store, "t")) == 6


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("text", "one after the other"),
        (user("x"), "one after the other"),
        ({"role": "user", "content": "x"}, "one after the other"),
        (5, "one after the other"),
        ([5], "a message is a Message"),
        ([{"content": "x"}], "message 0 cannot be imported"),
        ([user("a"), {"role": "user", "content": 5}], "message 1 cannot be imported"),
        ([{"role": "user", "content": ""}], "the message is empty"),
        ([{"v": "1", "role": "user", "content": "x"}], "schema number"),
        ([user("a"), call("1")], "followed by its result"),
        ([{"kind": "thread", "message_count": 2}, user("a")], "their header tells of 2"),
    ],
)
def test_what_is_no_whole_conversation_is_refused_before_anything_is_written(
    store: Store, client: redis.Redis, given: Any, problem: str
) -> None:
    before = dump(client)
    with pytest.raises(InvalidInput, match=problem):
        store.import_thread("t", given)
    assert dump(client) == before


@pytest.mark.parametrize("wrong", [("", "ada"), ("t", "")])
def test_a_wrong_id_is_told_before_a_message_is_read(store: Store, wrong: tuple[str, str]) -> None:
    session_id, user_id = wrong
    messages = iter(many(1))
    with pytest.raises(InvalidInput):
        store.import_thread(session_id, messages, user_id=user_id)
    assert len([*messages]) == 1


def test_messages_of_a_newer_version_are_refused(store: Store) -> None:
    with pytest.raises(SchemaTooNew):
        store.import_thread("t", [{"v": 99, "role": "user", "content": "x"}])


def test_a_thread_that_is_too_large_is_refused_before_anything_is_written(
    open_store: OpenStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PAGE", 1)
    small = open_store(max_session_size=1000)
    before = dump(client)
    with pytest.raises(SessionTooLarge):
        small.import_thread("t", [user("x" * 400)] * 3)
    assert dump(client) == before


# --- copy -----------------------------------------------------------------------------------


def test_a_thread_is_copied_whole_or_up_to_a_position(store: Store) -> None:
    assert store.copy_thread("s", "t", upto=1, user_id="ada") == 1
    assert lines(store, "t") == ["user:one"]
    assert store.copy_thread("s", "t", user_id="ada") == 4  # the rest of it
    assert store.copy_thread("s", "t", upto=99) == 0
    assert store.load_thread("t").messages == store.load_thread("s").messages


def test_a_copy_parts_no_call_from_its_results(store: Store) -> None:
    for upto in (2, 3):
        with pytest.raises(InvalidInput, match="followed by its result"):
            store.copy_thread("s", "t", upto=upto)
    assert lines(store, "t") == []
    bad: Any
    for bad in (-1, 1.5, True):
        with pytest.raises(InvalidInput, match="upto"):
            store.copy_thread("s", "t", upto=bad)


def test_nothing_is_copied_to_or_from_anothers_session(store: Store) -> None:
    store.create_session("bobs", user_id="bob")
    for source, target in (("s", "bobs"), ("bobs", "t"), ("s", "nope")):
        with pytest.raises(SessionNotFound):
            store.copy_thread(source, target, user_id="ada")
    assert lines(store, "bobs") == lines(store, "t") == []


# --- truncate -------------------------------------------------------------------------------


def test_the_end_of_a_thread_is_removed(store: Store) -> None:
    before = store.session_state("s")
    store.append_to_thread("s", many(3))
    assert store.truncate_thread("s", 5, user_id="ada") == 3
    after = store.session_state("s")
    assert lines(store)[-1] == "assistant:done"
    assert (after.message_count, after.bytes) == (5, before.bytes)
    assert (after.turns, after.input_tokens) == (1, 5)  # what was spent stays spent
    assert after.version == before.version + 2
    assert store.truncate_thread("s", 0) == 5
    assert store.session_state("s").bytes == 0
    store.append_to_thread("s", user("anew"))
    assert lines(store) == ["user:anew"]


def test_a_long_end_is_removed_too(store: Store, client: redis.Redis) -> None:
    store.import_thread("t", many(2500))
    assert store.truncate_thread("t", 2) == 2498
    assert lines(store, "t") == ["user:0", "user:1"]
    records: Any = client.lrange("thread:{t}", 0, -1)
    assert store.session_state("t").bytes == sum(map(len, records))


def test_there_may_be_nothing_to_remove(store: Store) -> None:
    assert store.truncate_thread("s", 5) == 0
    assert store.truncate_thread("s", 99) == 0
    assert store.truncate_thread("t", 0) == 0
    assert len(lines(store)) == 5


@pytest.mark.parametrize("keep", [2, 3])
def test_a_call_is_not_cut_off_from_its_results(
    store: Store, client: redis.Redis, keep: int
) -> None:
    before = dump(client)
    with pytest.raises(InvalidInput, match=f"message {keep} is a tool's result"):
        store.truncate_thread("s", keep)
    assert dump(client) == before


@pytest.mark.parametrize("keep", [-1, 1.5, True, None, "1"])
def test_what_to_keep_is_a_number_of_messages(store: Store, keep: Any) -> None:
    with pytest.raises(InvalidInput, match="keep"):
        store.truncate_thread("s", keep)


def test_a_repetition_removes_nothing(store: Store, client: redis.Redis) -> None:
    assert store.truncate_thread("s", 1, operation_id="op") == 4
    store.append_to_thread("s", many(3))
    before = dump(client)
    assert store.truncate_thread("s", 1, operation_id="op") == 4
    assert dump(client) == before


def test_a_repetition_is_answered_also_where_it_could_not_cut_any_more(store: Store) -> None:
    assert store.truncate_thread("s", 1, operation_id="op") == 4
    store.clear_thread("s")
    store.append_to_thread("s", [call("1"), result("1")])
    assert store.truncate_thread("s", 1, operation_id="op") == 4
    assert len(lines(store)) == 2


def test_what_others_write_meanwhile_is_looked_at_before_it_is_cut(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = store.parts.threads
    load_tail, rounds = threads.load_tail, iter([open_store()])

    def look_before_another(*args: Any, **kwargs: Any) -> Any:
        found = load_tail(*args, **kwargs)
        for other in rounds:
            other.append_to_thread("s", [call("3"), result("3")])
        return found

    monkeypatch.setattr(threads, "load_tail", look_before_another)
    with pytest.raises(InvalidInput, match="message 6"):
        store.truncate_thread("s", 6)  # it was behind the end when it was looked at first
    assert len(lines(store)) == 7


def test_a_running_turn_is_not_cut_off_from_its_history(store: Store, client: redis.Redis) -> None:
    turn = store.begin_turn("s", "two")
    before = dump(client)
    with pytest.raises(SessionBusy) as caught:
        store.truncate_thread("s", 0)
    assert 0 < caught.value.lease_remaining <= store.config.lease_ttl
    assert dump(client) == before
    store.commit_turn(turn, [said("2")])
    assert store.truncate_thread("s", 5) == 2


def test_an_abandoned_turn_is_dropped_with_what_it_began_on(
    store: Store, clock: ManualClock
) -> None:
    turn = store.begin_turn("s", "two", turn_id="t2")
    store.stage_step(turn, [call("3")])
    clock.advance(store.config.lease_ttl + 1)
    last = store.read_events("s")[-1].id
    store.truncate_thread("s", 1)
    assert store.session_state("s").open_turn is None
    assert store.resume_turn("s") is None
    assert [(event.type, event.turn_id) for event in store.read_events("s", last)] == [
        (EventType.TURN_FAILED, "t2"),
        (EventType.HISTORY_CLEARED, None),
    ]


def test_watchers_are_told_what_is_left(store: Store) -> None:
    last = store.read_events("s")[-1].id
    store.truncate_thread("s", 1)
    (cut,) = store.read_events("s", last)
    store.clear_thread("s")
    (cleared,) = store.read_events("s", cut.id)
    assert [cut.data, cleared.data] == [{"version": 3, "kept": 1}, {"version": 4, "kept": 0}]


def test_whoever_knows_the_thread_learns_that_it_was_cut(store: Store) -> None:
    known = store.load_thread("s")
    store.truncate_thread("s", 1)
    store.append_to_thread("s", many(6))
    found = store.load_thread("s", epoch=known.epoch, start=known.count)
    assert (found.start, found.count) == (0, 7)
    turn = store.begin_turn("s", "two", epoch=known.epoch, count=known.count)
    assert [message.text for message in turn.thread.messages][:2] == ["one", "0"]


def test_a_thread_is_exported_and_cut_with_two_round_trips(real_store: Store) -> None:
    real_store.create_session("r")
    real_store.append_to_thread("r", many(5))
    real_store.truncate_thread("r", 4)
    real_store.export_thread("r")
    with watched(real_store.client) as sent:
        real_store.export_thread("r")
    commands = [command.split()[0] for command in sent]
    assert commands == ["EVALSHA", "HMGET", "LRANGE", "EVALSHA"]  # the last three go together
    with watched(real_store.client) as sent:
        real_store.truncate_thread("r", 3)
    assert len(sent) == 2
