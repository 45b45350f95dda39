"""A user is forgotten: nothing of him can be read in Redis any more, and nothing comes back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from miniagent_redis import (
    InvalidInput,
    Message,
    RateLimit,
    RateLimited,
    RedisConfig,
    RedisSessionManager,
    SessionExists,
    SessionNotFound,
    StoreMisconfigured,
    UsageTotals,
)
from miniagent_redis.fsck import check
from miniagent_redis.models import EventType, Forgotten
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.forgetting import PAGE
from miniagent_redis.store.index import FRESH_MS
from miniagent_redis.store.keys import encode_name, to_bytes
from tests.support.canaries import Canaries, files
from tests.support.lost import losing
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.stored import Dump, dump
from tests.support.waiting import until
from tests.support.words import OpenStore, call, result, said

Store = RedisSessionManager
WORDS = Canaries()
EVE = "eve/" + WORDS["metadata"]
LIMITS = [
    RateLimit(per="user", window=3600, requests=10**6, tokens=10**6),
    RateLimit(per="session", window="1d", requests=99),
]
IDS = [
    "\n", "a\nb=c", "{}", "a}b{", "*", "[a-z]*", "é", "\ud83d", "\x00", "%41", "user:x:sessions",
    " ", "x" * 300, "é" * 500, "%sha256:" + "0" * 64,
]  # fmt: skip


def content(value: object) -> bytes:
    """Return all that a value holds, however deep."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set)):
        return b"\n".join(map(content, value))
    return value if isinstance(value, bytes) else str(value).encode()


def traces(kept: Dump, *words: str) -> set[str]:
    """Return the keys in whose name or value one of the words is to be found."""
    return {
        key
        for key, (_, value, _) in kept.items()
        for word in words
        if to_bytes(word) in content(value) or word in key or encode_name(word, "it") in key
    }


def converse(store: Store, session_id: str, user: str) -> None:
    """Store every kind of content in a session of the user, and leave a turn open in it."""
    store.create_session(session_id, {"title": WORDS["data"]}, user_id=user)
    turn = store.begin_turn(session_id, WORDS["message"])
    turn = store.stage_step(turn, [call(WORDS["argument"]), result(WORDS["argument"])])
    store.commit_turn(turn, [said(WORDS["answer"])], spent=UsageTotals(turns=1))
    store.append_to_thread(session_id, Message("user", "x", metadata={"a": WORDS["instructions"]}))
    store.abort_turn(store.begin_turn(session_id, "one"), error=RuntimeError(WORDS["failure"]))
    store.parts.usage.note(UsageTotals(turns=1, input_tokens=5), user_id=user)
    for limits in (LIMITS, [RateLimit(per="namespace", window=60, requests=10**6)]):
        store.check_rate_limits(limits, session_id=session_id, user_id=user)
    store.parts.limits.charge_tokens(LIMITS, 5, session_id=session_id, user_id=user)
    store.rate_limit(user, 10**6, window=3600)
    turn = store.begin_turn(session_id, WORDS["event"])
    store.stage_step(store.tell_text(turn, WORDS["piece"]), [call("2"), result("2", "3")])
    queue = store.parts.core.keys.of_session(session_id)[-1]
    store.client.set(queue, f"{'a' * 32}:{2**52}")  # somebody waits
    store.parts.index.flush()
    store.parts.usage.flush()


@pytest.fixture
def busy(store: Store, client: redis.Redis) -> Store:
    """Return the store in which much is kept of eve, and of others too."""
    for tenant in (store, store.tenant("acme")):
        tenant.create_session("bo's", {"n": 1}, user_id="bo")
        tenant.append_to_thread("bo's", said("bo's"))
        tenant.parts.usage.note(UsageTotals(turns=1), user_id="bo")
        tenant.check_rate_limits(LIMITS, session_id="bo's", user_id="bo")
        tenant.parts.usage.flush()
        tenant.parts.index.flush()
    for session_id in ("a", "b", "telegram/" + EVE):
        converse(store, session_id, EVE)
    kept = dump(client)
    for word in ("data", "message", "argument", "answer", "failure", "event", "piece", "metadata"):
        assert traces(kept, WORDS[word]), word
    kinds = {key.partition(":")[0] for key in traces(kept, *WORDS.values(), EVE)}
    assert kinds >= {"session", "thread", "turn", "metadata", "events", "user", "usage"}
    assert "queue:{a}" in kept
    return store


