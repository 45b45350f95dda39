"""The files of the spool: whose they are, and what becomes of those that cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from miniagent_redis import (
    EventType,
    InvalidInput,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    StoreUnavailable,
    TurnNotSaved,
    UsageTotals,
)
from miniagent_redis.doctor import diagnose
from miniagent_redis.doctor.check import Check
from miniagent_redis.maintenance.spool import Spool
from miniagent_redis.models import Message, OpenTurn, new_id
from miniagent_redis.records.frame import encode
from tests.support.lost import losing
from tests.support.servers import RedisServer
from tests.support.spooling import Program, spool_turn, waiting


def spool_check(store: RedisSessionManager) -> Check:
    return next(check for check in diagnose(store) if check.name == "spool")


def test_files_are_for_this_user_only_and_of_this_store_only(
    program: Program, redis_url: str
) -> None:
    sid = program.manager.create_or_resume_session()
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "mine")
    spool = program.agent.spool
    assert spool is not None
    [path] = waiting(spool.folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    config = RedisConfig(url=redis_url, spool_dir=str(spool.folder))
    with SessionAgent(redis_config=config) as other:
        assert other.spool is not None
        assert other.spool.replay() == 0
        assert other.spool.backlog().waiting == 0
    assert waiting(spool.folder) == [path]
    assert spool.replay() == 1


@pytest.mark.parametrize("content", [b"", b"{}", encode({"v": 1}), b'{"v":1,"crc":"00000000"}'])
def test_a_damaged_file_is_set_aside_and_holds_nothing_up(program: Program, content: bytes) -> None:
    sid = program.manager.create_or_resume_session()
    spool = program.agent.spool
    assert spool is not None
    (spool.folder / "00000000000000000001-x.turn").write_bytes(content)
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "mine")
    assert spool.replay() == 1
    assert [path.read_bytes() for path in spool.backlog().set_aside] == [content]


def test_a_file_of_a_newer_version_waits(program: Program) -> None:
    spool = program.agent.spool
    assert spool is not None
    (spool.folder / "00000000000000000001-x.turn").write_bytes(encode({"v": 99}))
    assert spool.replay() == 0
    assert len(waiting(spool.folder)) == 1


def test_a_folder_that_cannot_be_written_to_is_told_at_once(
    server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    config = RedisConfig(url=server.url, spool_dir=str(tmp_path / "file"))
    with pytest.raises(InvalidInput, match="spool_dir"):
        SessionAgent(redis_config=config).initialize()


def test_a_full_disk_is_told_with_the_answer(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = program.manager.create_or_resume_session()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TurnNotSaved) as caught:
        program.manager.run(sid, "down")
    assert caught.value.text == "answer to down"
    assert "No space left" in caught.value.__notes__[0]
    assert program.agent.spool is not None
    assert list(program.agent.spool.folder.iterdir()) == []
    program.server.start()


def test_the_doctor_tells_of_a_folder_in_which_nothing_could_be_spooled(
    redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("in the way")
    for folder in (tmp_path / "a file", tmp_path / "a file" / "spool"):
        check = spool_check(RedisSessionManager(RedisConfig(url=redis_url, spool_dir=str(folder))))
        assert check.verdict == "fail"
        assert f"{tmp_path / 'a file'} is no folder" in check.detail
    absent = RedisSessionManager(
        RedisConfig(url=redis_url, spool_dir=str(tmp_path / "to" / "come"))
    )
    assert spool_check(absent).verdict == "ok"
    assert not (tmp_path / "to").exists()


def test_the_doctor_tells_of_the_backlog_even_when_redis_is_down(program: Program) -> None:
    def check() -> Check:
        return spool_check(program.agent.store)

    assert check().verdict == "ok"
    sid = program.manager.create_or_resume_session()
    program.manager.run(sid, "down")
    found = check()
    assert (found.verdict, found.detail[:6]) == ("warn", "1 turn")
    program.server.start()
    program.agent.background.run_all()
    assert check().verdict == "ok"
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "late")
    program.manager.end_session(sid)
    program.agent.background.run_all()
    assert check().verdict == "fail"


def test_the_same_redis_under_another_spelling_of_its_address_takes_what_waits(
    tmp_path: Path,
) -> None:
    """Another name of the host, a socket, another user: the session and its epoch tell."""
    with RedisServer(tcp=True) as server:
        spellings = [server.url, server.url.replace("127.0.0.1", "localhost"),
                     f"unix://default:@{server.socket}?db=0"]  # fmt: skip
        for was, now in zip(spellings, [*spellings[1:], spellings[0]], strict=True):
            store = RedisSessionManager(RedisConfig(url=was, spool_dir=str(tmp_path)))
            session = new_id()
            store.create_session(session)
            turn = store.begin_turn(session, "hi")
            Spool(tmp_path, store.parts).keep(turn, [Message("assistant", "told")], UsageTotals())
            store.disconnect()
            renamed = RedisConfig(url=now, spool_dir=str(tmp_path))
            check = spool_check(RedisSessionManager(renamed))
            assert (check.verdict, check.detail[:6]) == ("warn", "1 turn")
            with SessionAgent(redis_config=renamed) as agent:
                assert [m.text for m in agent.store.load_thread(session).messages] == ["hi", "told"]
                assert spool_check(agent.store).verdict == "ok"
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["redis://elsewhere", "redis://elsewhere/0", "unix:///s/5"])
def test_a_turn_whose_session_is_not_here_waits_for_the_store_that_has_it(
    program: Program, other: str
) -> None:
    spool, store = program.agent.spool, program.agent.store
    assert spool is not None
    away = RedisSessionManager(RedisConfig(url=other))
    turn = store.begin_turn(program.manager.create_or_resume_session(), "hi")
    elsewhere = evolve(turn, thread=evolve(turn.thread, epoch=turn.thread.epoch + 1))
    unknown = evolve(turn, session_id="unknown")
    for each in (elsewhere, unknown):
        Spool(spool.folder, away.parts).keep(each, [Message("assistant", "x")], UsageTotals())
    for _ in range(2):
        assert spool.replay() == 0
    backlog = spool.backlog()
    assert (backlog.waiting, len(backlog.elsewhere), backlog.set_aside) == (0, 2, ())
    assert spool.waiting == 0
    assert spool_check(store).verdict == "warn"


def test_a_turn_from_under_another_address_that_others_answered_is_set_aside(
    program: Program,
) -> None:
    """Also if this process has tried to store it, and nobody heard of that."""
    spool, store = program.agent.spool, program.agent.store
    assert spool is not None
    store.config.lease_ttl, store.config.retry_on_timeout = 0.1, False
    turn = store.begin_turn(program.manager.create_or_resume_session(), "hi")
    theirs = store.resume_turn(turn.session_id, busy_timeout=5)
    assert theirs is not None
    store.config.lease_ttl = 30
    theirs = store.stage_step(theirs, [Message("assistant", "wait")])
    away = RedisSessionManager(RedisConfig(url="redis://elsewhere"))
    Spool(spool.folder, away.parts).keep(turn, [Message("assistant", "mine")], UsageTotals())
    with losing(store, "replay_turn"), pytest.raises(StoreUnavailable):
        spool.replay(turn.session_id)
    store.commit_turn(theirs, [Message("assistant", "theirs")])
    assert spool.replay(turn.session_id) == 0
    backlog = spool.backlog()
    assert (backlog.elsewhere, len(backlog.set_aside)) == ((), 1)


@pytest.mark.parametrize(
    "settings", [{"url": "redis://elsewhere/1"}, {"url": "redis://elsewhere", "namespace": "acme"}]
)
def test_a_turn_of_another_database_or_namespace_is_none_of_ours(
    program: Program, settings: dict[str, str]
) -> None:
    spool = program.agent.spool
    assert spool is not None
    away = RedisSessionManager(RedisConfig(**settings))  # type: ignore[arg-type]
    turn = program.agent.store.begin_turn(program.manager.create_or_resume_session(), "hi")
    Spool(spool.folder, away.parts).keep(turn, [Message("assistant", "x")], UsageTotals())
    assert spool.replay() == 0
    assert (spool.backlog().waiting, spool.backlog().elsewhere) == (0, ())
    assert len(waiting(spool.folder)) == 1


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_secret(path: Path) -> None:
    path.write_text("")
    path.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")


@pytest.mark.parametrize("make", [make_folder, make_link_to_itself, make_pipe, make_secret])
def test_what_cannot_be_read_is_told_once_and_stops_nothing_else(
    server: RedisServer, tmp_path: Path, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "x.turn")
    make(tmp_path / "00000000000000000001-x.draft")
    with caplog.at_level("WARNING"):
        program = Program(server, tmp_path)
        spool = program.agent.spool
        assert spool is not None
        sid = program.manager.create_or_resume_session()
        spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "mine")
        assert program.manager.chat(sid, "on") == "answer to on"
        assert spool.replay() == 0
        found = spool_check(program.agent.store)
        assert program.agent.shutdown()
    told = [r for r in caplog.records if r.name == "miniagent_redis" and "x.turn" in r.message]
    assert len(told) <= 2  # by the agent, and by the doctor
    assert found.verdict == "warn"
    assert str(tmp_path / "x.turn") in found.detail
    assert (tmp_path / "x.turn").is_symlink() or (tmp_path / "x.turn").exists()


def test_a_folder_that_cannot_be_listed_is_told_and_stops_nothing(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    sid = program.manager.create_or_resume_session()
    monkeypatch.setattr(os, "listdir", denied)
    assert program.manager.chat(sid, "hi") == "answer to hi"
    found = spool_check(program.agent.store)
    assert found.verdict == "fail"
    assert "Permission denied" in found.detail


def test_a_file_that_may_not_be_taken_away_is_stored_and_told_once(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    sid = program.manager.create_or_resume_session()
    spool = program.agent.spool
    assert spool is not None
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "mine")
    with monkeypatch.context() as forbidden:
        forbidden.setattr(Path, "unlink", denied)
        assert [spool.replay() for _ in range(3)] == [1, 0, 0]
    assert program.said(sid) == ["hi", "mine"]
    assert [e.type for e in program.events].count(EventType.TURN_REPLAYED) == 1


def test_a_file_that_another_process_took_away_meanwhile_is_no_fault(program: Program) -> None:
    sid = program.manager.create_or_resume_session()
    spool = program.agent.spool
    assert spool is not None
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "mine")
    other = Spool(spool.folder, program.agent.store.parts)
    assert (other.replay(), spool.waiting, spool.replay()) == (1, 1, 0)
    assert (spool.waiting, spool.backlog().faults) == (0, {})


def test_a_session_that_cannot_be_stored_now_stops_no_other(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, store = program.agent.spool, program.agent.store
    assert spool is not None
    stuck, other = (program.manager.create_or_resume_session() for _ in range(2))
    spool_turn(program, store.begin_turn(stuck, "hi"), "first")
    spool_turn(program, store.begin_turn(other, "hi"), "second")
    storing = store.parts.storing
    replay_turn = storing.replay_turn

    def replay(turn: OpenTurn, **more: Any) -> int:
        if turn.session_id == stuck:
            raise StoreUnavailable("its part of the cluster is away")
        return replay_turn(turn, **more)

    with monkeypatch.context() as broken:
        broken.setattr(storing, "replay_turn", replay)
        with pytest.raises(StoreUnavailable):
            spool.replay()
    assert program.said(other) == ["hi", "second"]
    assert spool.replay() == 1
    assert program.said(stuck) == ["hi", "first"]


def test_nothing_is_listed_for_a_session_of_which_nothing_waits(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = program.manager.create_or_resume_session()
    spool = program.agent.spool
    assert spool is not None
    os.utime(spool.folder, (1, 1))  # what was written a moment ago may not show in its time
    spool.replay()
    monkeypatch.setattr(os, "listdir", None)
    program.agent.background.stop()
    assert program.manager.chat(sid, "hi") == "answer to hi"
