"""What else is done with a thread holds for one that has let go of its oldest exchanges."""

from __future__ import annotations

import pytest
import redis

from miniagent_redis.errors import (
    InvalidInput,
    RecordUnreadable,
    SessionExists,
    TurnUncertain,
)
from miniagent_redis.models import EventType, Message, OpenTurn, ThreadSlice
from miniagent_redis.store.core import OnSession
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.operations.thread import Piece, trim_thread
from tests.support.trimmed import LARGEST, TEXT, fill, move, say, texts
from tests.support.words import OpenStore


@pytest.fixture
def store(open_store: OpenStore) -> RedisSessionManager:
    store = open_store(max_session_size=LARGEST, on_full="trim")
    store.create_session("s", {}, user_id="ada")
    return store


def test_events_of_what_is_gone_say_so_and_others_find_theirs(store: RedisSessionManager) -> None:
    count = fill(store)
    events = list(store.read_events("s", after="0"))
    answers = [e for e in events if e.type is EventType.AGENT_RESPONSE]
    head = store.session_state("s").head
    assert len(answers) == count
    for n, event in enumerate(answers):
        if 2 * n < head:
            assert event.data["gone"] is True
        else:
            assert event.text.startswith(f"answer {n} ")


def test_clearing_begins_at_0_again(store: RedisSessionManager) -> None:
    fill(store)
    there = len(store.load_thread("s").messages)
    assert store.clear_thread("s") == there
    assert store.session_state("s").head == 0
    say(store, 0)
    assert store.load_thread("s").indexes == (0, 1)


def test_cutting_off_the_end_keeps_positions(store: RedisSessionManager) -> None:
    fill(store)
    before = store.load_thread("s")
    assert store.truncate_thread("s", before.count - 4) == 4
    after = store.load_thread("s")
    assert after.epoch != before.epoch
    assert (after.head, after.messages) == (before.head, before.messages[:-4])
    assert store.session_state("s").bytes == sum(
        map(len, store.client.lrange("thread:{s}", 0, -1))  # type: ignore[arg-type]
    )
    say(store, 99)
    assert texts(store.load_thread("s"))[-2:] == ["question 99", "answer 99"]


@pytest.mark.parametrize("keep", [0, 2])
def test_cutting_in_front_of_the_head_empties_the_thread(
    store: RedisSessionManager, keep: int
) -> None:
    fill(store)
    there = len(store.load_thread("s").messages)
    assert store.truncate_thread("s", keep) == there
    state = store.session_state("s")
    assert (state.message_count, state.head, state.bytes) == (keep, keep, 0)
    say(store, 7)
    assert store.load_thread("s").indexes == (keep, keep + 1)


def test_exports_and_copies_what_is_there(
    store: RedisSessionManager, open_store: OpenStore
) -> None:
    fill(store)
    here = store.load_thread("s").messages
    exported = store.export_thread("s")
    assert (exported[0]["head"], len(exported) - 1) == (store.session_state("s").head, len(here))
    store.create_session("t", {})
    assert store.import_thread("t", exported) == len(here)
    assert store.load_thread("t").messages == here
    store.create_session("u", {}, user_id="ada")
    assert store.copy_thread("s", "u", upto=store.session_state("s").head + 2) == 2
    with pytest.raises(InvalidInput):
        store.import_thread("v", exported[:-1])


def test_imports_nothing_into_a_trimmed_session(store: RedisSessionManager) -> None:
    given = [Message("user", "question"), Message("assistant", "answer")]
    store.import_thread("s", given)
    fill(store)
    with pytest.raises(SessionExists):
        store.import_thread("s", given)


def test_the_newest_that_are_enough_come_from_a_trimmed_thread(
    open_store: OpenStore,
) -> None:
    store = open_store(max_session_size=100_000, on_full="trim")
    store.create_session("s", {})
    store.append_to_thread("s", Message("system", "Be brief"))
    for n in range(0, 800, 20):
        move(store)
        store.append_to_thread("s", [Message("user", f"note {n + i}") for i in range(20)])
    head = store.session_state("s").head
    assert head > 0
    turn = store.begin_turn("s", "Hi", enough=lambda newest: len(newest) >= 20)
    found = turn.thread
    assert texts(found)[0] == "Be brief"
    assert texts(found)[-1] == "note 799"
    assert found.skipped > 0
    assert len(found.messages) + found.skipped == found.count - head
    assert found.indexes[0] == head
    assert found.indexes[-1] == 800


