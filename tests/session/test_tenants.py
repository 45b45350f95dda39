"""Tenants of an agent: the same agent for many namespaces, with one background thread."""

from __future__ import annotations

import threading

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import InvalidInput, SessionNotFound
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.models import ExpiredSession
from miniagent_redis.runtime.clock import ManualClock
from tests.support.servers import RedisServer
from tests.support.waiting import until


def opened(url: str, **options: object) -> SessionAgent:
    config = AgentConfig(model=lambda messages: messages[-1]["content"].upper())
    return SessionAgent(config, redis_config=RedisConfig(url=url), **options)  # type: ignore[arg-type]


def test_conversations_of_tenants_are_apart(store_url: str) -> None:
    with opened(store_url) as agent:
        root = SessionManager(agent)
        acme, beta = root.tenant("acme"), root.tenant("beta")
        for manager in (root, acme, beta):
            manager.create_or_resume_session(session_id="s", user_id="ada")
            assert manager.chat("s", manager.store.config.namespace or "root")
        for manager, name in ((root, "root"), (acme, "acme"), (beta, "beta")):
            assert [m["content"] for m in manager.get_history("s")] == [name, name.upper()]
            assert manager.usage().turns == 1
        assert acme.end_session("s")
        with pytest.raises(SessionNotFound):
            acme.chat("s", "again")
        assert beta.chat("s", "again") == "AGAIN"
        assert root.tenant("acme").agent is acme.agent


def test_a_thousand_tenants_need_no_further_thread_or_connection(redis_server: RedisServer) -> None:
    with opened(redis_server.url) as agent:
        manager = SessionManager(agent)
        manager.chat(manager.create_or_resume_session(), "Hello")
        client = agent.store.client
        threads, connections = threading.active_count(), client.info("clients")["connected_clients"]
        for n in range(1000):
            tenant = manager.tenant(f"tenant-{n}")
            assert tenant.chat(tenant.create_or_resume_session(), "hello") == "HELLO"
        # The background thread may be at work, and others of this server have gone.
        assert threading.active_count() <= threads
        assert client.info("clients")["connected_clients"] <= connections + 1


def test_the_hooks_of_an_agent_are_told_of_its_tenants_sessions(store_url: str) -> None:
    clock = ManualClock()
    agent = opened(store_url, clock=clock)
    told: list[ExpiredSession] = []
    agent.on_expire(told.append)
    agent.initialize()
    try:
        acme = SessionManager(agent).tenant("acme")
        acme.create_or_resume_session(session_id="s", ttl=5)
        acme.chat("s", "hello")
        acme.store.parts.index.flush()
        clock.advance(6)
        agent.background.run_all()
        until(lambda: told)  # its own thread may have been first
        assert [expired.session_id for expired in told] == ["s"]
        assert [message.text for message in told[0].messages] == ["hello", "HELLO"]
    finally:
        agent.shutdown()


def test_a_tenant_is_open_while_its_agent_is(store_url: str) -> None:
    agent = opened(store_url)
    acme = SessionManager(agent.tenant("acme"))
    with pytest.raises(InvalidInput, match="not open"):
        acme.chat("s", "hello")
    with agent:
        acme.create_or_resume_session(session_id="s")
        assert acme.chat("s", "hello") == "HELLO"
        assert acme.agent.shutdown()
        assert acme.chat("s", "again") == "AGAIN"
    with pytest.raises(InvalidInput, match="not open"):
        acme.chat("s", "hello")


def test_a_shutdown_waits_for_the_turns_of_tenants(store_url: str) -> None:
    going, may_go_on = threading.Event(), threading.Event()

    def slow(messages: list[dict[str, str]]) -> str:
        going.set()
        assert may_go_on.wait(30)
        return "Done"

    config = AgentConfig(model=slow)
    agent = SessionAgent(config, redis_config=RedisConfig(url=store_url)).initialize()
    acme = agent.tenant("acme")
    sid = SessionManager(acme).create_or_resume_session()
    turn = acme.submit(sid, "hello")
    assert going.wait(30)
    threading.Timer(0.05, may_go_on.set).start()
    assert agent.shutdown(30)
    assert turn.result(30).text == "Done"


def test_a_model_by_object_is_shared_by_tenants(store_url: str) -> None:
    model = ScriptedModel(["one", "two"])
    agent = SessionAgent(AgentConfig(model=model), redis_config=RedisConfig(url=store_url))
    with agent:
        managers = [SessionManager(agent.tenant(name)) for name in ("acme", "beta")]
        said = [one.chat(one.create_or_resume_session(), "Hi") for one in managers]
    assert said == ["one", "two"]
