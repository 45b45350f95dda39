"""User and password are asked for at each connect, so they may change while a store is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from miniagent_redis import EventType, StoreMisconfigured, StoreUnavailable
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.servers import RedisServer
from tests.support.words import said, soon


class Vault(redis.CredentialProvider):
    """Knows the password of the moment, and changes it on the server."""

    def __init__(self, server: RedisServer) -> None:
        self.password = "first"
        self.asked = 0
        self._admin = server.client()
        self._set()

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        return "app", self.password

    def rotate(self, password: str) -> None:
        """Change the password and send everybody away who came in by the old one."""
        self.password = password
        self._set()
        self._admin.client_kill_filter(_type="normal", skipme=True)
        self._admin.client_kill_filter(_type="pubsub", skipme=True)

    def _set(self) -> None:
        self._admin.execute_command(
            "ACL", "SETUSER", "app", "on", "resetpass", f">{self.password}", "~*", "&*", "+@all"
        )


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def vault(server: RedisServer) -> Vault:
    return Vault(server)


@pytest.mark.parametrize("kind", ["provider", "function"])
def test_calls_go_on_when_the_password_has_changed(
    server: RedisServer, vault: Vault, kind: str
) -> None:
    source: Any = vault if kind == "provider" else vault.get_credentials
    with Store(RedisConfig(url=server.url, credential_provider=source)) as store:
        assert store.client.acl_whoami() == "app"
        store.create_session("s")
        for n in range(3):
            turn = store.begin_turn("s", str(n))
            vault.rotate(f"password-{n}")
            store.commit_turn(turn, [said("yes")])
            assert store.client.ping()
        assert store.session_state("s").message_count == 6
        assert vault.asked > 3


def test_listeners_and_watchers_go_on_when_the_password_has_changed(
    server: RedisServer, vault: Vault
) -> None:
    with Store(RedisConfig(url=server.url, credential_provider=vault)) as store:
        store.create_session("s")
        store.subscribe(["news"])
        watched = store.watch("s", after="0-0", timeout=10)
        assert next(watched).type is EventType.SESSION_CREATED
        vault.rotate("second")
        store.begin_turn("s", "one")
        assert next(watched).type is EventType.TURN_STARTED
        heard = store.get_messages(timeout=10)
        for _ in range(100):  # the first ones are lost with the connection
            store.publish("news", 1)
            if next(store.get_messages(timeout=0.1), None):
                break
        else:
            pytest.fail("nothing was heard any more")
        heard.close()  # type: ignore[attr-defined]


def test_the_asyncio_client_asks_too(server: RedisServer, vault: Vault) -> None:
    with Store(RedisConfig(url=server.url, credential_provider=vault)) as store:

        async def use() -> None:
            client = store.parts.core.connections.async_client()
            try:
                assert await client.acl_whoami() == "app"
                vault.rotate("second")
                with pytest.raises(redis.ConnectionError):  # it never retries
                    await client.ping()
                assert await client.ping()
            finally:
                await client.aclose()
                await client.connection_pool.disconnect()

        asyncio.run(use())


def test_a_password_alone_is_enough() -> None:
    with RedisServer("--requirepass", "secret") as server:
        config = RedisConfig(url=server.url, credential_provider=lambda: "secret")
        with Store(config) as store:
            assert store.create_session("s")


def test_a_password_that_is_outdated_is_told(server: RedisServer, vault: Vault) -> None:
    with Store(RedisConfig(url=server.url, credential_provider=lambda: ("app", "first"))) as store:
        vault.rotate("second")
        error = soon(StoreMisconfigured, lambda: store.get_session("s"))
        assert "password is wrong" in error.hint
        assert "first" not in str(error)


def test_a_source_that_fails_or_gives_nonsense_is_told_as_that(server: RedisServer) -> None:
    def fail() -> str:
        raise RuntimeError("the vault is sealed")

    store = Store(RedisConfig(url=server.url, credential_provider=fail))
    error = soon(StoreUnavailable, store.connect)
    assert "credential_provider failed" in error.problem
    assert "the vault is sealed" in error.cause
    nonsense: Any = lambda: {"password": "hunter2"}  # noqa: E731
    store = Store(RedisConfig(url=server.url, credential_provider=nonsense))
    wrong = soon(StoreMisconfigured, store.connect)
    assert "dict" in wrong.problem
    assert "hunter2" not in str(wrong)
