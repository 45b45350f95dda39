"""Sentinels and a cluster over TLS, between all of them too: real ones, and their certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis.crc import key_slot

from miniagent_redis import RedisConfig, SessionAgent, SessionManager, StoreMisconfigured, aio
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.cluster import ClusterServers
from tests.support.sentinels import SERVICE, Sentinel, Watched
from tests.support.servers import RedisServer
from tests.support.tls import Authority, authority
from tests.support.words import lines, said, soon

PATIENCE = 20.0  # seconds for which a call is repeated; a failover takes one or two


@pytest.fixture(scope="module")
def ca() -> Iterator[Authority]:
    with authority() as made:
        yield made


@pytest.fixture(scope="module")
def watched(ca: Authority) -> Iterator[Watched]:
    with Watched(replicas=1, tls=ca.settings("127.0.0.1")) as watched:
        yield watched


@pytest.fixture(scope="module")
def cluster(ca: Authority) -> Iterator[ClusterServers]:
    with ClusterServers(tls=ca.settings("127.0.0.1")) as servers:
        yield servers


def config(url: str, ca: Authority, **settings: Any) -> RedisConfig:
    return RedisConfig(url=url, ssl_ca_certs=ca.file, **settings)


def refusal(config: RedisConfig) -> StoreMisconfigured:
    """Return what connecting raises; it is told at once, also by later calls, and is no outage."""
    store = Store(config)
    error = soon(StoreMisconfigured, store.connect)
    assert error.cause
    assert soon(StoreMisconfigured, lambda: store.get_session("s")).hint == error.hint
    assert store.parts.core.connections.availability.current().state == "healthy"
    return error


def chats(config: RedisConfig, *session_ids: str) -> None:
    """Have a conversation, and look it up."""
    with SessionAgent(redis_config=config) as agent:
        manager = SessionManager(agent)
        for session_id in session_ids:
            manager.create_or_resume_session("ada", session_id)
            manager.chat(session_id, "Hello", user_id="ada")
            roles = [message["role"] for message in manager.get_history(session_id)]
            assert roles == ["user", "assistant"]


async def ping(config: RedisConfig) -> bool:
    async with aio.RedisSessionManager(config) as store:
        return bool(await store.client.ping())


def test_a_conversation_is_held_with_the_master_and_with_the_one_after_it(
    watched: Watched, ca: Authority
) -> None:
    settings = config(watched.url, ca, commit_timeout=PATIENCE)
    chats(settings, "s")
    assert asyncio.run(ping(settings))
    with Store(settings) as store:
        store.create_session("t")
        store.subscribe(["news"])
        turn = store.begin_turn("t", "one")
        watched.client(watched.named).wait(1, 1000)
        assert watched.fail_over() is watched.named
        store.commit_turn(turn, [said("1")])
        assert lines(store, "t") == ["user:one", "assistant:1"]
        assert store.client.ping()
        assert watched.client(watched.named).exists("session:{t}")


def test_a_conversation_is_held_on_all_nodes_and_follows_a_slot_and_a_dead_master(
    cluster: ClusterServers, ca: Authority
) -> None:
    settings = config(cluster.url, ca, commit_timeout=PATIENCE)
    chats(settings, *(f"s{number}" for number in range(6)))
    assert asyncio.run(ping(settings))
    with Store(settings) as store:
        turn = store.begin_turn("s0", "two")
        slot = int(key_slot(b"{s0}"))
        source = cluster.owner(slot)
        target = next(node for node in cluster.masters if node is not source)
        assert cluster.move(slot, source, target)
        store.commit_turn(turn, [said("2")])
        assert lines(store, "s0")[2:] == ["user:two", "assistant:2"]
        assert store.client.ping()
        turn = store.begin_turn("s0", "three")
        target.client.wait(1, 1000)
        target.server.kill()
        store.commit_turn(turn, [said("3")])
        assert lines(store, "s0")[4:] == ["user:three", "assistant:3"]


def test_sentinels_of_an_unknown_authority_are_no_outage(watched: Watched) -> None:
    assert "ssl_ca_certs" in refusal(RedisConfig(url=watched.url)).hint
    with authority() as stranger:
        error = refusal(config(watched.url, stranger))
    assert "ssl_ca_certs" in error.hint
    assert "certificate of the Sentinel at" in error.problem


def test_nodes_of_an_unknown_authority_are_no_outage(cluster: ClusterServers) -> None:
    assert "ssl_ca_certs" in refusal(RedisConfig(url=cluster.url)).hint
    with authority() as stranger:
        error = refusal(config(cluster.url, stranger))
    assert "ssl_ca_certs" in error.hint
    assert "certificate" in error.problem


def test_a_master_of_an_unknown_authority_is_no_outage(watched: Watched, ca: Authority) -> None:
    """The Sentinels are known, and the server that they name is not."""
    with authority() as other, ExitStack() as stack:
        tls = other.settings("127.0.0.1")
        server = stack.enter_context(RedisServer(tcp=True, tls=tls))
        both = ca.settings("127.0.0.1")
        sentinel = stack.enter_context(Sentinel(server.port, 1, tls=both))
        url = f"rediss+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}"
        error = refusal(config(url, ca))
    assert "ssl_ca_certs" in error.hint


def test_a_sentinel_whose_certificate_is_for_another_host_is_refused(ca: Authority) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(tcp=True, tls=ca.settings("127.0.0.1")))
        sentinel = stack.enter_context(Sentinel(server.port, 1, tls=ca.settings("example.org")))
        url = f"rediss+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}"
        error = refusal(config(url, ca))
        assert f"the Sentinel at 127.0.0.1:{sentinel.port}" in error.problem
        assert "not valid for '127.0.0.1'" in error.cause
        assert "name" in error.hint
        with Store(config(url, ca, ssl_check_hostname=False)) as store:
            assert store.create_session("s")


def test_a_master_is_checked_for_the_name_by_which_sentinels_tell_it(ca: Authority) -> None:
    names = ("sentinel resolve-hostnames yes", "sentinel announce-hostnames yes")
    tls = ca.settings("localhost")
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(tcp=True, tls=tls))
        sentinel = stack.enter_context(Sentinel(server.port, 1, tls=tls))
        error = refusal(config(f"rediss+sentinel://localhost:{sentinel.port}/{SERVICE}", ca))
        assert "not valid for '127.0.0.1'" in error.cause
        assert "announce-hostnames" in error.hint
        sentinel = stack.enter_context(Sentinel(server.port, 1, *names, tls=tls, host="localhost"))
        chats(config(f"rediss+sentinel://localhost:{sentinel.port}/{SERVICE}", ca), "by name")


def test_nodes_are_checked_for_the_names_that_they_announce(ca: Authority) -> None:
    tls = ca.settings("localhost")
    announced = ("--cluster-announce-ip", "127.0.0.1")
    with ClusterServers(1, *announced, replicas=False, tls=tls) as cluster:
        url = cluster.url.replace("127.0.0.1", "localhost")
        error = refusal(config(url, ca))
        assert "not valid for '127.0.0.1'" in error.cause
        assert "cluster-announce-hostname" in error.hint
        for setting, value in (("announce-hostname", "localhost"),
                               ("preferred-endpoint-type", "hostname")):  # fmt: skip
            cluster.masters[0].client.config_set(f"cluster-{setting}", value)
        chats(config(url, ca), "by name")


def test_whoever_does_not_speak_as_they_do_is_told_the_url(
    watched: Watched, cluster: ClusterServers, ca: Authority
) -> None:
    for url in (watched.url, cluster.url):
        error = refusal(RedisConfig(url=url.replace("rediss", "redis")))
        assert "wants" in error.problem
        assert url.partition(":")[0] + "://" in error.hint


def test_who_speaks_tls_to_sentinels_without_it_is_told_the_url(ca: Authority) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(tcp=True))
        sentinel = stack.enter_context(Sentinel(server.port, 1))
        error = refusal(config(f"rediss+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}", ca))
    assert "does not speak TLS" in error.problem
    assert "redis+sentinel://" in error.hint
