"""The scripts of a turn: how little they ask of the server, and what they see all the same."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis.errors import RecordUnreadable
from miniagent_redis.models import Event, EventType, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.keys import GRACE_MS
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.scripts import source
from tests.support.courses import COURSES, Call, begin, commit, prepare, run
from tests.support.foreign import KEYS
from tests.support.words import lines, said

Store = RedisSessionManager
# Their turn goes on, and its next script gives all keys the deadline.
OPENING = {name for name in COURSES if name.startswith(("begin", "take over", "interrupt"))}
COUNTING = """
local sent = 0
local function counted_call(...) sent = sent + 1 return redis.call(...) end
local function counted_pcall(...) sent = sent + 1 return redis.pcall(...) end
local function script()
%s
end
return {script()[2], sent}
"""


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    prepare(store)


def commands_of(store: Store, call: Call) -> int:
    """Run a script by the server's clock; return how many commands it sends."""
    name, args = call
    first, _, body = source(name).partition("\n")
    for kind in ("call", "pcall"):
        body = body.replace(f"redis.{kind}(", f"counted_{kind}(")
    text = ("" if store.parts.core.connections.is_memory else first) + COUNTING % body
    keys: list[Any] = store.parts.core.keys.of_session("s")
    reply: Any = store.client.eval(text, len(keys), *keys, "nonce", "", GRACE_MS, "ada", *args)
    assert reply[0] == b"ok"
    return int(reply[1])


@pytest.mark.parametrize(("counts", "tokens", "more"), [("", 7, 0), ("ms 900 cache_hits 2", 7, 1)])
def test_a_turn_is_27_commands_in_the_server_and_one_more_with_further_counts(
    store: Store, counts: str, tokens: int, more: int
) -> None:
    assert commands_of(store, begin(known=store.load_thread("s"))) == 11
    assert commands_of(store, commit("2", counts=counts, tokens=tokens)) == 16 + more


def test_a_piece_of_text_wakes_who_listens_and_renews_the_expiry_of_its_own_key_only(
    store: Store,
) -> None:
    run(store, ManualClock(), begin())
    assert commands_of(store, ("tell_text", ["t", "h", "op", "1", "text"])) == 13


@pytest.mark.parametrize("course", sorted(COURSES.keys() - OPENING))
def test_what_is_made_anew_where_keys_were_lost_is_not_kept_for_ever(
    store: Store, client: redis.Redis, clock: ManualClock, course: str
) -> None:
    call = COURSES[course](store, clock)
    client.delete("ops:{s}", "events:{s}")
    assert run(store, clock, call)[0] == b"ok"
    assert [key for key in KEYS if client.pexpiretime(key) == -1] == []


def test_an_answer_that_cannot_be_told_leaves_the_thread_as_it_was(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    """However many messages there are; a script pushes them in pieces."""
    run(store, clock, begin())
    client.delete("events:{s}")
    client.set("events:{s}", "foreign")
    before: Any = client.lrange("thread:{s}", 0, -1)
    many = commit(*(str(n) for n in range(2500)))
    assert run(store, clock, many)[0] == b"wrongtype"
    assert client.lrange("thread:{s}", 0, -1) == before
    client.delete("events:{s}")
    assert run(store, clock, many)[0] == b"ok"
    assert client.llen("thread:{s}") == 2503


def test_an_event_that_has_no_place_any_more_does_not_stop_a_turn(
    store: Store, client: redis.Redis
) -> None:
    client.xadd("events:{s}", {"a": "b"}, id=f"{2**64 - 1}-{2**64 - 1}")
    before: Any = client.xlen("events:{s}")
    store.commit_turn(store.begin_turn("s", "two"), [said("2")])
    assert lines(store)[2:] == ["user:two", "assistant:2"]
    assert client.xlen("events:{s}") == before


# --- events ---------------------------------------------------------------------------------------


def told(store: Store) -> list[Event]:
    """Return the events of a turn that is made now, and what is missing before them."""
    last = store.read_events("s")[-1]
    store.commit_turn(store.begin_turn("s", "two"), [said("2")])
    return store.read_events("s", last.id)


def test_events_are_numbered_on_though_the_clock_went_back(store: Store, clock: Any) -> None:
    clock.advance(1000)
    told(store)
    clock.advance(-1000)
    started, answered = told(store)
    assert (started.type, answered.type) == (EventType.TURN_STARTED, EventType.AGENT_RESPONSE)


def test_a_damaged_number_of_events_is_left_and_stops_no_turn(
    store: Store, client: redis.Redis
) -> None:
    client.hset("metadata:{s}", "events", "x")
    assert {EventType.TURN_STARTED, EventType.AGENT_RESPONSE} <= {e.type for e in told(store)}
    assert client.hget("metadata:{s}", "events") == b"x"


def test_a_lost_number_of_events_is_counted_anew(store: Store, client: redis.Redis) -> None:
    client.hdel("metadata:{s}", "events")
    told(store)
    assert client.hget("metadata:{s}", "events") == b"2"


# --- metadata -------------------------------------------------------------------------------------


def test_a_session_without_the_fields_of_a_turn_has_its_turns(
    store: Store, client: redis.Redis
) -> None:
    """Such as one that an earlier version made, which removed them after each turn."""
    client.hdel("metadata:{s}", "turn", "holder", "lease", "cancel")
    assert store.session_state("s").open_turn is None
    turn = store.begin_turn("s", "two")
    assert store.session_state("s").open_turn == turn.turn_id
    store.commit_turn(turn, [said("2")])
    assert lines(store)[2:] == ["user:two", "assistant:2"]


@pytest.mark.parametrize("end", ["abort", "clear", "interrupt"])
def test_a_cancellation_is_not_meant_for_a_later_turn_of_the_same_id(
    store: Store, end: str
) -> None:
    turn = store.begin_turn("s", "two", turn_id="own")
    store.cancel_turn("s")
    if end == "abort":
        store.abort_turn(turn)
    elif end == "clear":
        store.clear_thread("s")
    again = store.begin_turn("s", "two", turn_id="own", on_busy="interrupt")
    assert not store.tell_text(again, "x").cancelled
    assert not store.renew_lease(again).cancelled


def test_who_takes_a_cancelled_turn_over_hears_of_it(store: Store, clock: ManualClock) -> None:
    store.begin_turn("s", "two")
    store.cancel_turn("s")
    clock.advance(31)
    resumed = store.resume_turn("s")
    assert resumed is not None
    assert store.renew_lease(resumed).cancelled


def test_a_count_that_is_no_number_stays_and_the_others_are_added(
    store: Store, client: redis.Redis
) -> None:
    client.hset("metadata:{s}", "cache_hits", "x")
    spent = UsageTotals(cache_hits=1, cached_tokens=5)
    store.commit_turn(store.begin_turn("s", "two"), [said("2")], spent=spent)
    store.commit_turn(store.begin_turn("s", "three"), [said("3")], spent=spent)
    assert client.hmget("metadata:{s}", "cache_hits", "cached_tokens") == [b"x", b"10"]


def test_a_session_with_an_empty_document_is_one(store: Store, client: redis.Redis) -> None:
    client.set("session:{s}", "", keepttl=True)
    store.commit_turn(store.begin_turn("s", "two"), [said("2")])
    assert len(lines(store)) == 4
    with pytest.raises(RecordUnreadable):
        store.get_session("s")
