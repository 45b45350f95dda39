"""Replies get lost after the command was executed: nothing is done twice, and what is told is true.

A proxy in front of a real server executes a command and loses its reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from lossy_proxy import LossyProxy
from talk import call, lines, result, said
from waiting import until
from wire import dump

from miniagent_redis.config import RedisConfig
from miniagent_redis.errors import (
    InvalidInput,
    SessionBusy,
    StoreMisconfigured,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from miniagent_redis.models import EventType, Message
from miniagent_redis.store.manager import RedisSessionManager

Store = RedisSessionManager
FOR_EVER = 1_000_000


@pytest.fixture
def hasty(proxy: LossyProxy) -> Iterator[Store]:
    """Yield a store that gives up a commit soon."""
    with Store(RedisConfig(url=proxy.url, commit_timeout=0.1)) as opened:
        proxy.load_scripts()
        opened.create_session("s")
        yield opened


@pytest.mark.parametrize("times", [1, 3])
def test_nothing_is_done_twice(lossy_store: Store, proxy: LossyProxy, times: int) -> None:
    store = lossy_store

    def losing(action: Callable[[], Any]) -> Any:
        proxy.lose_replies(times)
        answer = action()
        assert proxy.lost == times
        return answer

    assert losing(lambda: store.create_session("s", {"a": 1}, user_id="ada"))
    turn = losing(lambda: store.begin_turn("s", "one"))
    assert not turn.resumed
    turn = losing(lambda: store.stage_step(turn, [call("1")]))
    turn = losing(lambda: store.stage_step(turn, [result("1")]))
    losing(lambda: store.renew_lease(turn))
    version = losing(lambda: store.commit_turn(turn, [said("1")], tool_calls=1))
    assert version == 2
    assert losing(lambda: store.append_to_thread("s", Message("user", "x"))) == 3
    assert losing(lambda: store.update_session("s", {"b": 2}))
    losing(lambda: store.touch_session("s"))
    assert losing(lambda: store.extend_session_ttl("s", 99))
    assert losing(lambda: store.get_session("s")) == {"b": 2}
    assert losing(lambda: store.resolve_turn("s", turn.turn_id)) == "committed"
    assert lines(store) == ["user:one", "assistant:", "tool:ok", "assistant:1", "user:x"]
    state = store.session_state("s")
    assert (state.version, state.turns, state.tool_calls, state.message_count) == (4, 1, 1, 5)
    assert state.bytes == sum(map(len, store.client.lrange("thread:{s}", 0, -1)))  # type: ignore[arg-type]

    dropped = store.begin_turn("s", "two")
    losing(lambda: store.abort_turn(dropped))
    assert store.session_state("s").open_turn is None
    assert losing(lambda: store.clear_thread("s")) == 5
    assert store.session_state("s").version == 5
    events: Any = store.client.xrange("events:{s}")
    assert [fields[b"type"].decode() for _, fields in events] == [
        "session_created", "turn_started", "turn_step", "turn_step", "agent_response",
        "message_added", "turn_started",
        "turn_failed", "history_cleared",
    ]  # fmt: skip
    losing(lambda: store.delete_session("s"))
    assert not [key for key in dump(store.client) if "{s}" in key]


def test_plain_commands_are_repeated_too(lossy_store: Store, proxy: LossyProxy) -> None:
    proxy.lose_replies(2, "SET")
    lossy_store.cache_set("k", [1])
    assert proxy.lost == 2
    proxy.lose_replies(2, "GET")
    assert lossy_store.cache_get("k") == [1]
    proxy.lose_replies(2, "ZRANGE")
    assert list(lossy_store.list_sessions()) == []


def test_a_commit_without_answer_is_uncertain_and_can_be_resolved(
    hasty: Store, proxy: LossyProxy
) -> None:
    turn = hasty.begin_turn("s", "one")
    proxy.lose_replies(FOR_EVER)
    with pytest.raises(TurnUncertain) as caught:
        hasty.commit_turn(turn, [said("the answer")])
    assert (caught.value.turn_id, caught.value.text) == (turn.turn_id, "the answer")
    proxy.lose_replies(0)
    assert hasty.resolve_turn("s", turn.turn_id) == "committed"
    assert lines(hasty) == ["user:one", "assistant:the answer"]


WRITES: dict[str, Callable[[Store], object]] = {
    "create": lambda store: store.create_session("new"),
    "append": lambda store: store.append_to_thread("s", Message("user", "x")),
    "update": lambda store: store.update_session("s", {}),
    "clear": lambda store: store.clear_thread("s"),
    "begin": lambda store: store.begin_turn("s", "x"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_without_answer_is_uncertain(
    hasty: Store, proxy: LossyProxy, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty.config.retry_on_timeout = False  # one try, so that the test is quick
    if name == "update":  # it reads before it writes
        monkeypatch.setattr(hasty, "_read", lambda *args: ({"v": 1, "data": {}}, []))
    proxy.lose_replies(FOR_EVER)
    with pytest.raises(TurnUncertain) as caught:
        WRITES[name](hasty)
    assert proxy.lost == 1
    proxy.lose_replies(0)
    told = hasty.resolve_turn(caught.value.session_id, caught.value.turn_id)
    assert told == ("open" if name == "begin" else "committed")


def test_steps_and_aborts_without_answer_are_uncertain(hasty: Store, proxy: LossyProxy) -> None:
    hasty.config.retry_on_timeout = False
    turn = hasty.begin_turn("s", "one")
    for action in (
        lambda: hasty.stage_step(turn, [said("x")]),
        lambda: hasty.abort_turn(turn),
    ):
        proxy.lose_replies(1)
        with pytest.raises(TurnUncertain) as caught:
            action()
        assert caught.value.turn_id == turn.turn_id


# --- refusals -----------------------------------------------------------------------------------

PASSING = [
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "READONLY You can't write against a read only replica.",
    "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "NOREPLICAS Not enough good replicas to write.",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
]


@pytest.mark.parametrize("refusal", PASSING, ids=lambda text: text.split()[0])
def test_a_passing_refusal_is_waited_out(hasty: Store, proxy: LossyProxy, refusal: str) -> None:
    proxy.answer(f"-{refusal}\r\n", times=2)
    hasty.append_to_thread("s", Message("user", "x"))
    assert proxy.lost == 2
    assert lines(hasty) == ["user:x"]


@pytest.mark.parametrize("refusal", PASSING, ids=lambda text: text.split()[0])
def test_a_lasting_refusal_is_certainly_not_written(
    hasty: Store, proxy: LossyProxy, refusal: str
) -> None:
    turn = hasty.begin_turn("s", "one")
    proxy.answer(f"-{refusal}\r\n", FOR_EVER)
    with pytest.raises(TurnNotSaved) as caught:
        hasty.commit_turn(turn, [said("the answer")])
    assert caught.value.text == "the answer"
    assert refusal.partition(" ")[2] in str(caught.value)
    proxy.lose_replies(0)
    assert lines(hasty) == []


@pytest.mark.parametrize(
    "refusal",
    [
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOPERM this user has no permissions to run the 'evalsha' command",
        "ERR unknown command 'EVALSHA'",
    ],
    ids=lambda text: text.split()[0],
)
def test_a_refusal_for_good_is_told_at_once(hasty: Store, proxy: LossyProxy, refusal: str) -> None:
    proxy.answer(f"-{refusal}\r\n", FOR_EVER)
    with pytest.raises(StoreMisconfigured) as caught:
        hasty.append_to_thread("s", Message("user", "x"))
    assert proxy.lost == 1
    assert refusal.partition(" ")[2] in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        "*2\r\n$5\r\nother\r\n$2\r\nok\r\n", ":5\r\n", "$-1\r\n", "_\r\n", "*0\r\n", "*-1\r\n",
        "+OK\r\n", "$5\r\nhello\r\n", "*1\r\n*0\r\n", "#t\r\n", ",1.5\r\n", "%0\r\n",
        "*1\r\n$-1\r\n",
    ],
)  # fmt: skip
def test_anothers_reply_is_recognised_and_its_connection_dropped(
    hasty: Store, proxy: LossyProxy, reply: str
) -> None:
    proxy.answer(reply)
    hasty.append_to_thread("s", Message("user", "x"))
    assert proxy.lost == 1
    assert lines(hasty) == ["user:x"]


def test_bytes_that_are_no_protocol_are_not_believed(hasty: Store, proxy: LossyProxy) -> None:
    proxy.answer("HTTP/1.1 400 Bad Request\r\n\r\n")
    hasty.append_to_thread("s", Message("user", "x"))
    assert lines(hasty) == ["user:x"]


def test_a_read_without_answer_is_unavailable(hasty: Store, proxy: LossyProxy) -> None:
    hasty.config.retry_on_timeout = False
    proxy.lose_replies(FOR_EVER)
    for read in (
        lambda: hasty.load_thread("s"),
        lambda: hasty.get_session("s"),
        lambda: hasty.session_state("s"),
    ):
        with pytest.raises(StoreUnavailable):
            read()


def test_a_turn_is_taken_over_once_with_its_steps(lossy_store: Store, proxy: LossyProxy) -> None:
    store = lossy_store
    store.create_session("s")
    turn = store.stage_step(store.begin_turn("s", "one"), [call("1"), result("1")])
    store.client.hset("metadata:{s}", "lease", 0)
    proxy.lose_replies(2)
    resumed = store.begin_turn("s", "two", on_busy="reject")
    assert proxy.lost == 2
    assert (resumed.turn_id, resumed.resumed) == (turn.turn_id, True)
    assert [message.role for message in resumed.staged] == ["user", "assistant", "tool"]
    started = [e for e in store.read_events("s") if e.type is EventType.TURN_STARTED]
    assert [event.data["resumed"] for event in started] == [False, True]
    store.commit_turn(resumed, [said("1")])
    assert lines(store) == ["user:one", "assistant:", "tool:ok", "assistant:1"]


@pytest.mark.parametrize("later_turns", [1, 100])
@pytest.mark.parametrize(("turn_id", "error"), [("mine", InvalidInput), (None, TurnSuperseded)])
def test_a_turn_that_others_finished_meanwhile_is_not_begun_again(
    lossy_store: Store,
    proxy: LossyProxy,
    turn_id: str | None,
    error: type[Exception],
    later_turns: int,
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Store(RedisConfig(url=f"unix://{proxy.upstream}")) as others,
    ):
        others.create_session("s")
        first = others.begin_turn("s", "one")
        mine = pool.submit(lossy_store.begin_turn, "s", "mine", turn_id=turn_id, busy_timeout=20)
        until(lambda: others.client.pubsub_numsub("events:{s}")[0][1] == 1)
        proxy.lose_replies(FOR_EVER)
        others.commit_turn(first, [said("1")])
        begun = first

        def is_taken_over() -> bool:
            nonlocal begun
            others.client.hset("metadata:{s}", "lease", 0)
            with suppress(SessionBusy):
                begun = others.begin_turn("s", "two", on_busy="reject")
            return begun.resumed

        until(lambda: others.session_state("s").open_turn is not None)
        until(is_taken_over)
        others.commit_turn(begun, [said("mine")])
        for _ in range(later_turns):
            others.commit_turn(others.begin_turn("s", "more"), [said("more")])
        proxy.lose_replies(0)
        with pytest.raises(error):
            mine.result(20)
        assert lines(others).count("user:mine") == 1
        assert others.session_state("s").open_turn is None
