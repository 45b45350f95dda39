"""A program forgets a user: in Redis, in its spool and in its memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Message,
    RateLimit,
    RedisConfig,
    SessionNotFound,
    UsageTotals,
    aio,
)
from miniagent_redis.maintenance.spool import Spool
from miniagent_redis.models import Forgotten
from tests.session.conftest import Open
from tests.support.canaries import files
from tests.support.keys import NEW, OLD, text
from tests.support.spooling import Program, spool_turn, waiting
from tests.support.stored import dump

LIMITS = [
    RateLimit(per="user", window="1h", requests=9),
    RateLimit(per="session", window=60, requests=9),
]


def test_all_that_an_agent_keeps_of_a_user_goes(open_manager: Open) -> None:
    manager = open_manager(rate_limits=LIMITS)
    for user in ("eve", "eve", "bo"):
        manager.chat(manager.create_or_resume_session(user), "Hello", user_id=user)
    sids = [each["session_id"] for each in manager.list_sessions("eve")]
    kept = manager.agent.thread(sids[0])
    done = manager.forget_user("eve")
    assert done == Forgotten(sessions=2, messages=4, totals=1, limits=3)
    assert manager.agent.thread(sids[0]) is not kept
    for sid in sids:
        with pytest.raises(SessionNotFound):
            manager.chat(sid, "Hello again")
        with pytest.raises(SessionNotFound):
            manager.get_history(sid)
    assert manager.usage(user_id="eve") == UsageTotals()
    assert [each["user_id"] for each in manager.list_sessions()] == ["bo"]
    manager.store.parts.write()
    assert [key for key in dump(manager.store.client) if "user:eve" in key or "{eve}" in key] == []
    assert manager.forget_user("eve") == Forgotten()


def test_a_tenants_user_is_another(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager(redis={"spool_dir": str(tmp_path)})
    acme = manager.tenant("acme")
    for each in (manager, acme):
        sid = each.create_or_resume_session("eve", "s")
        turn = each.store.begin_turn(sid, "mine")
        assert each.agent.spool is not None
        each.agent.background.remove("replay spool")
        each.agent.spool.keep(turn, [Message("assistant", "x")], UsageTotals())
    assert acme.forget_user("eve").spooled == 1
    assert len(waiting(tmp_path)) == 1
    assert len(manager.list_sessions("eve")) == 1


def test_turns_in_the_spool_go_whether_they_wait_or_were_set_aside(program: Program) -> None:
    program.agent.background.remove("replay spool")
    manager, spool = program.manager, program.agent.spool
    assert spool is not None
    for sid, user in (("s", "eve"), ("t", "eve"), ("b", "bo")):
        manager.create_or_resume_session(user, sid)
    for sid in ("s", "t", "b"):
        spool_turn(program, program.agent.store.begin_turn(sid, f"canary {sid}"), f"secret {sid}")
    manager.end_session("t")
    assert spool.replay("t") == 0
    assert len(spool.backlog().set_aside) == 1
    assert manager.forget_user("eve") == Forgotten(sessions=1, spooled=2)
    left = files(spool.folder)
    assert b"secret b" in left
    assert b"eve" not in left
    assert b"secret s" not in left
    assert spool.replay() == 1
    assert program.said("b") == ["canary b", "secret b"]


def test_a_turn_that_is_replayed_late_is_refused(program: Program) -> None:
    store, spool = program.agent.store, program.agent.spool
    assert spool is not None
    program.agent.background.remove("replay spool")
    program.manager.create_or_resume_session("eve", "s")
    turn = store.begin_turn("s", "one")
    program.manager.forget_user("eve")
    spool_turn(program, turn, "two")  # of another machine, which hears of nothing
    assert spool.replay() == 0
    assert list(program.manager.list_sessions()) == []
    assert len(spool.backlog().set_aside) == 1
    assert program.manager.forget_user("eve") == Forgotten(spooled=1)


def test_files_that_are_not_known_to_be_the_users_stay(program: Program) -> None:
    spool = program.agent.spool
    assert spool is not None
    program.agent.background.remove("replay spool")
    program.manager.create_or_resume_session("eve", "s")
    turn = program.agent.store.begin_turn("s", "one")
    (spool.folder / "junk.turn").write_bytes(b"{")
    (spool.folder / "eve.txt").write_bytes(b"eve")
    (spool.folder / "junk.set-aside").write_bytes(b"{")
    spool_turn(program, turn, "two")
    assert program.manager.forget_user("eve").spooled == 1
    assert {path.name for path in spool.folder.iterdir()} == {
        "junk.turn", "eve.txt", "junk.set-aside",
    }  # fmt: skip


def test_an_encrypted_turn_goes_and_one_whose_key_is_missing_stays(
    open_manager: Open, tmp_path: Path
) -> None:
    manager = open_manager(redis={"spool_dir": str(tmp_path), "encryption_keys": text(k=OLD)})
    manager.agent.background.remove("replay spool")
    manager.create_or_resume_session("eve", "s")
    turn = manager.store.begin_turn("s", "one")
    assert manager.agent.spool is not None
    manager.agent.spool.keep(turn, [Message("assistant", "x")], UsageTotals())
    other = open_manager(redis={"encryption_keys": text(n=NEW)}).store.parts
    assert Spool(tmp_path, other).forget("eve") == 0
    assert manager.forget_user("eve") == Forgotten(sessions=1, spooled=1)
    assert waiting(tmp_path) == []


def test_a_turn_that_runs_meanwhile_is_not_stored(open_manager: Open) -> None:
    other = open_manager()

    def model(messages: list[dict[str, Any]]) -> str:
        other.forget_user("eve")
        return "too late"

    manager = open_manager(model)
    sid = manager.create_or_resume_session("eve")
    with pytest.raises(SessionNotFound):
        manager.chat(sid, "Hello")
    assert list(other.list_sessions()) == []
    assert other.store.client.exists(f"thread:{{{sid}}}") == 0


def test_with_asyncio_it_is_the_same(store_url: str) -> None:
    async def forget() -> tuple[Forgotten, Forgotten]:
        config = AgentConfig(model="demo")
        async with aio.SessionAgent(config, redis_config=RedisConfig(url=store_url)) as agent:
            manager = aio.SessionManager(agent)
            await manager.chat(await manager.create_or_resume_session("eve"), "Hello")
            await agent.store.create_session("s", user_id="bo")
            return await manager.forget_user("eve"), await agent.store.forget_user("bo")

    eves, bos = asyncio.run(forget())
    assert eves == Forgotten(sessions=1, messages=2, totals=1)
    assert bos == Forgotten(sessions=1)
