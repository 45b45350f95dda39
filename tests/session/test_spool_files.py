"""The files of the spool: whose they are, and what becomes of those that cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from servers import RedisServer
from spooling import Program, spool_turn, waiting

from miniagent_redis import InvalidInput, RedisConfig, SessionAgent, TurnNotSaved
from miniagent_redis.codec import encode
from miniagent_redis.diagnosis import diagnose


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


def test_the_doctor_tells_of_the_backlog_even_when_redis_is_down(program: Program) -> None:
    def check() -> Any:
        return next(c for c in diagnose(program.agent.store) if c.name == "spool")

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
