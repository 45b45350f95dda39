"""What an instrument is told of exchanges with Redis."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from miniagent_redis import InvalidInput, Message, RedisConfig, RedisSessionManager
from miniagent_redis.errors import MiniAgentError, StoreUnavailable, TurnUncertain
from miniagent_redis.telemetry import Exchange
from tests.support.instruments import Broken, Notes
from tests.support.proxy import Proxy
from tests.support.scripts import load_scripts
from tests.support.servers import RedisServer

ANSWER = Message("assistant", "Hi")


def opened(url: str, instrument: Any) -> RedisSessionManager:
    config = RedisConfig(url=url, commit_timeout=0.1)
    return RedisSessionManager(config, instrumentation=instrument)


def operations(notes: Notes) -> list[str]:
    return [exchange.operation for exchange in notes.of(Exchange)]


def test_each_script_is_told_by_its_name(store_url: str) -> None:
    notes = Notes()
    with opened(store_url, notes) as store:
        store.create_session("s")
        store.commit_turn(store.begin_turn("s", "Hello"), [ANSWER])
        told = operations(notes)
        address = str(store.config.address)
    # The indexes list a session before it is there.
    assert told == ["ZADD", "create_session", "begin_turn", "commit_turn"]
    for exchange in notes.of(Exchange):
        assert (exchange.tries, exchange.error) == (1, "")
        assert exchange.server == address
        assert 0 < exchange.seconds < 60


def test_commands_that_go_together_are_one_exchange(store_url: str) -> None:
    notes = Notes()
    with opened(store_url, notes) as store:
        store.parts.core.call_many([("GET", "a"), ("GET", "b"), ("EXISTS", "c")])
        last = notes.of(Exchange)[-1]
    assert (last.operation, last.commands, last.tries) == ("GET", 3, 1)


def test_a_tenant_is_told_of_too(store_url: str) -> None:
    notes = Notes()
    with opened(store_url, notes) as store:
        store.tenant("acme").create_session("s")
    assert "create_session" in operations(notes)


def test_what_the_caller_did_wrong_is_no_error_of_the_exchange(store_url: str) -> None:
    notes = Notes()
    with opened(store_url, notes) as store, pytest.raises(MiniAgentError):
        store.load_thread("nobody")
    assert notes.of(Exchange)[-1].error == ""


def test_a_server_that_is_away_is_told_with_all_tries() -> None:
    notes = Notes()
    with RedisServer() as server:
        store = opened(server.url, notes)
        store.connect()
        server.kill()
        with pytest.raises(StoreUnavailable):
            store.load_thread("s")
        store.disconnect()
    last = notes.of(Exchange)[-1]
    assert (last.operation, last.error) == ("begin_reading", "StoreUnavailable")
    assert last.tries > 1
    assert last.tries - 1 == store.stats().retries


def test_lost_replies_are_told_as_tries_or_as_an_outcome_that_nobody_knows(proxy: Proxy) -> None:
    load_scripts(proxy.upstream)
    notes = Notes()
    with opened(proxy.url, notes) as store:
        proxy.lose_replies(1)
        store.create_session("s")
        created = notes.of(Exchange)[-1]
        turn = store.begin_turn("s", "Hello")
        proxy.lose_replies(1000)
        with pytest.raises(TurnUncertain):
            store.commit_turn(turn, [ANSWER])
        committed = notes.of(Exchange)[-1]
        proxy.lose_replies(0)
    assert (created.operation, created.tries, created.error) == ("create_session", 2, "")
    assert (committed.operation, committed.error) == ("commit_turn", "ReplyLost")
    assert store.stats().lost_replies == 1 + committed.tries


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_broken_instrument_breaks_nothing_and_is_logged_once(
    store_url: str, at_the_end: bool, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(at_the_end=at_the_end)
    with caplog.at_level(logging.ERROR), opened(store_url, broken) as store:
        store.create_session("s")
        store.commit_turn(store.begin_turn("s", "Hello"), [ANSWER])
        assert store.load_thread("s").count == 2
    assert broken.times > 3
    assert len(caplog.records) == 1
    assert "the instrument failed" in caplog.text
    assert "ArithmeticError" in caplog.text


def test_an_instrument_may_have_no_interest_in_the_end(store_url: str) -> None:
    class Beginnings:
        def __init__(self) -> None:
            self.count = 0

        def begin(self, work: object) -> None:
            self.count += 1

    beginnings = Beginnings()
    with opened(store_url, beginnings) as store:
        store.create_session("s")
    assert beginnings.count == 2


@pytest.mark.parametrize("wrong", [Notes, print, "statsd"])
def test_what_is_no_instrument_is_refused_at_once(wrong: object) -> None:
    with pytest.raises(InvalidInput, match="cannot measure anything"):
        opened("memory://", wrong)
