"""Over TLS: everything works, and whatever is wrong with a certificate is told with its cure."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from miniagent_redis import EventType, StoreMisconfigured, StoreUnavailable, aio
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.connection.tls_faults import source
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.servers import RedisServer
from tests.support.tls import Authority, TlsServer, authority
from tests.support.words import lines, said, soon

EXPIRED = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> Iterator[Authority]:
    with authority() as made:
        yield made


@pytest.fixture(scope="module")
def server(ca: Authority) -> Iterator[TlsServer]:
    with TlsServer(ca, ca.issue("localhost")) as started:
        yield started


def config(server: TlsServer, ca: Authority, **settings: Any) -> RedisConfig:
    return RedisConfig(url=server.url, ssl_ca_certs=ca.file, **settings)


def refusal(config: RedisConfig) -> StoreMisconfigured:
    """Return what connecting raises; it is told at once, and is no outage."""
    store = Store(config)
    error = soon(StoreMisconfigured, store.connect)
    assert error.cause
    assert "redis-server" not in error.hint
    return error


def test_turns_watchers_and_channels_work(server: TlsServer, ca: Authority) -> None:
    with Store(config(server, ca)) as store:
        store.client.flushdb()
        store.create_session("s")
        store.subscribe(["news"])
        watched = store.watch("s", after="0-0", timeout=5)
        assert next(watched).type is EventType.SESSION_CREATED
        store.commit_turn(store.begin_turn("s", "one"), [said("1" * 100_000)])
        assert next(watched).type is EventType.TURN_STARTED
        store.publish("news", {"a": 1})
        assert next(store.get_messages(timeout=5))["data"] == {"a": 1}
        assert lines(store) == ["user:one", "assistant:" + "1" * 100_000]
        with store.lock("it"):
            assert store.is_locked("it")
        assert store.client.ping()


def test_authorities_are_read_once_and_again_when_their_file_changes(
    server: TlsServer, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, create = [0], ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made[0] += 1
        return create()

    monkeypatch.setattr(ssl, "create_default_context", counted)
    trusted = tmp_path / "ca.pem"
    settings = RedisConfig(url=server.url, ssl_ca_certs=str(trusted))
    with authority() as other:
        trusted.write_bytes(Path(other.file).read_bytes())
    refusal(settings)
    assert made == [1]
    trusted.write_bytes(Path(ca.file).read_bytes())
    for _ in range(3):
        with Store(settings) as store:
            assert store.get_session("nobody") is None
    assert made == [2]


def test_many_threads_share_the_connections(server: TlsServer, ca: Authority) -> None:
    with Store(config(server, ca, max_connections=3)) as store:
        names = [f"t{n}" for n in range(6)]
        for name in names:
            store.create_session(name, {"name": name})
        wrong: list[object] = []

        def work(name: str) -> None:
            for _ in range(30):
                if (found := store.get_session(name)) != {"name": name}:
                    wrong.append(found)

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_a_connection_that_the_server_closed_is_replaced(server: TlsServer, ca: Authority) -> None:
    with Store(config(server, ca)) as store:
        store.create_session("kept")
        for _ in range(3):
            server.client(ssl_ca_certs=ca.file).client_kill_filter(_type="normal", skipme=True)
            assert store.get_session("kept") == {}
            assert store.client.ping()


def test_a_frozen_server_is_told_soon(ca: Authority) -> None:
    with (
        TlsServer(ca, ca.issue("localhost")) as server,
        Store(config(server, ca, socket_timeout=0.2)) as store,
    ):
        store.create_session("s")
        server.pause()
        soon(StoreUnavailable, lambda: store.get_session("s"))
        server.resume()
        assert store.health_check()
        assert store.get_session("s") == {}


def test_asyncio_works(server: TlsServer, ca: Authority) -> None:
    async def use() -> None:
        async with aio.RedisSessionManager(config(server, ca)) as store:
            await store.create_session("async")
            assert await store.get_session("async") == {}
            assert await store.client.ping()

    asyncio.run(use())


def test_a_client_certificate_is_shown_to_a_server_that_wants_one(ca: Authority) -> None:
    certificate, key = ca.issue("me")
    with TlsServer(ca, ca.issue("localhost"), clients="yes") as server:
        with Store(config(server, ca, ssl_certfile=certificate, ssl_keyfile=key)) as store:
            assert store.create_session("s")
        for _ in range(5):  # whichever of the two sides is faster
            error = refusal(config(server, ca))
            assert "wants a certificate" in error.problem
            assert "ssl_certfile" in error.hint
        with authority() as stranger:
            certificate, key = stranger.issue("me")
            for _ in range(5):
                settings = {"ssl_certfile": certificate, "ssl_keyfile": key}
                error = refusal(config(server, ca, **settings))
                assert "does not accept our certificate" in error.problem
                assert "ssl_certfile" in error.hint


def test_a_certificate_of_an_unknown_authority_is_refused(server: TlsServer) -> None:
    assert "ssl_ca_certs" in refusal(RedisConfig(url=server.url)).hint
    with authority() as stranger:
        assert "ssl_ca_certs" in refusal(config(server, stranger)).hint


def test_an_expired_certificate_is_refused(ca: Authority) -> None:
    expired = ca.issue("localhost", not_after=EXPIRED)
    with TlsServer(ca, expired) as server:
        error = refusal(config(server, ca))
    assert "expired" in error.cause
    assert "new one" in error.hint


def test_a_certificate_of_another_host_is_refused(ca: Authority) -> None:
    with TlsServer(ca, ca.issue("example.org")) as server:
        error = refusal(config(server, ca))
        assert "localhost" in error.cause
        assert "name" in error.hint
        with Store(config(server, ca, ssl_check_hostname=False)) as store:
            assert store.create_session("s")


def test_a_certificate_fault_is_no_outage(server: TlsServer, ca: Authority) -> None:
    with authority() as stranger:
        store = Store(config(server, stranger))
        assert not store.health_check()
        soon(StoreMisconfigured, lambda: store.get_session("s"))
        assert store.parts.core.connections.availability.current().state == "healthy"


def test_an_exception_that_is_just_dealt_with_is_not_taken_for_the_cause(
    ca: Authority, server: TlsServer
) -> None:
    with authority() as stranger:
        try:
            Store(config(server, stranger)).connect()
        except StoreMisconfigured:
            store = Store(RedisConfig(url="rediss://localhost:1", ssl_ca_certs=ca.file))
            assert "no Redis answers" in soon(StoreUnavailable, store.connect).problem


def test_an_exception_without_a_cause_is_its_own() -> None:
    alone = redis.ConnectionError("gone")
    assert source(alone) is alone


def test_tls_spoken_to_a_port_without_it_is_told(ca: Authority) -> None:
    with RedisServer(tcp=True) as plain:
        url = f"rediss://localhost:{plain.port}"
        error = refusal(RedisConfig(url=url, ssl_ca_certs=ca.file, socket_timeout=0.3))
        assert "does not speak TLS" in error.problem
        assert "redis://" in error.hint
    with talker(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        error = refusal(RedisConfig(url=f"rediss://localhost:{port}"))
        assert "does not speak TLS" in error.problem


def test_a_port_for_tls_spoken_to_without_it_is_told(server: TlsServer) -> None:
    for _ in range(3):
        error = refusal(RedisConfig(url=f"redis://localhost:{server.tls_port}"))
        assert "without TLS: it wants that" in error.problem
        assert "rediss://" in error.hint


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_another_kind_of_server_is_told(words: bytes) -> None:
    with talker(words) as port:
        error = refusal(RedisConfig(url=f"redis://localhost:{port}"))
    assert "not a Redis" in error.problem
    assert ("HTTP" in error.problem) == words.startswith(b"HTTP")


def test_a_web_page_is_told() -> None:
    with talker(b"<html></html>\r\n") as port:
        error = refusal(RedisConfig(url=f"redis://localhost:{port}"))
    assert "web server" in error.problem
    assert "port" in error.hint
    assert "rediss://" not in error.hint


def test_an_alert_of_tls_is_told() -> None:
    """Of an older redis-py without hiredis, which waits for a whole line, only by the hint."""
    with talker(b"\x15\x03\x03\x00\x02\x02\x46") as port:
        store = Store(RedisConfig(url=f"redis://localhost:{port}"))
        with pytest.raises((StoreMisconfigured, StoreUnavailable)) as caught:
            store.connect()
        error = caught.value
    assert "rediss://" in error.hint
    assert "port" in error.hint


@contextmanager
def talker(words: bytes) -> Iterator[int]:
    """Serve on the port that is yielded: say the words to whoever speaks to it."""
    with socket.create_server(("localhost", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    link, _ = listening.accept()
                    with link:
                        link.recv(1000)
                        link.sendall(words)

        threading.Thread(target=serve, daemon=True).start()
        port: int = listening.getsockname()[1]
        yield port
        listening.shutdown(socket.SHUT_RDWR)
