"""Never shortened, never altered: sessions that lost keys, and records that were damaged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from miniagent_redis import Message, RedisSessionManager, ToolCall
from miniagent_redis.errors import MiniAgentError, SessionNotFound
from tests.support.fault_report import FaultRun
from tests.support.recorder import open_store, read
from tests.support.servers import RedisServer, find_server

pytestmark = pytest.mark.skipif(find_server() is None, reason="there is no server to start")

POLICIES = ("allkeys-lru", "allkeys-random", "volatile-random", "volatile-ttl", "volatile-lru")
DOCUMENT = {"secret": 1}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisSessionManager]:
    server.client().flushdb()
    with open_store(server) as opened:
        yield opened


def fill(store: RedisSessionManager, session_id: str, turns: int = 4) -> tuple[Message, ...]:
    """Make a session with turns, the second with a tool; return its thread."""
    store.create_session(session_id, DOCUMENT, user_id="ada")
    for number in range(turns):
        turn = store.begin_turn(session_id, f"question {number} of {session_id}")
        if number == 1:
            calls = (ToolCall("c", "tool", {}),)
            turn = store.stage_step(turn, [Message("assistant", "", tool_calls=calls)])
            turn = store.stage_step(turn, [Message("tool", "result", tool_call_id="c")])
        store.commit_turn(turn, [Message("assistant", f"answer {number}")])
    return store.load_thread(session_id).messages


def ways(store: RedisSessionManager, session_id: str) -> dict[str, Callable[[], Any]]:
    """Return each way to read a thread, as functions that give its messages."""
    return {
        "whole": lambda: store.load_thread(session_id).messages,
        "tail": lambda: store.load_tail(session_id, 1000).messages,
        "paged": lambda: (
            *store.load_tail(session_id, 1000, before=3).messages,
            *store.load_thread(session_id, start=3).messages,
        ),
        "turn": lambda: store.begin_turn(session_id, "x", on_busy="interrupt").thread.messages,
    }


def outcome(way: Callable[[], Any], thread: tuple[Message, ...]) -> str:
    """Say what comes of reading a thread that may have lost something."""
    try:
        found = way()
    except SessionNotFound:
        return "gone"
    except MiniAgentError:
        return "told"
    return "whole" if found == thread else "shortened"


def test_a_session_that_lost_any_of_its_keys_is_whole_or_gone_or_told(
    store: RedisSessionManager, faults: FaultRun
) -> None:
    client: Any = store.client
    figures: dict[str, int] = dict.fromkeys(("whole", "gone", "told", "shortened"), 0)
    keys = store.parts.core.keys.of_session("s")
    subsets = [
        lost for size in range(1, 7) for lost in itertools.combinations(range(6), size)
    ]  # fmt: skip
    cases = list(itertools.product(subsets, ways(store, "s"), (False, True)))
    cases = faults.random.sample(cases, faults.times(150, len(cases)))
    for lost, way, has_turn in cases:
        client.flushdb()
        thread = fill(store, "s", 2)
        if has_turn:
            store.begin_turn("s", "open")
        client.delete(*(keys[number] for number in lost))
        figures[outcome(ways(store, "s")[way], thread)] += 1
        store.list_sessions()
    faults.report(subsets=len({lost for lost, _, _ in cases}), **figures)
    assert figures["shortened"] == 0
    assert figures["whole"]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_server_evicts_is_never_a_part_that_looks_whole(
    policy: str, faults: FaultRun
) -> None:
    figures: dict[str, int] = dict.fromkeys(("whole", "gone", "told", "shortened", "refused"), 0)
    with RedisServer("--maxmemory-policy", policy) as server, open_store(server) as store:
        client: Any = server.client()
        threads: dict[str, tuple[Message, ...]] = {}
        fill(store, "first", 2)  # which loads the scripts
        least = client.info("memory")["used_memory"]
        sessions = faults.times(80, 600)
        for number in range(sessions):
            threads[f"s{number}"] = fill(store, f"s{number}", 2)
        most = client.info("memory")["used_memory"]
        client.config_set("maxmemory-samples", 3)
        client.config_set("maxmemory", least + round((most - least) * 0.8))
        for number in range(sessions, sessions + sessions // 4):
            try:
                threads[f"s{number}"] = fill(store, f"s{number}", 2)
            except MiniAgentError:
                figures["refused"] += 1
        evicted = client.info("stats")["evicted_keys"]
        client.config_set("maxmemory", 0)
        for session_id, thread in threads.items():
            for way in ways(store, session_id).values():
                figures[outcome(way, thread)] += 1
    faults.report(evicted=evicted, **figures)
    assert evicted
    assert figures["whole"]
    assert figures["shortened"] == 0


# --- records ------------------------------------------------------------------------------------


def edit(dice: random.Random, raw: bytes) -> bytes:
    """Return the bytes with a random edit: flipped, cut, without a piece, with junk in it."""
    at, end = sorted((dice.randrange(len(raw)), dice.randrange(len(raw))))
    edits = (
        raw[:at] + bytes([raw[at] ^ dice.randrange(1, 256)]) + raw[at + 1 :],
        raw[:at],
        raw[:at] + raw[end + 1 :],
        raw[:at] + dice.randbytes(dice.randrange(1, 9)) + raw[at:],
        raw[:at] + raw[at : end + 1][::-1] + raw[end + 1 :],
    )
    return dice.choice(edits)


def test_an_edited_record_is_never_returned(store: RedisSessionManager, faults: FaultRun) -> None:
    client: Any = store.client
    thread = fill(store, "s")
    store.begin_turn("s", "open")
    figures = dict.fromkeys(("edits", "set_aside", "told", "altered"), 0)
    for _ in range(faults.times(150, 5000)):
        key = faults.random.choice(["thread:{s}", "turn:{s}", "session:{s}"])
        index = faults.random.randrange(len(thread)) if key == "thread:{s}" else 0
        raw = client.get(key) if key == "session:{s}" else client.lindex(key, index)
        new = edit(faults.random, raw)
        if new == raw:
            continue
        figures["edits"] += 1
        put(client, key, index, new)
        try:
            if key == "session:{s}":
                found: Any = store.get_session("s")
                figures["altered"] += 1
            elif key == "thread:{s}":
                found = store.load_thread("s")
                figures["set_aside"] += [one.index for one in found.unreadable] == [index]
                figures["altered"] += found.messages != thread[:index] + thread[index + 1 :]
            else:
                # Its holder is gone, and nobody has tried to go on.
                client.hset("metadata:{s}", mapping={"lease": 1, "takeovers": 0})
                store.resume_turn("s")
                figures["altered"] += 1
        except MiniAgentError:
            figures["told"] += 1
        put(client, key, index, raw)
    faults.report(**figures)
    assert figures["altered"] == 0
    assert figures["set_aside"] + figures["told"] == figures["edits"]


def put(client: redis.Redis, key: str, index: int, raw: bytes) -> None:
    if key == "session:{s}":
        client.set(key, raw, keepttl=True)
    else:
        client.lset(key, index, raw)  # type: ignore[arg-type]


def test_records_too_many_or_too_few_are_told_and_no_message_is_altered(
    store: RedisSessionManager, faults: FaultRun
) -> None:
    """Whole records in another place or order pass: what they say is what somebody wrote."""
    client: Any = store.client
    dice = faults.random
    foreign = fill(store, "other")
    figures = dict.fromkeys(("told", "passed_swaps", "passed_copies", "altered"), 0)
    rounds = faults.times(20, 300)
    for _ in range(rounds):
        store.delete_session("s")
        thread = fill(store, "s")
        first, second = dice.sample(range(len(thread)), 2)
        raw = client.lrange("thread:{s}", 0, -1)
        kind = dice.choice(["insert", "foreign", "remove", "swap", "copy"])
        if kind == "insert":
            client.linsert("thread:{s}", "BEFORE", raw[first], raw[second])
        elif kind == "foreign":
            record = client.lindex("thread:{other}", dice.randrange(len(foreign)))
            client.linsert("thread:{s}", "BEFORE", raw[first], record)
        elif kind == "remove":
            client.lrem("thread:{s}", 1, raw[first])
        else:
            client.lset("thread:{s}", first, raw[second])
            if kind == "swap":
                client.lset("thread:{s}", second, raw[first])
        seen, _ = read(store, "s")
        if isinstance(seen, MiniAgentError):
            figures["told"] += 1
            continue
        assert seen is not None
        figures["passed_swaps" if kind == "swap" else "passed_copies"] += 1
        is_known = {one.id for one in seen} <= {one.id for one in thread}
        figures["altered"] += kind not in ("swap", "copy") or not is_known
    faults.report(rounds=rounds, **figures)
    assert figures["altered"] == 0


@pytest.mark.parametrize("value", [b"", b"x", None])
def test_a_session_whose_numbers_are_damaged_is_told_and_can_be_ended(
    store: RedisSessionManager, value: bytes | None
) -> None:
    client: Any = store.client
    names = ("version", "epoch", "message_count", "bytes", "turns", "ttl", "max_end",
             "input_tokens", "output_tokens", "tool_calls")  # fmt: skip
    for name in names:
        fill(store, name)
        key = store.parts.core.keys.metadata(name)
        turn = store.begin_turn(name, "x")
        client.hdel(key, name) if value is None else client.hset(key, name, value)
        before = client.hgetall(key), client.lrange(f"thread:{{{name}}}", 0, -1)
        calls: list[Callable[[], object]] = [
            *ways(store, name).values(),
            lambda turn=turn: store.commit_turn(turn, [Message("assistant", "x")]),
            lambda name=name: store.append_to_thread(name, Message("user", "x")),
            lambda name=name: store.touch_session(name),
            lambda name=name: store.session_state(name),
        ]
        for call in calls:
            with pytest.raises(MiniAgentError, match=f"metadata:{{{name}}}"):
                call()
        assert (client.hgetall(key), client.lrange(f"thread:{{{name}}}", 0, -1)) == before
        assert store.delete_session(name)


def test_something_else_in_the_place_of_one_sessions_metadata_hides_no_other_session(
    store: RedisSessionManager,
) -> None:
    client: Any = store.client
    for name in ("a", "b", "c"):
        store.create_session(name, user_id="ada")
    client.delete("metadata:{b}")
    client.set("metadata:{b}", "x")
    for user in ("ada", None):
        assert {one["session_id"] for one in store.list_sessions(user)} == {"a", "c"}
    assert client.get("metadata:{b}") == b"x"
