"""Owner only: with another's user id, a session is what one that never was is, call by call.

The calls are those of tests/support/calls.py, which has every public method.
"""

from __future__ import annotations

import asyncio
import inspect
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from attrs import evolve

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    aio,
)
from miniagent_redis.errors import InvalidInput, MiniAgentError, SessionExists
from miniagent_redis.models import OpenTurn
from tests.support.calls import AIO_THREAD, CALLS, NOTHING, Call, Scene, X
from tests.support.fault_report import FaultRun
from tests.support.servers import RedisServer, find_server
from tests.support.stored import dump

pytestmark = pytest.mark.skipif(find_server() is None, reason="there is no server to start")

OWNER = "Ünder"
STRANGERS = (
    "eve", OWNER.lower(), OWNER.upper(), unicodedata.normalize("NFD", OWNER), OWNER + " ",
    " " + OWNER, OWNER + "\0", OWNER[:-1], OWNER + "r", OWNER * 2000, "*", "{Ünder}", "%C3%9Cnder",
    "Ü\udce4nder", "None", "0",
)  # fmt: skip
OWNED = {name: call for name, call in CALLS.items() if call.is_owned}


class House:
    """A server with a session of the owner's, in the middle of a turn, and all the classes."""

    def __init__(self, server: RedisServer) -> None:
        self.client: Any = server.client()
        self.client.flushall()
        self.config = RedisConfig(url=server.url)
        self.agent = SessionAgent(AgentConfig(on_busy="reject"), redis_config=self.config)
        self.agent.initialize()
        self.agent.background.stop(30)  # it would write too
        self.store = self.agent.store
        self.manager = SessionManager(self.agent)
        for sid in ("hers", "here"):
            self.store.create_session(sid, {"secret": 1}, user_id=OWNER)
            self.store.append_to_thread(sid, Message("user", "secret"))
        turn = self.store.begin_turn("hers", "secret too", turn_id="open", user_id=OWNER)
        self.holders = {"hers": turn.holder}
        self.store.create_session("nobodys")
        self.store.parts.index.flush()

    def digest(self) -> Any:
        return self.client.execute_command("DEBUG", "DIGEST")

    def scene(self, sid: str, user: Any) -> Scene:
        """Return what somebody needs who has forged the rights to the owner's open turn."""
        holder = self.holders.get(sid, "forged")
        turn = OpenTurn(sid, "open", holder, NOTHING, (X,), user_id=user)
        return Scene(self.store, self.manager, self.agent, sid, user, turn, doomed=sid, wait=0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer("--enable-debug-command", "yes") as started:
        yield started


@pytest.fixture
def house(server: RedisServer) -> Iterator[House]:
    made = House(server)
    yield made
    made.agent.shutdown()


def outcome(action: Callable[[], Any]) -> tuple[str, str]:
    """Return what came of the call, each id in it as ``ID``; whatever was let in is ALLOWED."""
    try:
        got = action()
        if hasattr(got, "result"):
            got = got.result(30)
        if inspect.isgenerator(got):
            with closing(got):
                got = list(got)
    except MiniAgentError as exc:
        told = f"{exc.args!r} {exc!s} {exc.__dict__!r}"
        for sid in ("hers", "nope", "nobodys"):
            told = told.replace(f"'{sid}'", "ID").replace(f" {sid} ", " ID ")
        return type(exc).__name__, told
    return ("nothing", repr(got)) if got is None or got is False else ("ALLOWED", repr(got))


def tried(call: Call, scene: Scene) -> tuple[str, str]:
    return outcome(lambda: call.make(scene))


def test_a_strangers_call_is_answered_as_if_the_session_never_was(
    house: House, faults: FaultRun
) -> None:
    calls = allowed = 0
    different: list[object] = []
    before = house.digest()
    for name, call in OWNED.items():
        for user in STRANGERS:
            ids = ("hers", "nobodys", "nope")
            got = [tried(call, house.scene(sid, user)) for sid in ids]
            calls += 2
            allowed += sum(kind == "ALLOWED" for kind, _ in got[:2])
            if len(set(got)) != 1:
                different.append((name, user[:20], got))
        for user in ("", b"hers", 5):
            got = [tried(call, house.scene(sid, user)) for sid in ("hers", "nope")]
            calls += 1
            allowed += got[0][0] == "ALLOWED"
            if got[0] != got[1] or got[0][0] != "InvalidInput":
                different.append((name, user, got))
    changed = house.digest() != before
    faults.report(calls=calls, allowed=allowed, different=len(different), written=int(changed))
    assert allowed == 0
    assert not different
    assert not changed


def test_a_strangers_call_asks_redis_for_the_same_commands_as_one_for_no_session(
    house: House,
) -> None:
    """So the time it takes tells nothing."""
    # The last two are said by the thread that listens, when it gets to it.
    others = ("config|resetstat", "info", "client", "ping", "unsubscribe")

    def commands(call: Call, sid: str) -> dict[str, int]:
        house.client.config_resetstat()
        tried(call, house.scene(sid, "eve"))
        stats = house.client.info("commandstats")
        seen = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
        return {name: calls for name, calls in seen.items() if name not in others}

    def differ(call: Call) -> tuple[dict[str, int], dict[str, int]] | None:
        there, absent = (commands(call, sid) for sid in ("hers", "nope"))
        return (there, absent) if there != absent else None

    for name, call in OWNED.items():
        commands(call, "nope")  # whatever the first call loads
        # It opens its connection during any call too. What a call does, it does each time.
        found = differ(call)
        for _ in range(4):
            found = found and differ(call)
        assert not found, name


def test_the_owner_is_let_in(house: House) -> None:
    for name in ("get_session", "session_state", "load_thread", "load_tail", "resolve_turn"):
        call = OWNED[f"RedisSessionManager.{name}"]
        assert tried(call, house.scene("hers", OWNER))[0] == "ALLOWED", name
    for name in ("get_history", "chat", "stream", "clear_history", "end_session"):
        call = OWNED[f"SessionManager.{name}"]
        assert tried(call, house.scene("here", OWNER))[0] == "ALLOWED", name


def test_the_asyncio_mirrors_let_no_stranger_in_either(house: House, faults: FaultRun) -> None:
    counted = {"calls": 0, "allowed": 0, "different": 0}

    async def settle(call: Call, scene: Scene) -> tuple[str, str]:
        result: Any = None
        try:
            result = call.make(scene)
            result = [one async for one in result] if hasattr(result, "__aiter__") else await result
        except MiniAgentError as exc:
            error = exc
            return outcome(lambda: (_ for _ in ()).throw(error).__next__())
        return outcome(lambda: result)

    async def run() -> None:
        async with aio.SessionAgent(AgentConfig(on_busy="reject"), redis_config=house.config) as a:
            a.sync.background.stop(30)
            mirrors = {"store": a.store, "manager": aio.SessionManager(a), "agent": a}
            same = [call for name, call in OWNED.items() if "SessionThread." not in name]
            for call in (*same, *AIO_THREAD.values()):
                for user in ("eve", OWNER.lower(), OWNER + "\0"):
                    scenes = (house.scene(sid, user) for sid in ("hers", "nope"))
                    hers, nope = [await settle(call, evolve(s, **mirrors)) for s in scenes]
                    counted["calls"] += 1
                    counted["allowed"] += hers[0] == "ALLOWED"
                    counted["different"] += hers != nope

    before = house.digest()
    asyncio.run(run())
    changed = house.digest() != before
    faults.report(**counted, written=int(changed))
    assert (counted["allowed"], counted["different"], changed) == (0, 0, False)


def test_creating_by_a_taken_id_gives_nothing_and_changes_only_the_strangers_own_index(
    house: House,
) -> None:
    keys = house.store.parts.core.keys
    before = dump(house.client)
    for user in STRANGERS:
        with pytest.raises(SessionExists):
            house.store.create_session("hers", user_id=user)
        with pytest.raises(MiniAgentError):
            house.manager.create_or_resume_session(user, "hers")
        assert list(house.manager.list_sessions(user)) == []
        own = keys.user_sessions(user)
        assert {key: kept for key, kept in dump(house.client).items() if key != own} == before
        house.client.delete(own)


def test_a_list_shows_only_ones_own_and_no_cursor_leads_to_anothers(house: House) -> None:
    assert {one["session_id"] for one in house.manager.list_sessions(OWNER)} == {"hers", "here"}
    cursor = house.manager.list_sessions(OWNER, limit=1).cursor
    for user in STRANGERS:
        assert list(house.manager.list_sessions(user)) == []
        assert list(house.manager.list_sessions(user, cursor=cursor)) == []
    with pytest.raises(InvalidInput):
        house.manager.list_sessions("")


NAMES = ("a", "a:b", "b:a", "{a}", "a}", "a}:sessions", "x:{a}", "session:{hers}", "acme:a",
         "acme:{a}", "%61", "a%7D", "A", "a ", "a\0", "ä", unicodedata.normalize("NFD", "ä"),
         "*", "a\r\nDEL b", "\udce4")  # fmt: skip


def test_no_name_of_a_lock_cache_limit_or_user_reaches_the_key_of_another(house: House) -> None:
    """Names in braces, with colons or another tenant's prefix stay names."""
    of_tenants = [
        RedisSessionManager(RedisConfig(url=house.config.url, namespace=tenant)).parts.core.keys
        for tenant in ("", "acme", "a", "acme.a", "cache", "user", "rate_limit")
    ]
    made: list[str] = []
    for keys in of_tenants:
        for name in NAMES:
            lock = keys.lock(name)
            made += [keys.cache(name), keys.rate_limit(name, 1000), keys.user_sessions(name)]
            made += keys.of_lock(lock)
        made += [*keys.of_session("hers"), keys.sessions(0), keys.deadlines(0)]
    assert len(set(made)) == len(made)


def test_who_listens_to_the_channels_hears_that_something_happened_and_not_what(
    house: House,
) -> None:
    house.store.subscribe(["events:{here}", "session_updates"])
    house.store.append_to_thread("here", Message("user", "secret"), user_id=OWNER)
    house.store.parts.index.flush()
    heard = []
    for note in house.store.get_messages(timeout=10):
        heard.append(note)
        if note["channel"] == "session_updates":
            break
    assert {note["channel"] for note in heard} == {"events:{here}", "session_updates"}
    assert "secret" not in repr(heard)
    assert OWNER not in repr(heard)
