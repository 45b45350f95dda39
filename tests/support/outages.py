"""Every kind of outage as a context manager over a real server and a proxy in front of it.

``OUTAGES[kind](place, store)`` brings it about for the length of a ``with`` block, and leaves a
server that is in order with all its data. Nothing here knows what a store should make of it.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from miniagent_redis import PoolExhausted, RedisSessionManager
from tests.support.place import APP, Place
from tests.support.waiting import until

Outage = Callable[[Place, RedisSessionManager], AbstractContextManager[None]]
OUTAGES: dict[str, Outage] = {}
HARMLESS = {"scripts forgotten"}
"""Kinds that no call may notice."""


def _outage(kind: str) -> Callable[[Callable[..., Iterator[None]]], None]:
    def enter(function: Callable[..., Iterator[None]]) -> None:
        OUTAGES[kind] = contextmanager(function)

    return enter


@_outage("killed")
def _killed(place: Place, _: object) -> Iterator[None]:
    place.server.kill()
    try:
        yield
    finally:
        place.server.start()


@_outage("restarted")
def _restarted(place: Place, _: object) -> Iterator[None]:
    place.server.kill()
    place.server.start()
    yield


@_outage("frozen")
def _frozen(place: Place, _: object) -> Iterator[None]:
    place.server.pause()
    try:
        yield
    finally:
        place.server.resume()


@_outage("refusing")
def _refusing(place: Place, _: object) -> Iterator[None]:
    place.proxy.refuse()
    place.proxy.cut()
    try:
        yield
    finally:
        place.proxy.listen()


class _Loading(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):
            while self.request.recv(1 << 16):
                self.request.sendall(b"-LOADING Redis is loading the dataset in memory\r\n")


class _LoadingServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


@_outage("loading")
def _loading(place: Place, _: object) -> Iterator[None]:
    # A server is not loading for a time of our choosing: something else answers in its place.
    path = place.server.folder / f"loading-{place.dice.getrandbits(32)}"
    with _LoadingServer(str(path), _Loading) as loading:
        thread = threading.Thread(target=loading.serve_forever, args=(0.01,))
        thread.start()
        before, place.proxy.upstream = place.proxy.upstream, path
        place.proxy.cut()
        try:
            yield
        finally:
            place.proxy.upstream = before
            place.proxy.cut()
            loading.shutdown()
            thread.join()


def _setting(kind: str, name: str, bad: str | int, good: str | int) -> None:
    @_outage(kind)
    def configured(place: Place, _: object) -> Iterator[None]:
        admin = place.admin()
        admin.config_set(name, bad)
        try:
            yield
        finally:
            admin.config_set(name, good)


_setting("no memory", "maxmemory", 1, 0)
_setting("no replicas", "min-replicas-to-write", 1, 0)


@_outage("read only")
def _read_only(place: Place, _: object) -> Iterator[None]:
    admin = place.admin()
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")


@_outage("password wanted")
def _password_wanted(place: Place, _: object) -> Iterator[None]:
    admin = place.admin()
    admin.config_set("requirepass", "new")
    place.send_away(admin)
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", "default", "nopass")


def _rights(kind: str, bad: tuple[str, ...], good: tuple[str, ...], *, send_away: bool) -> None:
    @_outage(kind)
    def reduced(place: Place, _: object) -> Iterator[None]:
        admin = place.admin()
        admin.execute_command("ACL", "SETUSER", APP[0], *bad)
        if send_away:
            place.send_away(admin)
        try:
            yield
        finally:
            admin.execute_command("ACL", "SETUSER", APP[0], *good)


_rights("password wrong", ("resetpass", ">wrong"), ("resetpass", f">{APP[1]}"), send_away=True)
_rights("no rights", ("-@all",), ("+@all",), send_away=False)
_rights("no channels", ("resetchannels",), ("&*",), send_away=False)


@_outage("scripts forgotten")
def _scripts_forgotten(place: Place, _: object) -> Iterator[None]:
    with _again_and_again(place.admin().script_flush):
        yield


@_outage("black hole")
def _black_hole(place: Place, _: object) -> Iterator[None]:
    place.proxy.is_black_hole = True
    try:
        yield
    finally:
        place.proxy.is_black_hole = False
        place.proxy.cut()


@_outage("cut")
def _cut(place: Place, _: object) -> Iterator[None]:
    with _again_and_again(place.proxy.cut):
        yield


@contextmanager
def _again_and_again(action: Callable[[], object]) -> Iterator[None]:
    over = threading.Event()

    def loop() -> None:
        action()
        while not over.wait(0.003):
            action()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _fault(kind: str, name: str, bad: float) -> None:
    @_outage(kind)
    def faulty(place: Place, _: object) -> Iterator[None]:
        setattr(place.proxy, name, bad)
        try:
            yield
        finally:
            setattr(place.proxy, name, 0.0)


_fault("replies lost", "lose", 1.0)
_fault("some replies lost", "lose", 0.5)
_fault("replies torn", "tear", 1.0)
_fault("replies late", "delay", 2.0)  # a wait for one takes longer on a busy machine


@_outage("requests late")
def _requests_late(place: Place, _: object) -> Iterator[None]:
    place.proxy.is_holding = True
    try:
        yield
    finally:
        place.proxy.release()


@_outage("pool exhausted")
def _pool_exhausted(place: Place, store: RedisSessionManager) -> Iterator[None]:
    held = store.parts.core.connections.pool
    taken: list[Any] = []
    with suppress(PoolExhausted):  # others have the rest
        for _ in range(store.config.max_connections):
            taken.append(held.take())
    try:
        yield
    finally:
        for connection in taken:
            held.give(connection, in_order=True)


@_outage("busy script")
def _busy_script(place: Place, _: object) -> Iterator[None]:
    admin, other = place.admin(), place.admin()
    other.ping()

    def run() -> None:
        with suppress(redis.ResponseError):  # SCRIPT KILL ends it so
            admin.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: _is_busy(other))
        yield
    finally:
        other.script_kill()
        thread.join()


def _is_busy(client: redis.Redis) -> bool:
    try:
        return not client.ping()
    except redis.ResponseError:
        return True


@_outage("cannot save")
def _cannot_save(place: Place, _: object) -> Iterator[None]:
    admin = place.admin()
    in_the_way = Path(place.server.folder / "dump.rdb")
    in_the_way.unlink(missing_ok=True)
    in_the_way.mkdir()
    (in_the_way / "occupied").touch()  # else a rename may replace it
    admin.config_set("save", "3600 100000")
    admin.bgsave()
    until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
    try:
        yield
    finally:
        admin.config_set("save", "")
        (in_the_way / "occupied").unlink()
        in_the_way.rmdir()


@_outage("too many clients")
def _too_many_clients(place: Place, _: object) -> Iterator[None]:
    admin = place.admin()
    admin.config_set("maxclients", 1)
    place.send_away(admin)
    try:
        yield
    finally:
        admin.config_set("maxclients", 10000)