def test_nothing_of_a_user_is_left(busy: Store, client: redis.Redis) -> None:
    before = dump(client)
    done = busy.forget_user(EVE, limits=LIMITS)
    # Limits on requests and tokens of the user, on requests of three sessions, and of his name.
    assert done == Forgotten(sessions=3, messages=15, totals=1, limits=6)
    after = dump(client)
    assert traces(after, *WORDS.values()) == {"ops:{" + encode_name("telegram/" + EVE, "it") + "}"}
    for key in after.keys() - {key for key in before if "bo" in key}:
        kind, value, end = after[key]
        if key.startswith("ops:"):  # for a minute it is known that it was ended, and no more
            assert kind == "hash"
            assert value.keys() == {b"ended", b"ended_at"}
            assert re.fullmatch(rb"[0-9a-f]{32}=5\n", value[b"ended"])
            assert end > 0
        else:  # shared by all
            shared = (
                r"(acme:)?((sessions|deadlines):|usage:\{totals\}:(all|day|batch)|\w+:\{limits)"
            )
            assert re.match(shared, key), key
    assert busy.usage(user_id=EVE) == UsageTotals()
    assert list(busy.list_sessions(EVE)) == []


def test_it_is_known_for_a_minute_only_which_ids_there_were(
    busy: Store, client: redis.Redis, clock: ManualClock
) -> None:
    busy.forget_user(EVE, limits=LIMITS)
    client.delete(*[key for key in dump(client) if key.startswith("ops:{") and "bo" not in key])
    assert traces(dump(client), *WORDS.values(), EVE, "telegram") == set()


def test_others_and_other_tenants_keep_what_they_have(busy: Store, client: redis.Redis) -> None:
    converse(busy.tenant("acme"), "a", EVE)
    before = dump(client)
    busy.forget_user(EVE, limits=LIMITS)
    after = dump(client)
    for key, kept in before.items():
        if key.startswith("acme:") or "bo" in key:
            assert after[key] == kept, key
    assert len(busy.list_sessions()) == 1
    assert len(busy.tenant("acme").list_sessions(EVE)) == 1
    assert busy.usage().turns == 4  # a sum that names nobody
    assert list(check(busy)) == []


def test_what_comes_late_is_refused(store: Store, client: redis.Redis) -> None:
    store.create_session("s", user_id=EVE)
    turn = store.stage_step(store.begin_turn("s", "one"), [call("1"), result("1")])
    store.parts.index.flush()
    store.forget_user(EVE)
    before = dump(client)
    for late in (
        lambda: store.stage_step(turn, [call("2")]),
        lambda: store.tell_text(turn, "x"),
        lambda: store.renew_lease(turn),
        lambda: store.commit_turn(turn, [said("1")]),
        lambda: store.replay_turn(turn),
        lambda: store.append_to_thread("s", said("2"), operation_id="op"),
        lambda: store.begin_turn("s", "two"),
        lambda: store.touch_session("s"),
        lambda: store.clear_thread("s"),
    ):
        with pytest.raises(SessionNotFound):
            late()
    assert not store.update_session("s", {"a": 1})
    with contextlib.suppress(SessionNotFound):
        store.abort_turn(turn)
    store.parts.index.flush()
    assert dump(client) == before


def test_a_repeated_call_finds_nothing_and_does_no_harm(busy: Store, client: redis.Redis) -> None:
    busy.forget_user(EVE, limits=LIMITS)
    before = dump(client)
    assert busy.forget_user(EVE, limits=LIMITS) == Forgotten()
    assert busy.forget_user("nobody") == Forgotten()
    assert dump(client) == before


