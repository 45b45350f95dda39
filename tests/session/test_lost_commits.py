"""The reply to a commit of a chat is lost, and another instance has gone on with the turn."""

from __future__ import annotations

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.errors import TurnUncertain
from miniagent_redis.models import Message, OpenTurn
from tests.session.conftest import Open
from tests.support.lost import losing


def test_a_message_that_another_instance_answered_is_told_as_stored(
    open_manager: Open, store_url: str
) -> None:
    theirs: list[OpenTurn] = []

    def slow(messages: object) -> str:
        store.client.hset("metadata:{s}", "lease", 0)
        resumed = other.resume_turn("s")
        assert resumed is not None
        theirs.append(resumed)
        return "my answer"

    manager = open_manager(slow)
    store = manager.store
    store.config.retry_on_timeout = False  # one try, of which nobody hears
    store.create_session("s")
    with RedisSessionManager(RedisConfig(url=store_url)) as other:
        with losing(store, "commit_turn"), pytest.raises(TurnUncertain) as caught:
            manager.chat("s", "Hi")
        other.commit_turn(theirs[0], [Message("assistant", "their answer")])
    assert store.resolve_turn("s", caught.value.turn_id) == "committed"
    texts = [message.text for message in store.load_thread("s").messages]
    assert texts == ["Hi", "their answer"]
