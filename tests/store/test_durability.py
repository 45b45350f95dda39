"""Durability by name: what a server does, and what is demanded of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from miniagent_redis import InvalidInput, RedisConfig, RedisSessionManager, StoreMisconfigured
from miniagent_redis.acl import acl_rule
from miniagent_redis.config.durability import Durability
from miniagent_redis.doctor import diagnose
from tests.support.servers import RedisServer

LEVELS: dict[Durability, tuple[str, ...]] = {
    "memory": ("--appendonly", "no"),
    "everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "always": ("--appendonly", "yes", "--appendfsync", "always"),
}
NAMES = tuple(LEVELS)
Servers = dict[Durability, RedisServer]
SYNCED_BY_THE_SYSTEM = ("--appendonly", "yes", "--appendfsync", "no")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Yield a server of each level."""
    servers = {name: RedisServer(*args) for name, args in LEVELS.items()}
    for server in servers.values():
        server.start()
    yield servers
    for server in servers.values():
        server.close()


# --- what is demanded of a server that is alone --------------------------------------------


@pytest.mark.parametrize("found", NAMES)
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_server_has_a_name_for_how_durable_it_is(
    servers: Servers, found: Durability, protocol: int
) -> None:
    with RedisSessionManager(RedisConfig(url=servers[found].url, protocol=protocol)) as store:
        assert store.health().durability == found


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("demanded", NAMES)
@pytest.mark.parametrize("found", NAMES)
def test_a_server_that_does_less_than_is_demanded_is_refused_at_connect(
    servers: Servers, demanded: Durability, found: Durability, protocol: int
) -> None:
    config = RedisConfig(url=servers[found].url, protocol=protocol, durability=demanded)
    store = RedisSessionManager(config)
    if NAMES.index(found) >= NAMES.index(demanded):
        with store:
            store.create_session("s")
            assert store.delete_session("s")
        return
    with pytest.raises(StoreMisconfigured, match=f"durability='{demanded}' is demanded") as caught:
        store.connect()
    assert caught.value.cause.startswith(f"it is {found}: ")
    assert f"appendfsync {demanded}" in caught.value.hint


def test_what_the_system_syncs_when_it_likes_counts_as_memory() -> None:
    with RedisServer(*SYNCED_BY_THE_SYSTEM) as server:
        with RedisSessionManager(RedisConfig(url=server.url)) as store:
            assert store.health().durability == "memory"
        config = RedisConfig(url=server.url, durability="everysec")
        with pytest.raises(StoreMisconfigured, match="does less"):
            RedisSessionManager(config).connect()


def test_a_server_that_came_back_with_less_is_refused(servers: Servers) -> None:
    server = servers["always"]
    with RedisSessionManager(RedisConfig(url=server.url, durability="always")) as store:
        store.create_session("s")
        server.client().config_set("appendfsync", "everysec")
        server.client().client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StoreMisconfigured, match="does less"):
            store.get_session("s")
        server.client().config_set("appendfsync", "always")
        assert store.get_session("s") is not None


@pytest.mark.parametrize("hidden", ["-config", "-config -info"])
def test_a_demand_that_cannot_be_checked_is_refused_and_says_so(
    servers: Servers, hidden: str
) -> None:
    server = servers["always"]
    server.client().execute_command(
        "ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "&*", "+@all", *hidden.split()
    )
    url = server.url.replace("unix://", "unix://app:pw@")
    with RedisSessionManager(RedisConfig(url=url)) as store:
        assert store.health().durability == store.health().durability == "unknown"
    with pytest.raises(StoreMisconfigured, match="does not tell what it does") as caught:
        RedisSessionManager(RedisConfig(url=url, durability="everysec")).connect()
    assert "CONFIG is forbidden" in caught.value.cause
    assert "+config|get" in caught.value.hint


@pytest.mark.parametrize("demanded", ["everysec", "always"])
def test_the_rule_of_a_user_has_what_the_demand_needs(
    servers: Servers, demanded: Durability
) -> None:
    server = servers["always"]
    for durability, is_enough in ((None, False), (demanded, True)):
        rule = acl_rule(durability=durability)
        server.client().execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rule)
        url = server.url.replace("unix://", "unix://app:pw@")
        store = RedisSessionManager(RedisConfig(url=url, durability=demanded))
        if is_enough:
            with store:
                assert {check.name: check.verdict for check in diagnose(store)}["rights"] == "ok"
        else:
            with pytest.raises(StoreMisconfigured, match="does not tell"):
                store.connect()
    with pytest.raises(InvalidInput, match="is none of memory, everysec"):
        acl_rule(durability="fsync")  # type: ignore[arg-type]


def test_that_nothing_is_kept_may_be_told_without_config(servers: Servers) -> None:
    server = servers["memory"]
    server.client().execute_command(
        "ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "&*", "+@all", "-config"
    )
    url = server.url.replace("unix://", "unix://app:pw@")
    with RedisSessionManager(RedisConfig(url=url, durability="memory")) as store:
        assert store.health().durability == "memory"


def test_a_demand_that_no_such_server_can_meet_is_refused_in_the_configuration() -> None:
    with pytest.raises(InvalidInput, match="durability='everysec' stands beside"):
        RedisConfig(url="memory://", durability="everysec")
    with pytest.raises(InvalidInput, match="durability='replicated' stands beside"):
        RedisConfig(url="embedded://", durability="replicated")
    with pytest.raises(InvalidInput, match="durability is one of"):
        RedisConfig(durability="fsync")  # type: ignore[arg-type]
    with RedisSessionManager(RedisConfig(url="memory://", durability="memory")) as store:
        assert store.health().durability == "memory"