@pytest.mark.parametrize("user_id", ["", None, 7])
def test_it_takes_one_user(store: Store, user_id: Any) -> None:
    store.create_session("s")
    with pytest.raises(InvalidInput):
        store.forget_user(user_id)
    with pytest.raises(InvalidInput):
        store.forget_user("ada", limits=LIMITS[0])  # type: ignore[arg-type]
    assert store.get_session("s") == {}


@pytest.mark.parametrize("user_id", IDS, ids=lambda text: ascii(text)[:20])
def test_a_user_of_any_name_is_forgotten_and_nobody_else(
    store: Store, client: redis.Redis, user_id: str
) -> None:
    for number, name in enumerate([user_id, *(name for name in IDS if name != user_id)]):
        store.create_session(f"s{number}", user_id=name)
        store.parts.usage.note(UsageTotals(turns=1), user_id=name)
        store.check_rate_limits(LIMITS, session_id=f"s{number}", user_id=name)
    done = store.forget_user(user_id, limits=LIMITS)
    assert done == Forgotten(sessions=1, totals=1, limits=3)
    assert len(store.list_sessions()) == len(IDS) - 1
    kept = dump(client)
    name = encode_name(user_id, "it")
    assert [k for k in kept if f"user:{name}:" in k or f"user:{{{name}}}:" in k] == []
    assert kept["ops:{s0}"][1].keys() == {b"ended", b"ended_at"}
    assert all(store.usage(user_id=name).turns == 1 for name in IDS if name != user_id)


