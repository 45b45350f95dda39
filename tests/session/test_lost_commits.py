"""The reply to the commit of a chat is lost, and others have gone on with it; or to its begin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager, ToolRegistry
from miniagent_redis.errors import TurnUncertain
from miniagent_redis.llm import Finish, Model, ModelEvent, ModelRequest, TextDelta
from miniagent_redis.models import Message, OpenTurn, ToolCall
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


def test_so_is_one_of_which_this_one_heard_nothing_when_it_stored_it_late(
    open_manager: Open, store_url: str
) -> None:
    """It ran a tool, so it is stored once more, and nobody hears of that either."""
    theirs: list[OpenTurn] = []

    class Looking(Model):
        def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
            if request.messages[-1].role == "user":
                yield ToolCall("1", "look", {})
            else:
                store.client.hset("metadata:{s}", "lease", 0)
                resumed = other.resume_turn("s")
                assert resumed is not None
                theirs.append(other.stage_step(resumed, [Message("assistant", "let me see")]))
                yield TextDelta("my answer")
            yield Finish("stop")

    tools = ToolRegistry()
    tools.tool(look)
    manager = open_manager(Looking(), tools=tools, delta_interval=None)
    store = manager.store
    store.config.retry_on_timeout = False
    store.create_session("s")
    with RedisSessionManager(RedisConfig(url=store_url)) as other:
        with (
            losing(store, "commit_turn"),
            losing(store, "replay_turn"),
            pytest.raises(TurnUncertain) as caught,
        ):
            manager.chat("s", "Hi")
        other.commit_turn(theirs[0], [Message("assistant", "their answer")])
        assert store.resolve_turn("s", caught.value.turn_id) == "committed"


def look() -> str:
    return "seen"


def test_a_turn_that_may_have_begun_is_not_in_the_way_of_the_next_message(
    open_manager: Open,
) -> None:
    manager = open_manager(lambda messages: "answer", on_busy="reject")
    manager.store.config.retry_on_timeout = False
    manager.store.create_session("s")
    with losing(manager.store, "begin_turn"), pytest.raises(TurnUncertain, match="again"):
        manager.chat("s", "lost")
    assert manager.chat("s", "Hi") == "answer"
    texts = [message.text for message in manager.store.load_thread("s").messages]
    assert texts == ["Hi", "answer"]
