"""Over TLS: everything works, and whatever is wrong with a certificate is told with its cure."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import EventType, StoreMisconfigured, StoreUnavailable, aio
from miniagent_redis.config.redis import RedisConfig
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
        store = Store(config(server, ca))
        with pytest.raises((StoreMisconfigured, StoreUnavailable)) as caught:
            store.connect()
        assert "ssl_certfile" in caught.value.hint
        with authority() as stranger:
            certificate, key = stranger.issue("me")
            settings = {"ssl_certfile": certificate, "ssl_keyfile": key}
            store = Store(config(server, ca, **settings))
            with pytest.raises((StoreMisconfigured, StoreUnavailable)) as caught:
                store.connect()
        assert "ssl_certfile" in caught.value.hint


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


@pytest.mark.parametrize(("query", "settings"), [
    ("?ssl_cert_reqs=none", {}), ("", {"ssl_cert_reqs": "none"}), ("", {"ssl_cert_reqs": None}),
])  # fmt: skip
def test_any_certificate_is_taken_if_that_is_wanted(
    ca: Authority, query: str, settings: dict[str, Any]
) -> None:
    """As hosts want it who sign their own and change it."""
    with TlsServer(ca, ca.issue("example.org", not_after=EXPIRED)) as server:
        wanted = RedisConfig(url=server.url + query, **settings)
        with Store(wanted) as store:
            assert store.create_session("s")
            assert store.client.ping()

        async def use() -> None:
            async with aio.RedisSessionManager(wanted) as manager:
                assert await manager.client.ping()

        asyncio.run(use())


def test_trusted_authorities_may_be_a_folder_or_a_text(
    server: TlsServer, ca: Authority, tmp_path: Path
) -> None:
    text = Path(ca.file).read_text()
    with Store(RedisConfig(url=server.url, ssl_ca_data=text)) as store:
        assert store.client.ping()
    (tmp_path / "ca.pem").write_text(text)
    subprocess.run(["openssl", "rehash", tmp_path], check=True)
    with Store(RedisConfig(url=f"{server.url}?ssl_ca_path={tmp_path}")) as store:
        assert store.client.ping()


@pytest.mark.parametrize("password", ["letmein", "wrong", None])
def test_a_key_that_is_encrypted_wants_its_password(
    ca: Authority, tmp_path: Path, password: str | None
) -> None:
    certificate, key = ca.issue("me")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-out", locked, "-aes256", "-passout", "pass:letmein"],
        check=True, capture_output=True,
    )  # fmt: skip
    with TlsServer(ca, ca.issue("localhost"), clients="yes") as server:
        wanted = config(
            server, ca, ssl_certfile=certificate, ssl_keyfile=str(locked), ssl_password=password
        )
        if password == "letmein":
            with Store(wanted) as store:
                assert store.client.ping()
        else:
            error = refusal(wanted)
            assert "ssl_password" in error.hint
            assert "letmein" not in str(error)


def test_a_key_of_another_certificate_is_told(server: TlsServer, ca: Authority) -> None:
    certificate, _ = ca.issue("me")
    _, key = ca.issue("me")
    error = refusal(config(server, ca, ssl_certfile=certificate, ssl_keyfile=key))
    assert "key belongs to the certificate" in error.hint


def test_one_that_is_not_valid_yet_is_refused(ca: Authority) -> None:
    future = datetime.now(UTC) + timedelta(days=2)
    early = ca.issue("localhost", not_before=future, not_after=future + timedelta(days=2))
    with TlsServer(ca, early) as server:
        error = refusal(config(server, ca))
    assert "not yet valid" in error.cause
    assert "valid now" in error.hint


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_that_is_missing_or_is_no_certificate_is_told(
    server: TlsServer, ca: Authority, tmp_path: Path, name: str
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path in (tmp_path / "nowhere.pem", nonsense):
        settings: dict[str, Any] = {"ssl_ca_certs": ca.file, name: str(path)}
        error = refusal(RedisConfig(url=server.url, **settings))
        assert "ssl_ca_certs, ssl_certfile and ssl_keyfile" in error.hint


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


def test_tls_spoken_to_a_port_without_it_is_told(ca: Authority) -> None:
    with RedisServer(tcp=True) as plain:
        url = f"rediss://localhost:{plain.port}"
        store = Store(RedisConfig(url=url, ssl_ca_certs=ca.file, socket_timeout=0.3))
        assert "redis://" in soon(StoreUnavailable, store.connect).hint
    with talker(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        error = refusal(RedisConfig(url=f"rediss://localhost:{port}"))
        assert "does not speak TLS" in error.problem


def test_a_port_for_tls_spoken_to_without_it_is_told(server: TlsServer) -> None:
    store = Store(RedisConfig(url=f"redis://localhost:{server.tls_port}"))
    assert "rediss://" in soon(StoreUnavailable, store.connect).hint


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
