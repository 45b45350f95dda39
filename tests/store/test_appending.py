"""Messages appended outside a turn: closed exchanges as they are, each told to watchers."""

from __future__ import annotations

import pytest
import redis
from attrs import evolve

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import EventType, Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import call, result, said

Store = RedisSessionManager
USER = Message("user", "one")
EXCHANGE = [call("1", "2"), result("1"), result("2"), said("done")]


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s")


def test_calls_with_all_their_results_can_be_appended(store: Store) -> None:
    store.append_to_thread("s", [USER, *EXCHANGE])
    assert store.load_thread("s").messages[1:] == tuple(
        evolve(message, created_at=store.clock.time()) for message in EXCHANGE
    )


@pytest.mark.parametrize(
    "parted", [EXCHANGE[:1], EXCHANGE[:2], EXCHANGE[1:], [call("1"), said("x"), result("1")]]
)
def test_calls_parted_from_their_results_cannot_be_appended(
    store: Store, client: redis.Redis, parted: list[Message]
) -> None:
    before = dump(client)
    with pytest.raises(InvalidInput, match="right behind them"):
        store.append_to_thread("s", parted)
    assert dump(client) == before


def test_watchers_are_told_each_message_that_is_appended(store: Store) -> None:
    last = store.read_events("s")[-1].id
    version = store.append_to_thread("s", [USER, *EXCHANGE])
    told = store.read_events("s", last)
    assert {event.type for event in told} == {EventType.MESSAGE_ADDED}
    assert [event.data["message"]["role"] for event in told] == [
        "user", "assistant", "tool", "tool", "assistant",
    ]  # fmt: skip
    assert {event.data["version"] for event in told} == {version}
