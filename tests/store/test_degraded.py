"""A server that may lose live sessions makes the store degraded, or is refused by ``strict``."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    StoreMisconfigured,
    StreamCallback,
)
from miniagent_redis.connection.kept import CONFIG, INFO, look
from miniagent_redis.doctor import diagnose
from tests.support.cluster import ClusterServers
from tests.support.servers import NOTHING_KEPT, RedisServer

EVICTS = "allkeys-lru: it may throw away live sessions"
LOSES_ALL = "memory: a restart of the server loses everything"
EVICTING = ("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")


@pytest.fixture(scope="module")
def evicting() -> Iterator[RedisServer]:
    with RedisServer(*EVICTING) as server:
        yield server


@pytest.fixture(scope="module")
def forgetful() -> Iterator[RedisServer]:
    with RedisServer(*NOTHING_KEPT) as server:
        yield server


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "miniagent_redis")
    return caplog


def user_without(server: RedisServer, *rights: str) -> str:
    """Return the url of a server for a user who may not send some commands."""
    words = ("reset", "on", ">pw", "~*", "&*", "+@all", *rights)
    server.client().execute_command("ACL", "SETUSER", "app", *words)
    return server.url_of("app", "pw")


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_server_that_evicts_makes_the_store_degraded_with_one_warning(
    evicting: RedisServer, log: pytest.LogCaptureFixture, protocol: int
) -> None:
    with RedisSessionManager(RedisConfig(url=evicting.url, protocol=protocol)) as store:
        health = store.health()
        assert (health.state, health.durability) == ("degraded", "everysec")
        assert EVICTS in health.error
        assert "set `maxmemory-policy noeviction` where it is started" in health.error
        assert store.health_check()
        assert store.get_session("s") is None
    assert log.messages == [f"the store is degraded: {health.error}"]


def test_a_server_that_keeps_nothing_makes_the_store_degraded(
    forgetful: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    with RedisSessionManager(RedisConfig(url=forgetful.url)) as store:
        assert store.health().state == "degraded"
    (message,) = log.messages
    assert LOSES_ALL in message
    assert "set `appendonly yes`" in message


@pytest.mark.parametrize(
    "settings",
    [
        ("--appendonly", "yes"),
        ("--save", "3600 1"),
        ("--appendonly", "yes", "--maxmemory", "100mb"),
        ("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"),  # of no limit
    ],
)
def test_of_a_server_that_loses_nothing_by_itself_nothing_is_said(
    settings: tuple[str, ...], log: pytest.LogCaptureFixture
) -> None:
    with (
        RedisServer(*settings) as server,
        RedisSessionManager(RedisConfig(url=server.url, strict=True)) as store,
    ):
        assert store.health().state == "healthy"
    assert log.messages == []


@pytest.mark.parametrize("hidden", [("-config",), ("-info",)])
def test_one_of_info_and_config_is_enough_to_know_of_eviction(
    evicting: RedisServer, hidden: tuple[str, ...]
) -> None:
    config = RedisConfig(url=user_without(evicting, *hidden))
    with RedisSessionManager(config) as store:
        assert EVICTS in store.health().error


def test_where_neither_info_nor_config_tells_nothing_is_said(
    evicting: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    config = RedisConfig(url=user_without(evicting, "-config", "-info"), strict=True)
    with RedisSessionManager(config) as store:
        assert (store.health().state, store.health().durability) == ("healthy", "unknown")
    assert log.messages == []


def test_who_may_not_ask_for_config_is_not_told_of_snapshots_that_may_be_there(
    forgetful: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    with RedisSessionManager(RedisConfig(url=user_without(forgetful, "-config"))) as store:
        assert (store.health().state, store.health().durability) == ("healthy", "memory")
    assert log.messages == []


def test_a_user_with_the_least_rights_is_refused_nothing_where_all_is_well() -> None:
    with RedisServer("--appendonly", "yes") as server:
        with RedisSessionManager(RedisConfig(url=user_without(server, "-config"))) as store:
            store.create_session("s")
        assert server.client().acl_log() == []


def test_in_memory_and_where_no_more_is_demanded_that_nothing_is_kept_is_no_news(
    forgetful: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    for config in (
        RedisConfig(url="memory://", strict=True),
        RedisConfig(url=forgetful.url, durability="memory", strict=True),
    ):
        with RedisSessionManager(config) as store:
            assert (store.health().state, store.health().durability) == ("healthy", "memory")
    assert log.messages == []


def test_an_answer_of_a_proxy_that_is_none_tells_nothing() -> None:
    asked: list[object] = []

    def ask(command: object) -> object:
        asked.append(command)
        return b"OK"

    kept = look(ask, (CONFIG, INFO), lambda kept: kept.is_settled, set())
    assert asked == [CONFIG, INFO]
    assert (kept.durability, kept.worries, dict(kept.settings)) == ("unknown", [], {})


def test_strict_refuses_it_at_connect_with_the_cure(
    evicting: RedisServer, forgetful: RedisServer
) -> None:
    for server, cause, cure in (
        (evicting, EVICTS, "`maxmemory-policy noeviction`"),
        (forgetful, LOSES_ALL, "`appendonly yes`"),
    ):
        with pytest.raises(StoreMisconfigured, match="may lose sessions that are alive") as caught:
            RedisSessionManager(RedisConfig(url=server.url, strict=True)).connect()
        assert caught.value.cause == cause
        assert f"set {cure} where it is started" in caught.value.hint
    assert RedisConfig.from_env({"MINIAGENT_STRICT": "yes", "REDIS_HOST": "h"}).strict


def test_strict_refuses_a_server_that_came_back_with_less() -> None:
    with (
        RedisServer("--appendonly", "yes") as server,
        RedisSessionManager(RedisConfig(url=server.url, strict=True)) as store,
    ):
        store.create_session("s")
        server.client().config_set("appendonly", "no")
        server.client().config_set("save", "")
        server.client().client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StoreMisconfigured, match="may lose sessions"):
            store.get_session("s")


def test_callbacks_are_told_once_when_it_begins_and_once_when_it_ends() -> None:
    callbacks = StreamCallback()
    told: list[tuple[str, bool]] = []

    @callbacks.on(EventType.HEALTH_CHANGED)
    def note(event: object) -> None:
        data = event.data  # type: ignore[attr-defined]
        told.append((data["state"], LOSES_ALL in data["error"]))

    with RedisServer(*NOTHING_KEPT) as server:
        config = RedisConfig(url=server.url, health_check_interval=0.05)
        with SessionAgent(AgentConfig(), callbacks=callbacks, redis_config=config) as agent:
            assert told == [("degraded", True)]
            for _ in range(3):
                agent.store.health()
            assert told == [("degraded", True)]
            server.client().config_set("appendonly", "yes")
            assert agent.store.health().state == "healthy"
            assert told == [("degraded", True), ("healthy", False)]


def test_after_an_outage_it_is_degraded_still() -> None:
    with (
        RedisServer(*NOTHING_KEPT) as server,
        RedisSessionManager(RedisConfig(url=server.url)) as store,
    ):
        server.kill()
        assert store.health().state == "down"
        server.start()
        assert store.health().state == "degraded"


def test_a_turn_asks_for_none_of_it(evicting: RedisServer) -> None:
    with RedisSessionManager(RedisConfig(url=evicting.url)) as store:
        store.create_session("s")
        evicting.client().config_resetstat()
        store.commit_turn(store.begin_turn("s", "Hi"), [Message("assistant", "Hello")])
        assert not {"cmdstat_info", "cmdstat_config|get"} & set(
            evicting.client().info("commandstats")
        )


def test_the_doctor_says_it_with_the_same_words(
    evicting: RedisServer, forgetful: RedisServer
) -> None:
    for server, name, words in (
        (evicting, "eviction", EVICTS),
        (forgetful, "persistence", LOSES_ALL),
    ):
        with RedisSessionManager(RedisConfig(url=server.url)) as store:
            checks = {check.name: check for check in diagnose(store)}
            assert (checks[name].verdict, checks[name].detail) == ("fail", words)
            assert words in store.health().error


def test_the_doctor_examines_a_server_that_does_less_than_is_demanded(
    evicting: RedisServer,
) -> None:
    for config in (
        RedisConfig(url=evicting.url, strict=True),
        RedisConfig(url=evicting.url, durability="always"),
    ):
        checks = {check.name: check for check in diagnose(RedisSessionManager(config))}
        assert checks["reachable"].verdict == "fail"
        assert (checks["eviction"].verdict, checks["eviction"].detail) == ("fail", EVICTS)
        assert "CONFIG SET maxmemory-policy noeviction" in checks["eviction"].fix


def test_in_a_cluster_each_master_is_asked(cluster: ClusterServers, cluster_url: str) -> None:
    odd = cluster.masters[1].client
    with RedisSessionManager(RedisConfig(url=cluster_url)) as store:
        assert store.health().state == "healthy"
        odd.config_set("maxmemory", "100mb")
        odd.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert EVICTS in store.health().error
        finally:
            odd.config_set("maxmemory-policy", "noeviction")
            odd.config_set("maxmemory", "0")
        assert store.health().state == "healthy"