def test_what_had_expired_goes_too_and_no_hook_sees_it(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s", ttl=10, user_id=EVE)
    store.append_to_thread("s", said(WORDS["message"]))
    store.parts.index.flush()
    clock.advance(20)
    assert store.forget_user(EVE) == Forgotten(sessions=1, messages=1)
    assert traces(dump(client), WORDS["message"], EVE) == set()
    seen: list[object] = []
    assert store.sweep([seen.append]) == 0
    assert seen == []


@pytest.mark.parametrize("lost", ["session:{s}", "metadata:{s}"])
def test_what_is_left_of_a_damaged_session_goes_too(
    store: Store, client: redis.Redis, lost: str
) -> None:
    store.create_session("s", user_id=EVE)
    store.append_to_thread("s", said(WORDS["message"]))
    client.delete(lost)
    assert store.forget_user(EVE) == Forgotten(sessions=1, messages=1)
    assert traces(dump(client), WORDS["message"], EVE) == set()


def test_one_that_cannot_be_removed_stops_no_other(store: Store, client: redis.Redis) -> None:
    for session_id in ("a", "b", "c"):
        store.create_session(session_id, user_id=EVE)
    store.parts.usage.note(UsageTotals(turns=1), user_id=EVE)
    client.set("thread:{b}", "of another program")
    with pytest.raises(StoreMisconfigured, match=r"thread:\{b\}"):
        store.forget_user(EVE)
    assert client.zrange("user:{" + encode_name(EVE, "it") + "}:sessions", 0, -1) == [b"b"]
    assert not client.exists("session:{a}", "session:{c}")
    assert store.usage(user_id=EVE) == UsageTotals()
    client.delete("thread:{b}")
    assert store.forget_user(EVE).sessions == 1


def test_an_id_that_somebody_else_has_is_left_to_him(store: Store, client: redis.Redis) -> None:
    store.create_session("s", user_id="bo")
    with pytest.raises(SessionExists):
        store.create_session("s", user_id=EVE)
    assert store.forget_user(EVE) == Forgotten()
    assert traces(dump(client), EVE) == set()
    assert [each["session_id"] for each in store.list_sessions("bo")] == ["s"]
    assert list(check(store)) == []


def test_a_limit_that_is_named_as_a_session_is_nobody_elses_to_remove(store: Store) -> None:
    store.create_session("everybody", user_id=EVE)
    assert store.rate_limit("everybody", 1, window=3600)
    assert store.forget_user(EVE, limits=LIMITS).limits == 0
    assert not store.rate_limit("everybody", 1, window=3600)


def test_a_call_that_was_cut_off_is_ended_by_the_next_one(
    store: Store, client: redis.Redis, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for session_id in ("a", "b"):
        store.create_session(session_id, user_id=EVE)
        store.check_rate_limits(LIMITS, session_id=session_id, user_id=EVE)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.parts.index, "take_out", cut_off)
        with pytest.raises(KeyboardInterrupt):
            store.forget_user(EVE, limits=LIMITS)
    # Their entries might be of new ones, for a minute.
    assert store.forget_user(EVE, limits=LIMITS) == Forgotten(limits=4, left=2)
    clock.advance(60)
    assert store.forget_user(EVE, limits=LIMITS) == Forgotten()
    client.delete("ops:{a}", "ops:{b}")
    assert traces(dump(client), EVE) == set()


def test_what_another_program_has_entered_is_taken_out(store: Store, client: redis.Redis) -> None:
    key = "user:{" + encode_name(EVE, "it") + "}:sessions"
    client.zadd(key, {b"\xff": 1, b"": 2})
    assert store.forget_user(EVE) == Forgotten()
    assert not client.exists(key)


def test_a_session_that_is_just_being_created_is_told(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    now = round(clock.time() * 1000)
    store.parts.index.enter("s", EVE, now, now + 99_000)
    for number in range(PAGE + 1):
        store.create_session(f"s{number}", user_id=EVE)
    assert store.forget_user(EVE) == Forgotten(sessions=PAGE + 1, left=1)
    clock.advance(FRESH_MS / 1000)
    assert store.forget_user(EVE) == Forgotten()
    assert traces(dump(client), EVE) == set()


def test_a_session_that_is_created_meanwhile_goes_too(store: Store) -> None:
    store.create_session("s", user_id=EVE)

    def told(session_id: str) -> None:
        if session_id == "s":
            store.create_session("t", user_id=EVE)

    done = store.parts.forgetting.forget(EVE, LIMITS, told)
    assert done.sessions == 2
    assert list(store.list_sessions()) == []


def test_a_lost_reply_changes_nothing(store: Store, client: redis.Redis) -> None:
    store.create_session("s", user_id=EVE)
    store.append_to_thread("s", said("1"))
    with losing(store, "forget_session"):
        assert store.forget_user(EVE) == Forgotten(sessions=1, messages=1)
    assert traces(dump(client), EVE) == set()


@pytest.mark.parametrize("command", ["EVALSHA", "ZRANGE", "ZREM", "EXISTS", "DEL"])
def test_any_reply_may_be_lost(lossy_store: Store, proxy: Proxy, command: str) -> None:
    for number in range(3):
        converse(lossy_store, f"s{number}", EVE)
    proxy.lose_replies(2, command)
    done = lossy_store.forget_user(EVE, limits=LIMITS)
    assert proxy.lost == 2
    assert done == Forgotten(sessions=3, messages=15, totals=1, limits=6)
    assert traces(dump(lossy_store.client), *WORDS.values(), EVE) == set()


def test_a_request_that_comes_late_leaves_the_session_that_was_made_since(
    store: Store, clock: ManualClock
) -> None:
    store.create_session("s", user_id=EVE)
    with losing(store, "forget_session") as lost:
        store.forget_user(EVE)
    clock.advance(120)  # by then it is not known any more that it was ended
    store.client.delete("ops:{s}")
    store.create_session("s", {"n": 2}, user_id=EVE)
    lost.arrive_late()
    assert store.get_session("s") == {"n": 2}


def test_who_is_told_of_ends_is_told_of_these(store: Store, open_store: OpenStore) -> None:
    store.create_session("s", user_id=EVE)
    listener = open_store()
    listener.subscribe(["session_updates"])
    events = store.watch("s", "")
    assert next(events).type is EventType.SESSION_CREATED
    store.forget_user(EVE)
    assert [event.type for event in events] == [EventType.SESSION_ENDED]
    listener.publish("session_updates", "that is all")
    told = next(iter(listener.get_messages()))["data"]
    assert told == {"session_id": "s", "event": "session_ended"}


def test_who_ended_a_session_and_need_not_be_told_whose_it_was_leaves_no_name(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s", user_id=EVE)
    store.delete_session("s", user_id=EVE)
    assert traces(dump(client), EVE) == set()


def test_the_next_session_of_an_id_does_not_name_the_owner_of_the_last(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s", user_id=EVE)
    with losing(store, "delete_session", lambda: store.create_session("s", user_id="bo")):
        assert store.delete_session("s")
    assert traces(dump(client), EVE) <= {"user:{" + encode_name(EVE, "it") + "}:sessions"}
    assert store.forget_user(EVE) == Forgotten()
    assert traces(dump(client), EVE) == set()
    assert [each["session_id"] for each in store.list_sessions("bo")] == ["s"]


def test_thousands_of_sessions_go_page_by_page(
    real_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 3_000
    for n in range(number):
        real_store.create_session(f"s{n}", user_id=EVE)
    connections = real_store.parts.core.connections
    send, largest, trips = connections.exchange, 0, 0

    def exchange(commands: Any, nonce: bytes | None = None) -> list[Any]:
        nonlocal largest, trips
        replies = send(commands, nonce)
        largest = max(largest, len(replies), *(len(r) for r in replies if isinstance(r, list)))
        trips += 1
        return replies

    monkeypatch.setattr(connections, "exchange", exchange)
    assert real_store.forget_user(EVE) == Forgotten(sessions=number)
    assert largest <= 5 * PAGE
    assert trips <= number + 4 * (number / PAGE + 1) + 10
    assert traces(dump(real_store.client), EVE) == set()


@pytest.fixture
def kept_on_disk() -> Iterator[RedisServer]:
    options = ("--appendonly", "yes", "--rdbcompression", "no", "--aof-use-rdb-preamble", "no")
    with RedisServer(*options) as server:
        yield server


def test_when_the_server_has_written_its_files_anew_they_hold_nothing(
    kept_on_disk: RedisServer,
) -> None:
    client: Any = kept_on_disk.client()
    words = {**WORDS, "user": EVE}
    missing = {"answer", "argument", "data", "event", "failure", "message", "piece", "user"}
    with RedisSessionManager(RedisConfig(url=kept_on_disk.url)) as store:
        converse(store, "s", EVE)
        client.save()
        found = files(kept_on_disk.folder)
        assert {kind for kind, word in words.items() if word.encode() in found} >= missing
        store.forget_user(EVE, limits=LIMITS)
        assert WORDS["message"].encode() in files(kept_on_disk.folder)  # as backups do
        client.bgrewriteaof()
        until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        client.save()
        # The old file is removed a moment later.
        until(
            lambda: not any(word.encode() in files(kept_on_disk.folder) for word in words.values())
        )
        assert encode_name(EVE, "it").encode() not in files(kept_on_disk.folder)


def test_on_a_cluster_all_nodes_are_cleared(cluster_url: str) -> None:
    with RedisSessionManager(RedisConfig(url=cluster_url)) as store:
        for n in range(30):
            converse(store, f"s{n}", EVE)
            store.create_session(f"bo{n}", user_id="bo")
        done = store.forget_user(EVE, limits=LIMITS)
        assert (done.sessions, done.messages, done.totals) == (30, 150, 1)
        assert traces(dump(store.client), *WORDS.values(), EVE) == set()
        assert len(store.list_sessions()) == 30


def test_limits_that_are_not_given_end_by_themselves(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    limits = [RateLimit(per="user", window=60, requests=1)]
    store.create_session("s", user_id=EVE)
    store.check_rate_limits(limits, session_id="s", user_id=EVE)
    assert store.forget_user(EVE).limits == 0
    with pytest.raises(RateLimited):
        store.check_rate_limits(limits, session_id="s", user_id=EVE)
    left = traces(dump(client), EVE)
    assert [key for key in left if key.startswith("rate_limit:")] == list(left)
    assert all(0 < client.pttl(key) <= 120_000 for key in left)  # type: ignore[operator]
