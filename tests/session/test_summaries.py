"""What leaves the window is summed up by another model, once, and told in the requests to come."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from miniagent_redis import SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, Usage
from tests.support.waiting import until

Open = Callable[..., SessionManager]
LIMITS: dict[str, Any] = {"max_context_messages": 11}
TURNS = 100  # the slowest summary comes 20 turns late: three are told
TOLD = "What was said before, in short:\n"


class Scribe:
    """Sums up by naming the questions; keeps what it was asked."""

    name = "scribe"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.fails = False

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        text = request.messages[-1].text
        self.asked.append(text)
        assert self.may_answer.wait(30)
        if self.fails:
            raise OSError("out of ink")
        yield TextDelta("They spoke of " + " ".join(sorted(set(re.findall(r"topic\d+", text)))))
        yield Usage(100, 10)
        yield Finish()


class Speaker:
    """Keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []

    def remembers(self, topics: range) -> bool:
        """Whether each was in the last request: said, or told in short, and not both."""
        first, *others = (message.text for message in self.requests[-1].messages)
        told = re.findall(r"topic\d+", first) if first.startswith(TOLD) else []
        said = re.findall(r"topic\d+", " ".join([*others, *([] if told else [first])]))
        return sorted([*told, *said]) == sorted(f"topic{number}" for number in topics)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.requests.append(request)
        yield TextDelta("I see.")
        yield Usage(10, 1)
        yield Finish()


def summaries(manager: SessionManager, session_id: str) -> list[dict[str, Any]]:
    history = manager.get_history(session_id)
    return [message for message in history if "summary" in message.get("metadata", {})]


def talk(manager: SessionManager, session_id: str, numbers: range) -> None:
    """Say something in each turn, and let what leaves the window be summed up meanwhile."""
    for number in numbers:
        manager.chat(session_id, f"Let us speak of topic{number}.")
        until(lambda: not manager.agent.turns.submitted)


def test_what_leaves_the_window_is_told_in_short_from_the_first_request_on(
    open_manager: Open,
) -> None:
    model, scribe = Speaker(), Scribe()
    manager = open_manager(model, summary_model=scribe, **LIMITS)
    session_id = manager.create_or_resume_session("ada")
    for number in range(40):
        talk(manager, session_id, range(number, number + 1))
        assert model.remembers(range(number + 1))
    first = model.requests[-1].messages[0]
    assert (first.role, first.text[: len(TOLD)]) == ("system", TOLD)
    assert len(scribe.asked) < 40 / 2


@pytest.mark.parametrize("limit", [6, 7, 8, 9, 20])
def test_nothing_is_forgotten_however_few_turns_the_window_holds(
    limit: int, open_manager: Open
) -> None:
    model = Speaker()
    manager = open_manager(model, summary_model=Scribe(), max_context_messages=limit)
    session_id = manager.create_or_resume_session("ada")
    for number in range(40):
        talk(manager, session_id, range(number, number + 1))
        assert model.remembers(range(number + 1))


def test_each_message_is_summed_up_once_by_whichever_process(open_manager: Open) -> None:
    model, scribe = Speaker(), Scribe()
    managers = [open_manager(model, summary_model=scribe, **LIMITS) for _ in range(2)]
    session_id = managers[0].create_or_resume_session("ada")
    for number in range(40):
        talk(managers[number % 2], session_id, range(number, number + 1))
    parts = [text.partition("The next part:\n")[2] for text in scribe.asked]
    covered = [int(n) for part in parts for n in re.findall(r"topic(\d+)", part)]
    assert covered == list(range(len(covered)))
    assert len(covered) >= 34
    assert len(summaries(managers[0], session_id)) == len(scribe.asked)
    assert model.remembers(range(40))


def test_the_history_shows_it_as_what_it_is_and_stays_whole(open_manager: Open) -> None:
    manager = open_manager(Speaker(), summary_model=Scribe(), **LIMITS)
    session_id = manager.create_or_resume_session("ada")
    talk(manager, session_id, range(6))
    history = manager.get_history(session_id)
    assert sum(message["role"] == "user" for message in history) == 6
    (summary,) = summaries(manager, session_id)
    covers = summary["metadata"]["summary"]
    places = {message["id"]: place for place, message in enumerate(history)}
    assert summary["role"] == "system"
    assert places[covers["since"]] == 0
    assert places[covers["until"]] == covers["messages"]
    assert history[covers["messages"]]["role"] == "user"


def test_a_history_that_was_cleared_meanwhile_gets_none(open_manager: Open) -> None:
    scribe = Scribe()
    manager = open_manager(Speaker(), summary_model=scribe, **LIMITS)
    session_id = manager.create_or_resume_session("ada")
    scribe.may_answer.clear()
    for number in range(6):
        manager.chat(session_id, f"Let us speak of topic{number}.")
    until(lambda: scribe.asked)
    manager.clear_history(session_id)
    manager.chat(session_id, "Something else.")
    scribe.may_answer.set()
    until(lambda: not manager.agent.turns.submitted)
    assert [message["role"] for message in manager.get_history(session_id)] == ["user", "assistant"]