def test_a_spooled_turn_gets_room(store: RedisSessionManager) -> None:
    count = fill(store)
    turn = store.begin_turn("s", "Hi")
    text = "x" * (LARGEST // 2)
    store.abort_turn(turn)
    whole = OpenTurn(
        "s", turn.turn_id, turn.holder, turn.thread, (*turn.staged, Message("assistant", text))
    )
    version = store.replay_turn(whole)
    assert store.replay_turn(whole) == version
    assert store.load_thread("s").indexes[-2:] == (2 * count, 2 * count + 1)


def test_unreadable_records_go_with_their_exchange(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    say(store, 0)
    record = client.lindex("thread:{s}", 1)
    assert isinstance(record, bytes)
    client.lset("thread:{s}", 1, "x" * len(record))
    for n in range(1, 40):
        say(store, n)
    found = store.load_thread("s")
    assert found.head > 0
    assert found.unreadable == ()


def test_a_thread_that_lacks_more_than_was_let_go_of_is_told(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    fill(store)
    client.rpop("thread:{s}")
    with pytest.raises(RecordUnreadable, match="1 of its"):
        store.load_thread("s")
    with pytest.raises(RecordUnreadable, match="1 of its"):
        store.begin_turn("s", "Hi")


def test_others_may_be_faster(
    store: RedisSessionManager, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store(max_session_size=LARGEST, on_full="trim")
    count = fill(store)
    while store.session_state("s").bytes < LARGEST - 5_500:
        say(store, count)
        count += 1
    answers: list[bool] = []

    def trim(on: OnSession, **how: int) -> bool:
        if not answers:
            answers.append(trim_thread(other.parts.core.on("s"), **how))
        answers.append(trim_thread(on, **how))
        return answers[-1]

    monkeypatch.setattr("miniagent_redis.store.room.trim_thread", trim)
    head = store.session_state("s").head
    say(store, count, "y" * 2_500)
    assert answers[:2] == [True, False]  # done again it changes nothing
    found = store.load_thread("s")
    assert found.head > head
    assert texts(found)[-1] == f"answer {count}"


@pytest.mark.parametrize("whole", [True, False])
def test_a_thread_that_is_trimmed_while_it_is_read_is_read_anew(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    store = open_store(max_session_size=250_000, on_full="trim")
    store.create_session("s", {})
    for n in range(0, 1500, 250):
        move(store)
        store.append_to_thread("s", [Message("user", f"note {n + i}") for i in range(250)])
    read = store.parts.threads.slice_of
    pieces: list[int] = []

    def slice_of(session_id: str, piece: Piece, mark: bytes) -> ThreadSlice:
        pieces.append(piece.start)
        if len(pieces) == 1:
            move(store)
            store.append_to_thread("s", [Message("user", TEXT) for _ in range(150)])
        return read(session_id, piece, mark)

    monkeypatch.setattr(store.parts.threads, "slice_of", slice_of)
    if whole:
        found = store.load_thread("s")
        assert found.indexes == tuple(range(found.head, 1650))
    else:
        turn = store.begin_turn("s", "Hi", enough=lambda newest: len(newest) >= 300)
        found = turn.thread
        assert found.indexes[-1] == 1649
        assert len(found.messages) >= 300
    assert pieces[0] == 0
    assert found.start == found.head == store.session_state("s").head > 0


def test_a_turn_is_not_begun_twice_where_it_may_have_been_let_go_of(
    store: RedisSessionManager,
) -> None:
    turn = store.begin_turn("s", "Hi")
    store.commit_turn(turn, [Message("assistant", "yes")])
    for n in range(70):
        say(store, n)
    threads = store.parts.threads
    with pytest.raises(TurnUncertain, match="let go of"):
        threads.find_turn("s", turn.turn_id, None, None)
    with pytest.raises(TurnUncertain, match="let go of"):
        threads.find_turn("s", turn.turn_id, None, turn.thread.version)
    now = store.load_thread("s").version
    assert threads.find_turn("s", turn.turn_id, None, now) == (set(), now)
    kept = store.load_thread("s").messages[-1]
    assert threads.find_turn("s", kept.turn_id or "", None, None)[0] > {kept.id}
