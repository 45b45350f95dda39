"""Titles that sessions get by themselves: of the first exchange, unless somebody gave one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    SessionThread,
)
from miniagent_redis.errors import InvalidInput
from miniagent_redis.llm import Finish, ModelRequest, TextDelta
from miniagent_redis.session.titling import LONGEST, title_of_text
from tests.session.conftest import Open
from tests.support.waiting import until

Opener = Callable[..., SessionManager]


@pytest.fixture
def manager_with(store_url: str) -> Iterator[Opener]:
    with ExitStack() as stack:

        def open_it(**settings: Any) -> SessionManager:
            config = AgentConfig(**{"model": lambda messages: "fine", **settings})
            agent = SessionAgent(config, redis_config=RedisConfig(url=store_url))
            return SessionManager(stack.enter_context(agent))

        yield open_it


def title(manager: SessionManager) -> str | None:
    (session,) = [each for each in manager.list_sessions("ada") if not each["forked_from"]]
    found: str | None = session["title"]
    return found


def test_a_session_is_called_by_its_first_words(manager_with: Opener) -> None:
    manager = manager_with()
    sid = manager.create_or_resume_session("ada")
    assert title(manager) is None
    manager.chat(sid, "**How** is the weather\nin `Ürümqi`?")
    assert title(manager) == "How is the weather in Ürümqi?"
    manager.chat(sid, "And tomorrow?")
    assert title(manager) == "How is the weather in Ürümqi?"


def test_other_instances_see_the_title_though_this_one_never_lists(manager_with: Opener) -> None:
    manager, other = manager_with(), manager_with()
    manager.chat(manager.create_or_resume_session("ada"), "Tea?")
    manager.agent.background.run_all()
    assert title(other) == "Tea?"


def test_it_is_forgotten_with_what_was_said(manager_with: Opener) -> None:
    manager = manager_with()
    sid = manager.create_or_resume_session("ada")
    manager.chat(sid, "my secret")
    manager.clear_history(sid)
    assert title(manager) is None
    manager.chat(sid, "tea")
    assert title(manager) == "tea"
    manager.agent.thread(sid).clear()
    assert title(manager) is None
    manager.chat(sid, "coffee")
    assert title(manager) == "coffee"
    manager.edit(sid, manager.get_history(sid)[0]["turn_id"], "cocoa")
    assert title(manager) == "cocoa"


def test_it_stays_called_what_somebody_called_it(manager_with: Opener) -> None:
    manager = manager_with()
    sid = manager.create_or_resume_session("ada")
    manager.set_title(sid, "Mine", user_id="ada")
    manager.chat(sid, "Hello")
    assert title(manager) == "Mine"


def test_without_titles_it_has_none(manager_with: Opener) -> None:
    manager = manager_with(title=False)
    manager.chat(manager.create_or_resume_session("ada"), "Hello")
    assert title(manager) is None


def test_a_function_makes_it_and_holds_up_no_turn(manager_with: Opener) -> None:
    go_on, seen = threading.Event(), list[Any]()

    def make(messages: list[dict[str, Any]]) -> str:
        assert go_on.wait(30)
        seen.append([message["content"] for message in messages])
        return '  "A good\ntitle"\n'

    manager = manager_with(title=make)
    sid = manager.create_or_resume_session("ada")
    manager.chat(sid, "one")
    manager.chat(sid, "two")
    assert title(manager) is None
    go_on.set()
    until(lambda: title(manager) == "A good title")
    assert seen == [["one", "fine"]]


def test_a_title_that_was_given_meanwhile_stays(manager_with: Opener) -> None:
    go_on, ended = threading.Event(), threading.Event()

    def make(messages: list[dict[str, Any]]) -> str:
        assert go_on.wait(30)
        ended.set()
        return "too late"

    manager = manager_with(title=make)
    sid = manager.create_or_resume_session("ada")
    manager.chat(sid, "one")
    manager.set_title(sid, "Mine")
    go_on.set()
    assert ended.wait(30)
    until(lambda: not len(manager.agent.turns.submitted))
    assert title(manager) == "Mine"


def test_a_model_makes_it(manager_with: Opener) -> None:
    class Model:
        def stream(self, request: ModelRequest) -> Iterator[Any]:
            assert request.system
            yield TextDelta(f"About {request.messages[0].text[:9]}")
            yield Finish("stop")

    manager = manager_with(title=Model())
    manager.chat(manager.create_or_resume_session("ada"), "tea")
    until(lambda: title(manager) == "About user: tea")


@pytest.mark.parametrize("bad", [lambda messages: 1 / 0, lambda messages: 5, lambda messages: " "])
def test_what_fails_leaves_the_first_words(manager_with: Opener, bad: Any) -> None:
    manager = manager_with(title=bad)
    manager.chat(manager.create_or_resume_session("ada"), "tea")
    until(lambda: title(manager) == "tea")


@pytest.mark.parametrize("by_thread", [False, True])
def test_to_clear_a_session_takes_no_title_of_one_that_was_made_since(
    open_manager: Open, store_url: str, monkeypatch: pytest.MonkeyPatch, by_thread: bool
) -> None:
    manager = open_manager()
    titles = manager.store.parts.titles
    take_back = titles.take_back

    def take_back_late(*args: Any) -> None:
        other.delete_session("s")
        other.create_session("s")
        other.parts.titles.give_first("s", "of bob", other.load_thread("s").epoch)
        take_back(*args)

    manager.store.create_session("s")
    thread = SessionThread(manager.store, "s")
    monkeypatch.setattr(titles, "take_back", take_back_late)
    with RedisSessionManager(RedisConfig(url=store_url)) as other:
        thread.clear() if by_thread else manager.clear_history("s")
        assert other.session_state("s").title == "of bob"


@pytest.mark.parametrize("bad", ["", None, 5, ["x"]])
def test_what_cannot_make_titles(bad: Any) -> None:
    with pytest.raises(InvalidInput, match="title"):
        AgentConfig(title=bad)


def test_a_model_that_nobody_knows_is_told_at_once(store_url: str) -> None:
    with pytest.raises(InvalidInput):
        SessionAgent(AgentConfig(title="nobody:x"), redis_config=RedisConfig(url=store_url))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello", "Hello"),
        ("# Heading\n\n- a *list*", "Heading a list"),
        ("see [the docs](https://x.example/y) <b>now</b>", "see the docs now"),
        ("```py\nprint(1)\n```\nWhat is it?", "What is it?"),
        ("```\nonly code\n```", "``` only code ```"),
        ("\x1b[31mred\x1b[0m \x07bell", "red bell"),
        ("a_b and 2 * 3 > 1", "a_b and 2 * 3 > 1"),
        ("", ""),
        (" \n ", ""),
        ("word " * 30, "word " * 11 + "word…"),
        ("longer " * 30, "longer " * 7 + "longer…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_title_is_text_on_a_line_cut_at_a_word(text: str, wanted: str) -> None:
    assert len(wanted) <= LONGEST
    assert title_of_text(text) == wanted