def test_while_one_process_sums_up_no_other_pays_for_it(open_manager: Open) -> None:
    scribe, other = Scribe(), Scribe()
    managers = [open_manager(Speaker(), summary_model=each, **LIMITS) for each in (scribe, other)]
    session_id = managers[0].create_or_resume_session("ada")
    scribe.may_answer.clear()
    for number in range(6):
        managers[0].chat(session_id, f"Let us speak of topic{number}.")
    until(lambda: scribe.asked)
    talk(managers[1], session_id, range(6, 7))
    scribe.may_answer.set()
    until(lambda: summaries(managers[0], session_id))
    assert (len(scribe.asked), other.asked) == (1, [])


def test_a_model_that_fails_holds_up_no_turn_and_is_made_up_for(open_manager: Open) -> None:
    model, scribe = Speaker(), Scribe()
    manager = open_manager(model, summary_model=scribe, **LIMITS)
    session_id = manager.create_or_resume_session("ada")
    scribe.fails = True
    talk(manager, session_id, range(7))
    assert len(scribe.asked) == 2  # before the window is cut, and then
    scribe.fails = False
    talk(manager, session_id, range(7, 12))
    assert model.remembers(range(12))


def test_an_agent_without_limits_is_sent_the_thread_and_no_summary(open_manager: Open) -> None:
    limited = open_manager(Speaker(), summary_model=Scribe(), **LIMITS)
    session_id = limited.create_or_resume_session("ada")
    talk(limited, session_id, range(8))
    model = Speaker()
    open_manager(model).chat(session_id, "And now?")
    roles = [message.role for message in model.requests[-1].messages]
    assert roles == ["user", "assistant"] * 8 + ["user"]


def test_its_tokens_are_those_of_the_user(open_manager: Open) -> None:
    manager = open_manager(Speaker(), summary_model=Scribe(), **LIMITS)
    session_id = manager.create_or_resume_session("ada")
    talk(manager, session_id, range(6))
    assert summaries(manager, session_id)[0]["metadata"]["usage"]["input_tokens"] == 100
    until(lambda: manager.usage(user_id="ada").input_tokens == 6 * 10 + 100)


@pytest.mark.parametrize("late", [0, 1, 2, 3, 5, 9, 20])
def test_the_beginning_of_requests_moves_once_a_cut_however_late_a_summary_comes(
    late: int, open_manager: Open
) -> None:
    model, scribe = Speaker(), Scribe()
    limits = {"max_context_messages": 21}
    managers = [open_manager(model, summary_model=scribe, **limits) for _ in range(2)]
    session_id = managers[0].create_or_resume_session("ada")
    scribe.may_answer.clear()
    asked_for = 0  # turns since a summary was asked for
    for number in range(TURNS):
        managers[number % 2].chat(session_id, f"Let us speak of topic{number}.")
        is_asked = any(manager.agent.turns.submitted for manager in managers)
        if is_asked and asked_for >= late:
            scribe.may_answer.set()
            until(lambda: not any(manager.agent.turns.submitted for manager in managers))
            scribe.may_answer.clear()
            asked_for = 0
        else:
            asked_for += is_asked
    scribe.may_answer.set()
    requests = [[message.text for message in request.messages] for request in model.requests]
    moves = sum(old != new[: len(old)] for old, new in pairwise(requests))
    history = managers[0].get_history(session_id)
    replies = [message for message in history if message["role"] == "assistant"]
    cuts = {reply["metadata"].get("context_cut", [""])[0] for reply in replies} - {""}
    assert moves == len(cuts)
    assert TURNS / 10 <= len(cuts) <= TURNS / 4
    assert 1 < len(summaries(managers[0], session_id)) <= len(cuts) + 1
    told = [new[0] for new in requests if new[0].startswith(TOLD)]
    assert len(told) > TURNS / 3  # it waits for the next cut, no longer
    assert len(set(told)) > 2


def test_a_full_session_that_lets_go_of_its_oldest_turns_keeps_its_summary(
    open_manager: Open,
) -> None:
    model = Speaker()
    redis = {"max_session_size": 8_000, "on_full": "trim"}
    manager = open_manager(model, summary_model=Scribe(), redis=redis, **LIMITS)
    session_id = manager.create_or_resume_session("ada")
    talk(manager, session_id, range(60))
    assert manager.get_history(session_id)[0]["content"] != "Let us speak of topic0."
    assert model.remembers(range(60))


def test_an_async_function_may_sum_up(open_manager: Open) -> None:
    async def sum_up(messages: list[Any]) -> str:
        return "It is " + str(len(messages))

    model = Speaker()
    manager = open_manager(model, summary_model=sum_up, **LIMITS)
    session_id = manager.create_or_resume_session("ada")
    talk(manager, session_id, range(8))
    assert model.requests[-1].messages[0].text == TOLD + "It is 2"


def test_very_long_parts_are_summed_up_one_after_the_other(open_manager: Open) -> None:
    scribe = Scribe()
    manager = open_manager(Speaker())
    session_id = manager.create_or_resume_session("ada")
    for number in range(30):
        manager.chat(session_id, f"Let us speak of topic{number}. " + "It is a long story. " * 200)
    later = open_manager(Speaker(), summary_model=scribe, **LIMITS)
    talk(later, session_id, range(30, 32))
    assert len(scribe.asked) > 1
    assert max(map(len, scribe.asked)) < 60_000
    assert "topic0 " in summaries(later, session_id)[0]["content"]
