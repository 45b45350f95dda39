"""The checker of the storm of repetitions finds what it is there to find, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from tests.support.appended import KEPT, Command, changes
from tests.support.lives import Lives
from tests.support.servers import RedisServer
from tests.support.told import PROMISES, Told, judge

NOW = 1_000_000.0  # seconds


def commands(*several: list[object]) -> list[Command]:
    return [[str(word).encode() for word in words] for words in several]


def created(agent: str, at: float) -> list[Command]:
    document = json.dumps({"agent_name": agent, "data": {}})
    fields = ["created_at", round(at * 1000), "epoch", 1, "agent", agent]
    return commands(["SET", "session:{s}", document], ["HSET", "metadata:{s}", *fields])


def changed(at: float, *several: list[object], **fields: object) -> list[Command]:
    words = [word for pair in fields.items() for word in pair]
    used = ["HSET", "metadata:{s}", "last_activity", round(at * 1000), *words]
    return commands(*several, used)


def added(token: str, at: float) -> list[Command]:
    return changed(at, ["RPUSH", "thread:{s}", json.dumps({"content": token})])


def updated(token: str, agent: str, at: float) -> list[Command]:
    document = json.dumps({"agent_name": agent, "data": {"token": token}})
    return changed(at, ["SET", "session:{s}", document])


def told(kind: str, outcome: str = "ok", token: str = "t", **more: Any) -> Told:
    return Told(token, kind, "s", outcome=outcome, **{"start": NOW, "end": NOW + 9, **more})


ADA, BOB = created("ada", NOW), created("bob", NOW + 5)
ENDED = commands(["DEL", "session:{s}", "thread:{s}", "metadata:{s}"])
CLEARED = [changed(NOW + n, epoch=n + 1) for n in (1, 2)]
MADE = [told("create", token="ada"), told("create", token="bob")]


def broken(done: list[list[Command]], *calls: Told) -> list[str]:
    """Return which promises are, when so much was done and callers were told so much."""
    verdict = judge([*MADE[: 1 + done.count(BOB)], *calls], Lives(done))
    return [promise for promise in PROMISES if verdict.figures[promise]]


def test_what_was_told_and_done_once_is_in_order() -> None:
    done = [ADA, added("t", NOW + 1), updated("u", "ada", NOW + 2), CLEARED[0], ENDED, BOB]
    calls = [told("append"), told("update", token="u"), told("clear"), told("delete")]
    assert broken(done, *calls) == []


def test_what_is_done_twice_is_doubled() -> None:
    assert broken([ADA, added("t", NOW + 1), added("t", NOW + 2)], told("append")) == ["doubled"]
    assert broken([ADA, *CLEARED], told("clear")) == ["doubled"]
    assert broken([ADA, ENDED, BOB, ENDED], told("delete")) == ["doubled"]


def test_what_was_told_and_is_not_there_is_lost() -> None:
    for kind in ("append", "update", "commit", "clear", "delete"):
        assert broken([ADA], told(kind)) == ["lost"]
    assert broken([ADA], told("append", "unsure", found="committed")) == ["lost"]


def test_what_was_denied_and_is_there_is_untrue() -> None:
    for outcome in ("not", "gone"):
        assert broken([ADA, added("t", NOW + 1)], told("append", outcome)) == ["untrue"]
        assert broken([ADA, CLEARED[0]], told("clear", outcome)) == ["untrue"]
        assert broken([ADA, ENDED], told("delete", outcome)) == ["untrue"]
    assert broken([ADA, added("t", NOW + 1)], told("append", "unsure", found="unknown")) == [
        "untrue"
    ]


def test_that_there_is_no_session_is_true_of_one_that_ended_since() -> None:
    assert broken([ADA, added("t", NOW + 1), ENDED], told("append", "gone"), told("delete")) == []


def test_a_session_that_was_made_after_the_first_try_is_another() -> None:
    repeated = {"first_over": NOW + 1, "has_failed": True}
    begun = [ADA, ENDED, BOB]
    ended = told("delete", end=NOW + 4)
    again = changed(NOW + 6, epoch=3)
    assert broken([*begun, added("t", NOW + 6)], ended, told("append", **repeated)) == [
        "in_another"
    ]
    assert broken([*begun, again], ended, told("clear", **repeated)) == ["in_another"]
    assert broken([*begun, ENDED], ended, told("delete", **repeated)) == ["in_another"]
    assert broken([*begun, updated("t", "ada", NOW + 6)], ended, told("update")) == ["in_another"]


def test_a_commit_belongs_in_the_thread_in_which_its_turn_was_begun() -> None:
    done = [ADA, CLEARED[0], added("t", NOW + 2)]
    clear = told("clear")
    assert broken(done, clear, told("commit", epoch=2)) == []
    assert broken(done, clear, told("commit", epoch=1)) == ["in_another"]


def test_the_file_of_a_server_tells_what_was_done_though_it_was_killed() -> None:
    with RedisServer(*KEPT) as server:
        with RedisSessionManager(RedisConfig(url=server.url)) as store:
            store.create_session("s", agent_name="ada")
            store.append_to_thread("s", Message("user", "one"))
            server.kill()
            server.start()
            store.update_session("s", {"token": "u"})
            turn = store.begin_turn("s", "two")
            store.commit_turn(turn, [Message("assistant", "three")])
            store.clear_thread("s")
            store.append_to_thread("s", Message("user", "four"))
            store.delete_session("s")
        server.stop()
        lives = Lives(changes(server.folder))
    effects = [(effect.kind, effect.token) for effect in lives.effects]
    assert effects == [
        ("create", "ada"),
        ("message", "one"),
        ("update", "u"),
        ("message", "two"),
        ("message", "three"),
        ("clear", ""),
        ("message", "four"),
        ("delete", ""),
    ]
    (life,) = lives.all["s"]
    assert life.thread == ["four"]
    assert life.is_over
