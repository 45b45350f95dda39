"""Sessions that keep the newest: ``on_full="trim"`` lets go of the oldest exchanges."""

from __future__ import annotations

from itertools import pairwise

import pytest
import redis

from miniagent_redis.errors import (
    InvalidInput,
    SessionTooLarge,
)
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.trimmed import LARGEST, TEXT, at, fill, move, say, texts
from tests.support.words import OpenStore, call, result


@pytest.fixture
def store(open_store: OpenStore) -> RedisSessionManager:
    store = open_store(max_session_size=LARGEST, on_full="trim")
    store.create_session("s", {}, user_id="ada")
    return store


def test_refuses_what_is_too_much_unless_told_to_trim(open_store: OpenStore) -> None:
    store = open_store(max_session_size=LARGEST)
    store.create_session("s", {})
    with pytest.raises(SessionTooLarge):
        fill(store)


def test_goes_on_for_ever_within_its_size(store: RedisSessionManager) -> None:
    for n in range(80):
        say(store, n)
        assert store.session_state("s").bytes <= LARGEST
    state = store.session_state("s")
    assert (state.message_count, state.turns) == (160, 80)
    assert texts(store.load_thread("s"))[-2:] == ["question 79", "answer 79"]


def test_whole_exchanges_go_and_more_than_one(store: RedisSessionManager) -> None:
    count = fill(store)
    state = store.session_state("s")
    found = store.load_thread("s")
    assert found.messages[0].role == "user"
    assert found.start == found.head == state.head > 2
    assert len(found.messages) == 2 * count - state.head
    heads = []
    for n in range(count, count + 40):
        say(store, n)
        heads.append(store.session_state("s").head)
    assert len(set(heads)) < 12  # not at each turn


def test_positions_stay(store: RedisSessionManager) -> None:
    count = fill(store)
    found = store.load_thread("s")
    for index, message in zip(found.indexes, found.messages, strict=True):
        kind = "answer" if index % 2 else "question"
        assert message.text.startswith(f"{kind} {index // 2} ")
        assert at(store, index) == message
    assert found.count == 2 * count
    assert store.load_tail("s", 3, before=found.head).messages == ()
    assert store.load_tail("s", 10_000).indexes == found.indexes
    assert store.load_tail("s", 5, before=found.head + 2).indexes == (found.head, found.head + 1)


def test_who_knows_a_part_gets_what_follows(store: RedisSessionManager) -> None:
    pieces = []
    for n in range(20):
        say(store, n)
        pieces.append(store.load_thread("s"))
    for n in range(20, 30):
        say(store, n)
    now = store.load_thread("s")
    assert now.head > 0
    for known in pieces:
        more = store.load_thread("s", epoch=known.epoch, start=known.count, mark=known.mark)
        if known.count > now.head:
            assert more.indexes == tuple(range(known.count, now.count))
        else:
            assert (more.start, more.messages) == (now.head, now.messages)
        begun = store.begin_turn("s", "Hi", epoch=known.epoch, count=known.count, mark=known.mark)
        assert (begun.thread.start, begun.thread.indexes) == (more.start, more.indexes)
        store.abort_turn(begun)


