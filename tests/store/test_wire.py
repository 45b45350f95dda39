"""One send and one receive an exchange, and timeouts that hold: on each kind of socket."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from miniagent_redis import Message, MiniAgentError, StoreUnavailable
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.connection.resp import pack
from miniagent_redis.connection.wire import IS_AVAILABLE, Wire
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.servers import RedisServer

TIMEOUT = 0.3
with_hiredis = pytest.mark.skipif(not IS_AVAILABLE, reason="redis-py reads the replies")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Replaced:
    """A socket as gevent puts it in the place of Python's: not one of them, and it counts."""

    def __init__(self, real: socket.socket, timeout: float) -> None:
        self._real = real
        self.calls: list[str] = []
        real.settimeout(timeout)

    def __getattr__(self, name: str) -> Any:
        if name in ("sendall", "recv"):
            self.calls.append(name)
        return getattr(self._real, name)


def took(call: Any, error: type[BaseException]) -> float:
    began = time.monotonic()
    with pytest.raises(error):
        call()
    return time.monotonic() - began


@pytest.mark.parametrize("thread", ["main", "other"])
def test_a_server_that_keeps_silent_is_waited_for_no_longer_than_the_timeout(thread: str) -> None:
    config: Any = {"socket_timeout": TIMEOUT, "retry_on_timeout": False}
    with RedisServer() as server, Store(RedisConfig(url=server.url, **config)) as store:
        store.create_session("s")
        server.pause()
        seconds: list[float] = []

        def call() -> None:
            seconds.append(took(lambda: store.get_session("s"), StoreUnavailable))

        if thread == "main":
            call()
        else:
            other = threading.Thread(target=call)
            other.start()
            other.join()
        server.resume()
        assert TIMEOUT * 0.9 < seconds[0] < TIMEOUT + 1.5


def test_signals_that_come_all_the_time_do_not_lengthen_the_wait() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread only")
    came = 0

    def count(*_: object) -> None:
        nonlocal came
        came += 1

    settings: Any = {"socket_timeout": TIMEOUT, "retry_on_timeout": False}
    with RedisServer() as server:
        config = RedisConfig(url=server.url, **settings)
        reader, writer = Store(config), Store(config)
        reader.create_session("s")
        assert writer.get_session("s") == {}
        large = Message("user", "x" * 900_000)  # more than a socket takes at once
        before = signal.signal(signal.SIGALRM, count)
        server.pause()
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            assert took(lambda: reader.get_session("s"), StoreUnavailable) < TIMEOUT + 1.5
            write = partial(writer.append_to_thread, "s", large)
            assert TIMEOUT * 0.9 < took(write, MiniAgentError) < TIMEOUT + 1.5
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            server.resume()
            reader.disconnect()
            writer.disconnect()
    assert came > 5


def test_large_values_go_out_and_come_in_whole(redis_url: str) -> None:
    text = "x" * 900_000
    with Store(RedisConfig(url=redis_url)) as store:
        store.create_session("s")
        store.append_to_thread("s", Message("user", text))
        assert store.load_thread("s").messages[0].content == text


@with_hiredis
def test_an_exchange_is_one_send_and_one_receive(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    replaced = Replaced(ours, 1)
    wire = Wire(replaced, 1)
    for count in (1, 3):
        replaced.calls.clear()
        theirs.sendall(b"+OK\r\n" * count)
        wire.send(pack([("PING",)] * count))
        assert wire.receive(count) == [b"OK"] * count
        assert replaced.calls == ["sendall", "recv"]


@with_hiredis
def test_more_replies_than_commands_spoil_the_connection(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    wire = Wire(ours, 1)
    theirs.sendall(b"+OK\r\n+of another\r\n")
    with pytest.raises(Exception, match="more replies"):
        wire.receive(1)


@with_hiredis
def test_what_a_server_pushes_is_no_reply(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    wire = Wire(ours, 1)
    theirs.sendall(b">2\r\n+invalidate\r\n+key\r\n:7\r\n")
    assert wire.receive(1) == [7]


@with_hiredis
@pytest.mark.parametrize("kind", ["plain", "replaced"])
def test_a_connection_is_quiet_while_nothing_has_come(
    ends: tuple[socket.socket, socket.socket], kind: str
) -> None:
    ours, theirs = ends
    ours.settimeout(1)
    wire = Wire(ours if kind == "plain" else Replaced(ours, 1), 1)
    assert wire.is_quiet()
    assert wire.is_quiet()
    theirs.sendall(b"+OK\r\n")
    assert wire.receive(1) == [b"OK"]
    assert wire.is_quiet()
    theirs.close()
    assert not wire.is_quiet()


@with_hiredis
@pytest.mark.parametrize("kind", ["plain", "replaced"])
def test_silence_is_a_timeout(ends: tuple[socket.socket, socket.socket], kind: str) -> None:
    ours, _ = ends
    wire = Wire(ours if kind == "plain" else Replaced(ours, 0.1), 0.1)
    assert took(lambda: wire.receive(1), Exception) < 1


def test_under_gevent_a_call_that_waits_holds_up_nobody() -> None:
    pytest.importorskip("gevent")
    code = """
from gevent import monkey
monkey.patch_all()
import gevent, sys
from miniagent_redis import RedisConfig, RedisSessionManager
ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1
with RedisSessionManager(RedisConfig(url=sys.argv[1], socket_timeout=5)) as store:
    ticking = gevent.spawn(tick)
    store.create_session("s")
    store.parts.core.connections.call("BLPOP", "nothing", "0.5")
    ticking.kill()
    print(ticks)
"""
    with RedisServer() as server:
        command = [sys.executable, "-c", code, server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10
