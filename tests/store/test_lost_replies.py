"""Replies get lost after the command was executed: nothing is done twice, and what is told is true.

A proxy in front of a real server executes a command and loses its reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import redis

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import (
    InvalidInput,
    OutcomeUnknown,
    SessionBusy,
    StoreMisconfigured,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from miniagent_redis.models import EventType, Message, UsageTotals
from miniagent_redis.store import transfer
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.tries import Tries, Uncertain
from tests.support.proxy import Proxy
from tests.support.scripts import load_scripts
from tests.support.stored import dump
from tests.support.waiting import until
from tests.support.words import call, lines, result, said

Store = RedisSessionManager
FOR_EVER = 1_000_000


@pytest.fixture
def hasty(proxy: Proxy) -> Iterator[Store]:
    """Yield a store that gives up a commit soon."""
    with Store(RedisConfig(url=proxy.url, commit_timeout=0.1)) as opened:
        load_scripts(proxy.upstream)
        opened.create_session("s")
        yield opened


@pytest.mark.parametrize("ticket", [None, "a" * 32], ids=["without a ticket", "with a ticket"])
def test_a_repeated_begin_holds_up_nobody_afterwards(
    lossy_store: Store, proxy: Proxy, client: redis.Redis, ticket: str | None
) -> None:
    """Its place in the queue is kept only for who works on an abandoned turn of others first."""
    lossy_store.create_session("s")
    proxy.lose_replies(1)
    turn = lossy_store.begin_turn("s", "one", ticket=ticket)
    assert proxy.lost == 1
    assert not client.exists("queue:{s}")
    lossy_store.commit_turn(turn, [said("fine")])
    assert not lossy_store.begin_turn("s", "two", busy_timeout=0).resumed


def test_a_repeated_begin_that_interrupts_does_not_cancel_its_own_turn(
    lossy_store: Store, proxy: Proxy
) -> None:
    lossy_store.create_session("s")
    lossy_store.begin_turn("s", "one")
    proxy.lose_replies(1)
    turn = lossy_store.begin_turn("s", "two", on_busy="interrupt")
    assert (turn.staged[0].text, turn.resumed, proxy.lost) == ("two", False, 1)
    assert not lossy_store.renew_lease(turn).cancelled


@pytest.mark.parametrize("times", [1, 3])
def test_nothing_is_done_twice(lossy_store: Store, proxy: Proxy, times: int) -> None:
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
    version = losing(lambda: store.commit_turn(turn, [said("1")], spent=UsageTotals(tool_calls=1)))
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
    events: Any = store.client.xrange("events:{s}")
    assert [fields[b"type"].decode() for _, fields in events] == [
        "turn_started", "turn_step", "turn_step", "agent_response",
        "message_added", "turn_started",
        "turn_failed",
    ]  # fmt: skip
    assert losing(lambda: store.clear_thread("s")) == 5
    assert store.session_state("s").version == 5
    events = store.client.xrange("events:{s}")
    assert [fields[b"type"].decode() for _, fields in events] == ["history_cleared"]
    losing(lambda: store.delete_session("s"))
    assert [key for key in dump(store.client) if "{s}" in key] == ["ops:{s}"]  # for a minute


@pytest.mark.parametrize("times", [1, 3])
def test_whole_threads_are_stored_and_cut_once(
    lossy_store: Store, proxy: Proxy, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = lossy_store
    monkeypatch.setattr(transfer, "PAGE", 2)
    for name in ("s", "t"):
        store.create_session(name)
    given = [Message("user", "x"), call("1"), result("1"), said("1"), Message("user", "y")]
    proxy.lose_replies(times, '"content":"y"')  # the script that stores, not what is read before
    assert store.import_thread("s", given) == 5
    assert proxy.lost == times
    proxy.lose_replies(times, '"content":"x"')
    assert store.copy_thread("s", "t") == 5
    assert proxy.lost == times
    proxy.lose_replies(times)
    exported = [line["id"] for line in store.export_thread("t")[1:]]
    assert proxy.lost == times
    assert exported == [message.id for message in given]

    known = store.load_thread("s")
    proxy.lose_replies(times, '"kept":3')
    assert store.truncate_thread("s", 3) == 2
    assert proxy.lost == times
    assert lines(store) == ["user:x", "assistant:", "tool:ok"]
    assert store.session_state("s").version == known.version + 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("step", ["from the first", '"session_created"', '"kept":2', '"title"'])
def test_branches_are_made_and_kept_once(
    lossy_store: Store, proxy: Proxy, times: int, step: str
) -> None:
    store = lossy_store
    store.create_session("s", user_id="ada")
    store.append_to_thread("s", [Message("user", str(number)) for number in range(4)])

    def losing() -> None:
        proxy.lose_replies(times, *([] if step.startswith("from") else [step]))

    losing()
    branch = store.fork_session("s", 3)
    losing()
    kept = store.rewind("s", 2)
    losing()
    assert store.set_title("s", "title")
    proxy.lose_replies(0)
    assert kept is not None
    assert lines(store) == ["user:0", "user:1"]
    assert lines(store, branch) == ["user:0", "user:1", "user:2"]
    assert len(lines(store, kept)) == 4
    assert [each["session_id"] for each in store.list_branches("s")] == [kept, branch]
    assert len(store.list_sessions("ada")) == 3
    state = store.session_state("s")
    assert (state.title, state.version, state.message_count) == ("title", 3, 2)


def test_who_repeats_a_fork_or_a_rewind_without_answer_gets_what_is_there(
    hasty: Store, proxy: Proxy
) -> None:
    hasty.config.retry_on_timeout = False
    hasty.append_to_thread("s", [Message("user", str(number)) for number in range(4)])
    proxy.lose_replies(FOR_EVER, '"session_created"')
    with pytest.raises(OutcomeUnknown):
        hasty.fork_session("s", 2, new_id="b")
    proxy.lose_replies(0)
    assert hasty.fork_session("s", 2, new_id="b") == "b"
    assert lines(hasty, "b") == ["user:0", "user:1"]
    proxy.lose_replies(FOR_EVER, '"kept":1')
    with pytest.raises(TurnUncertain):
        hasty.rewind("s", 1, new_id="c")
    proxy.lose_replies(0)
    hasty.append_to_thread("s", Message("user", "later"))
    assert hasty.rewind("s", 1, new_id="c") == "c"
    assert lines(hasty) == ["user:0", "user:later"]
    assert len(lines(hasty, "c")) == 4


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("step", ["from the first", '"session_created"', '"session_ended"'])
def test_a_session_is_moved_once(lossy_store: Store, proxy: Proxy, times: int, step: str) -> None:
    store = lossy_store
    store.create_session("s", {"a": 1})
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    proxy.lose_replies(times, "" if step == "from the first" else step)
    renewed = store.renew_session_id("s")
    assert proxy.lost == times
    assert lines(store, renewed) == ["user:one", "assistant:1"]
    assert [entry["session_id"] for entry in store.list_sessions()] == [renewed]
    assert [key for key in dump(store.client) if "{s}" in key] == ["ops:{s}"]  # for a minute


def test_a_move_without_answer_is_uncertain_and_a_repetition_to_the_same_id_ends_it(
    hasty: Store, proxy: Proxy
) -> None:
    hasty.config.retry_on_timeout = False
    hasty.append_to_thread("s", Message("user", "a"))
    proxy.lose_replies(FOR_EVER, "session_ended")
    with pytest.raises(OutcomeUnknown):
        hasty.renew_session_id("s", new_id="n")
    proxy.lose_replies(0)
    assert hasty.renew_session_id("s", new_id="n") == "n"
    assert lines(hasty, "n") == ["user:a"]
    assert hasty.get_session("s") is None


@pytest.mark.parametrize("keep", [0, 2])
def test_an_import_without_answer_is_uncertain_and_a_repetition_ends_it(
    hasty: Store, proxy: Proxy, keep: int
) -> None:
    hasty.config.retry_on_timeout = False
    given = [Message("user", "a"), Message("user", "b"), Message("user", "c")]
    hasty.import_thread("s", given[:keep])
    proxy.lose_replies(FOR_EVER, '"content":"c"')
    with pytest.raises(TurnUncertain) as caught:
        hasty.import_thread("s", given)
    proxy.lose_replies(0)
    assert hasty.resolve_turn("s", caught.value.turn_id) == "committed"
    assert hasty.import_thread("s", given) == 0
    assert lines(hasty) == ["user:a", "user:b", "user:c"]


def test_a_cut_without_answer_is_uncertain_and_a_repetition_tells(
    hasty: Store, proxy: Proxy
) -> None:
    hasty.config.retry_on_timeout = False
    hasty.append_to_thread("s", [Message("user", str(number)) for number in range(4)])
    proxy.lose_replies(FOR_EVER, '"kept":1')
    with pytest.raises(TurnUncertain) as caught:
        hasty.truncate_thread("s", 1, operation_id="op")
    assert caught.value.turn_id == "op"
    proxy.lose_replies(0)
    hasty.append_to_thread("s", Message("user", "later"))
    assert hasty.truncate_thread("s", 1, operation_id="op") == 3
    assert lines(hasty) == ["user:0", "user:later"]


def test_plain_commands_are_repeated_too(lossy_store: Store, proxy: Proxy) -> None:
    proxy.lose_replies(2, "SET")
    lossy_store.cache_set("k", [1])
    assert proxy.lost == 2
    proxy.lose_replies(2, "GET")
    assert lossy_store.cache_get("k") == [1]
    proxy.lose_replies(2, "ZRANGE")
    assert list(lossy_store.list_sessions()) == []


def test_a_commit_without_answer_is_uncertain_and_can_be_resolved(
    hasty: Store, proxy: Proxy
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
    hasty: Store, proxy: Proxy, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty.config.retry_on_timeout = False  # one try, so that the test is quick
    if name == "update":  # it reads before it writes
        monkeypatch.setattr(
            hasty.parts.sessions, "read", lambda *args: ({"v": 1, "data": {}}, [b""] * 20)
        )
    proxy.lose_replies(FOR_EVER)
    with pytest.raises(TurnUncertain) as caught:
        WRITES[name](hasty)
    assert proxy.lost == 1
    proxy.lose_replies(0)
    told = hasty.resolve_turn(caught.value.session_id, caught.value.turn_id)
    assert told == ("open" if name == "begin" else "committed")


def test_what_became_of_a_write_is_told_or_left_open_when_the_server_has_forgotten_it(
    hasty: Store, proxy: Proxy
) -> None:
    hasty.config.retry_on_timeout = False
    uncertain: dict[str, str] = {}
    for name in ("clear", "append", "begin"):
        proxy.lose_replies(FOR_EVER)
        with pytest.raises(TurnUncertain) as caught:
            WRITES[name](hasty)
        uncertain[name] = caught.value.turn_id
        proxy.lose_replies(0)
    with Store(RedisConfig(url=f"unix://{proxy.upstream}")) as others:
        for _ in range(100):
            others.append_to_thread("s", Message("user", "of others"))
        assert others.resolve_turn("s", uncertain["append"]) == "unknown"
    assert hasty.resolve_turn("s", uncertain["begin"]) == "open"
    assert hasty.resolve_turn("s", uncertain["append"]) == "committed"
    with pytest.raises(TurnUncertain, match="forgotten"):
        hasty.resolve_turn("s", uncertain["clear"])


def test_a_write_that_never_came_is_not_known_to_a_session_of_many_changes_either(
    hasty: Store,
) -> None:
    for number in range(70):
        hasty.append_to_thread("s", Message("user", str(number)))
    hasty.parts.core.uncertain.note("lost", Uncertain(Tries(), None))
    assert hasty.resolve_turn("s", "lost") == "unknown"


UNKNOWN: dict[str, tuple[str, Callable[[Store], object]]] = {
    "delete_session": ("EVALSHA", lambda store: store.delete_session("s")),
    "renew_session_id": ("session_ended", lambda store: store.renew_session_id("s")),
    "touch_session": ("EVALSHA", lambda store: store.touch_session("s")),
    "extend_session_ttl": ("EVALSHA", lambda store: store.extend_session_ttl("s", 99)),
    "cancel_turn": ("EVALSHA", lambda store: store.cancel_turn("s")),
    "rate_limit": ("EVALSHA", lambda store: store.rate_limit("key")),
    "cache_set": ("cache:", lambda store: store.cache_set("key", 1)),
    "cache_delete": ("cache:", lambda store: store.cache_delete("key")),
    "acquire_lock": ("NX", lambda store: store.acquire_lock("name")),
    "publish": ("PUBLISH", lambda store: store.publish("channel", 1)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_of_a_write_without_answer_it_is_not_said_that_nothing_was_written(
    hasty: Store, proxy: Proxy, name: str
) -> None:
    hasty.config.retry_on_timeout = False
    matching, write = UNKNOWN[name]
    proxy.lose_replies(FOR_EVER, matching)
    with pytest.raises(OutcomeUnknown) as caught:
        write(hasty)
    assert proxy.lost
    assert "not known whether it was done" in str(caught.value)
    assert "nothing was written" not in str(caught.value)


def test_what_an_earlier_try_has_done_is_told_as_done(lossy_store: Store, proxy: Proxy) -> None:
    lossy_store.cache_set("key", 1)
    proxy.lose_replies(1, "cache:")
    assert lossy_store.cache_delete("key")
    assert proxy.lost == 1
    assert lossy_store.acquire_lock("name")
    proxy.lose_replies(1, "lock:")
    assert lossy_store.release_lock("name")
    assert proxy.lost == 1
    assert not lossy_store.is_locked("name")


def test_a_message_is_published_once_at_the_most(lossy_store: Store, proxy: Proxy) -> None:
    with Store(RedisConfig(url=f"unix://{proxy.upstream}")) as listener:
        listener.subscribe(["c"])
        proxy.lose_replies(1, "PUBLISH")
        with pytest.raises(OutcomeUnknown):
            lossy_store.publish("c", "once")
        lossy_store.publish("c", "last")
        heard = listener.get_messages(timeout=5)
        assert [next(heard)["data"], next(heard)["data"]] == ["once", "last"]


def test_steps_and_aborts_without_answer_are_uncertain(hasty: Store, proxy: Proxy) -> None:
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
def test_a_passing_refusal_is_waited_out(hasty: Store, proxy: Proxy, refusal: str) -> None:
    proxy.answer(f"-{refusal}\r\n", times=2)
    hasty.append_to_thread("s", Message("user", "x"))
    assert proxy.lost == 2
    assert lines(hasty) == ["user:x"]


@pytest.mark.parametrize("refusal", PASSING, ids=lambda text: text.split()[0])
def test_a_lasting_refusal_is_certainly_not_written(
    hasty: Store, proxy: Proxy, refusal: str
) -> None:
    turn = hasty.begin_turn("s", "one")
    proxy.answer(f"-{refusal}\r\n", FOR_EVER)
    with pytest.raises(TurnNotSaved) as caught:
        hasty.commit_turn(turn, [said("the answer")])
    assert caught.value.text == "the answer"
    assert refusal.partition(" ")[2] in str(caught.value)
    proxy.lose_replies(0)
    assert hasty.health_check()  # where that took long it was found to be down
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
def test_a_refusal_for_good_is_told_at_once(hasty: Store, proxy: Proxy, refusal: str) -> None:
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
    hasty: Store, proxy: Proxy, reply: str
) -> None:
    proxy.answer(reply)
    hasty.append_to_thread("s", Message("user", "x"))
    assert proxy.lost == 1
    assert lines(hasty) == ["user:x"]


def test_bytes_that_are_no_protocol_are_not_believed(hasty: Store, proxy: Proxy) -> None:
    proxy.answer("HTTP/1.1 400 Bad Request\r\n\r\n")
    hasty.append_to_thread("s", Message("user", "x"))
    assert lines(hasty) == ["user:x"]


def test_a_read_without_answer_is_unavailable(hasty: Store, proxy: Proxy) -> None:
    hasty.config.retry_on_timeout = False
    proxy.lose_replies(FOR_EVER)
    for read in (
        lambda: hasty.load_thread("s"),
        lambda: hasty.get_session("s"),
        lambda: hasty.session_state("s"),
    ):
        with pytest.raises(StoreUnavailable):
            read()


def test_a_turn_is_taken_over_once_with_its_steps(lossy_store: Store, proxy: Proxy) -> None:
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
    proxy: Proxy,
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
        mine = pool.submit(lossy_store.begin_turn, "s", "mine", turn_id=turn_id, busy_timeout=90)
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
            mine.result(100)
        assert lines(others).count("user:mine") == 1
        assert others.session_state("s").open_turn is None