def test_a_server_that_forgot_is_noticed_behind_a_trimmed_head(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    fill(store)
    known = store.load_thread("s")
    client.lset("thread:{s}", -1, client.lindex("thread:{s}", -2))  # type: ignore[arg-type]
    more = store.load_thread("s", epoch=known.epoch, start=known.count, mark=known.mark)
    assert more.start == known.head


def test_system_messages_at_the_head_stay(store: RedisSessionManager) -> None:
    store.append_to_thread("s", [Message("system", "one"), Message("system", "two")])
    for n in range(60):
        say(store, n)
    found = store.load_thread("s")
    assert texts(found)[:2] == ["one", "two"]
    assert texts(found)[2].startswith("question")
    assert found.head == store.session_state("s").head
    assert found.indexes == tuple(range(found.head, found.count))
    # Those behind them are where they were.
    assert found.messages[-1] == at(store, 121)


def test_calls_and_results_go_together(store: RedisSessionManager) -> None:
    for n in range(40):
        turn = store.begin_turn("s", f"question {n} {TEXT}")
        turn = store.stage_step(turn, [call("1"), result("1")])
        store.commit_turn(turn, [Message("assistant", f"answer {n}")])
    found = store.load_thread("s")
    assert found.head > 0
    assert [m.role for m in found.messages[:4]] == ["user", "assistant", "tool", "assistant"]


def test_steps_make_room_too(store: RedisSessionManager) -> None:
    count = fill(store)
    head = store.session_state("s").head
    turn = store.begin_turn("s", "Think hard")
    for _ in range(20):
        turn = store.stage_step(turn, [call("1"), result("1", TEXT)])
    store.commit_turn(turn, [Message("assistant", "done")])
    state = store.session_state("s")
    assert state.head > head
    assert state.message_count == 2 * count + 42
    assert state.bytes <= LARGEST


def test_what_is_appended_makes_room_and_stays_with_its_exchange(
    store: RedisSessionManager,
) -> None:
    for n in range(60):
        move(store)
        store.append_to_thread("s", [Message("user", f"note {n} {TEXT}")])
    assert store.session_state("s").message_count == 60
    assert texts(store.load_thread("s"))[-1] == "note 59"
    store.clear_thread("s")
    store.append_to_thread("s", Message("user", "x" * (LARGEST - 1_000)))
    with pytest.raises(SessionTooLarge):
        store.append_to_thread("s", Message("assistant", TEXT * 2))
    assert store.session_state("s").head == 0


def test_all_before_goes_for_a_turn_that_needs_the_room(store: RedisSessionManager) -> None:
    count = fill(store)
    turn = store.begin_turn("s", "y" * (LARGEST - 2_000))
    store.commit_turn(turn, [Message("assistant", "long")])
    found = store.load_thread("s")
    assert [m.role for m in found.messages] == ["user", "assistant"]
    assert found.indexes == (2 * count, 2 * count + 1)
    turn = store.begin_turn("s", "z" * (LARGEST - 2_000), epoch=found.epoch, count=found.count)
    assert turn.thread.messages == ()
    assert (turn.thread.start, turn.thread.count) == (2 * count + 2, 2 * count + 2)
    store.commit_turn(turn, [Message("assistant", "again")])
    assert store.load_thread("s").indexes == (2 * count + 2, 2 * count + 3)
    assert store.client.pttl("thread:{s}") > 0  # type: ignore[operator]


@pytest.mark.parametrize("role", ["user", "system"])
def test_what_is_too_large_alone_is_refused_and_nothing_let_go_of(
    store: RedisSessionManager, role: str
) -> None:
    if role == "system":
        store.append_to_thread("s", Message("system", "x" * 15_000))
    say(store, 0)
    before = store.load_thread("s")
    size = LARGEST if role == "user" else 6_000
    for text in ("x" * size, "x" * (size - 700)):
        with pytest.raises(SessionTooLarge):
            store.begin_turn("s", text)
    with pytest.raises(SessionTooLarge):
        store.append_to_thread("s", Message("user", "x" * size))
    assert store.load_thread("s") == before


def test_an_answer_too_large_for_all_leaves_the_thread(store: RedisSessionManager) -> None:
    fill(store)
    before = store.load_thread("s")
    turn = store.begin_turn("s", "Hi")
    with pytest.raises(SessionTooLarge):
        store.commit_turn(turn, [Message("assistant", "x" * LARGEST)])
    store.abort_turn(turn)
    assert store.load_thread("s").messages == before.messages


def test_two_processes_trim_once(store: RedisSessionManager, open_store: OpenStore) -> None:
    other = open_store(max_session_size=LARGEST, on_full="trim")
    heads = [0]
    for n in range(50):
        say((store, other)[n % 2], n)
        heads.append(other.session_state("s").head)
    assert all(later >= earlier for earlier, later in pairwise(heads))
    assert store.load_thread("s") == other.load_thread("s")
    assert store.session_state("s").message_count == 100


def test_only_known_words_are_taken(open_store: OpenStore) -> None:
    with pytest.raises(InvalidInput, match="on_full is one of 'refuse', 'trim', not 'drop'"):
        open_store(on_full="drop")
