"""Talking on the console: without a script, with one, and from two browsers."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import Message
from tests.flask.conftest import OpenConsole
from tests.support.console_apps import PREFIX, Model
from tests.support.pages import Page, Visitor
from tests.support.sse import read_events, said
from tests.support.waiting import until

SAY = "/say"


def test_a_conversation_without_a_script(open_console: OpenConsole) -> None:
    app, _ = open_console()
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.open(f"{PREFIX}/")
    assert "Say something" in page.text
    page = ada.send(page.form(SAY), message="My name is Ada.")
    assert "You said: My name is Ada." in page.text
    page = ada.send(page.form(SAY), message="And now?")
    assert "My name is Ada." in page.text
    assert "You said: And now?" in page.text
    again = ada.open(ada.address)  # sends nothing again
    assert again.text.count("You said:") == 2
    fresh = ada.open(f"{PREFIX}/")
    (link,) = (link for text, link in fresh.links.items() if text.startswith("My name is Ada."))
    assert "You said: And now?" in ada.open(link).text


def test_a_message_that_is_sent_twice_is_one(open_console: OpenConsole) -> None:
    app, agents = open_console()
    ada = Visitor(app.test_client(), X_User="ada")
    form = ada.open(f"{PREFIX}/").form(SAY)
    first, second = (ada.send(form, message="Once!") for _ in "12")
    assert first.text.count("You said: Once!") == second.text.count("You said: Once!") == 1
    with app.app_context():
        assert len(agents.for_user("ada").list_sessions()) == 1


def test_tools_are_shown_with_what_goes_in_and_out(open_console: OpenConsole) -> None:
    app, _ = open_console()
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.send(ada.open(f"{PREFIX}/").form(SAY), message="How is the weather?")
    assert "Let me look." in page.text
    assert '"city": "Paris"' in page.text
    assert "Sunny in Paris." in page.text
    calls = [one for one in page.all("details") if one.get("class") == "call"]
    assert len(calls) == 1


def test_a_page_that_is_loaded_in_mid_answer_shows_it_whole_and_once(
    open_console: OpenConsole,
) -> None:
    model = Model()
    app, agents = open_console(model=model)
    client, headers = app.test_client(), {"X-User": "ada"}
    with app.app_context():
        own = agents.for_user("ada")
        session_id = own.create_or_resume_session()
        own.start(session_id, "Tell it slowly", "t1")
    ada = Visitor(client, X_User="ada")
    page = ada.open(f"{PREFIX}/?id={session_id}")
    assert "Tell it slowly" in page.text
    assert "http-equiv" in str(page.all("meta"))  # a browser without a script looks again
    (chat,) = (one for one in page.all("section") if one.get("id") == "chat")
    events = read_events(client.get(chat["data-events"], headers=headers).response)
    begun = [next(events), next(events)]
    assert said(begun) == "first half, "
    again = client.get(
        chat["data-events"], headers={**headers, "Last-Event-ID": begun[-1].id}
    )  # as an EventSource does whose connection was cut
    model.go_on.set()
    rest = list(read_events(again.response))
    assert rest[-1].text == "first half, second half"
    assert {one.id for one in begun}.isdisjoint(one.id for one in rest)
    page = ada.open(f"{PREFIX}/?id={session_id}")
    assert page.text.count("first half, second half") == 1
    assert "http-equiv" not in str(page.all("meta"))


def test_an_approval_from_a_second_browser(open_console: OpenConsole) -> None:
    app, _ = open_console()
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.send(ada.open(f"{PREFIX}/").form(SAY), message="I want a refund")
    assert "refund waits for your approval" in page.text
    second = Visitor(app.test_client(), X_User="ada")
    waiting = second.open(f"{PREFIX}/waiting")
    assert "I want a refund" in waiting.text
    before = mark(page)
    after = second.send(waiting.form("/answer"), "Approve")
    assert "Nothing waits" in after.text
    state = app.test_client().get(state_of(page), headers={"X-User": "ada"})
    assert (state.json or {})["mark"] != before  # by which the first one's script looks again
    until(lambda: "order 7 was paid back" in ada.open(ada.address).text)


@pytest.mark.parametrize(
    ("message", "button", "fields", "told"),
    [
        ("I want a refund", "Deny", {"why": "too late"}, "declined: it was not run: too late"),
        ("locate me", "Give the result", {"result": "in Paris"}, "in Paris"),
        ("book a table", "Answer", {"result": '{"day": "friday"}'}, "booked for friday"),
        ("book a table", "Answer", {"result": "monday"}, "booked for monday"),
    ],
)
def test_calls_are_answered_on_the_page(
    open_console: OpenConsole, message: str, button: str, fields: dict[str, str], told: str
) -> None:
    app, _ = open_console()
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.send(ada.open(f"{PREFIX}/").form(SAY), message=message)
    page = ada.send(page.form("/answer"), button, **fields)
    assert f"You said: {told}" in page.text
    assert [one for one in page.forms if one.action.endswith("/answer")] == []


def test_an_answer_is_stopped_and_what_there_is_is_kept(open_console: OpenConsole) -> None:
    app, agents = open_console()
    with app.app_context():
        own = agents.for_user("ada")
        session_id = own.create_or_resume_session()
        own.start(session_id, "Tell it slowly", "t1")
        until(lambda: any(one.text for one in own.watch(session_id, "", 0.1, turn_id="t1")))
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.open(f"{PREFIX}/?id={session_id}")
    ada.send(page.form("/stop"))
    until(lambda: "Ended early: cancelled" in ada.open(f"{PREFIX}/?id={session_id}").text)


def test_what_fails_is_told_in_words_for_people(open_console: OpenConsole) -> None:
    app, _ = open_console()
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.send(ada.open(f"{PREFIX}/").form(SAY), message="break, please")
    assert ada.status == 502
    assert "The model could not answer" in page.text
    assert "sk-1234" not in page.text


def test_what_has_failed_before_a_script_sees_the_page_is_told_too(
    open_console: OpenConsole,
) -> None:
    app, agents = open_console()
    with app.app_context():
        own = agents.for_user("ada")
        session_id = own.create_or_resume_session()
        own.start(session_id, "break, please", "t1")
        until(lambda: own.turn(session_id, "t1").state == "unknown")
        own.chat(session_id, "Hello", turn_id="t2")
    ada = app.test_client()
    where = f"{PREFIX}/?id={session_id}&turn="
    failed = ada.get(where + "t1", headers={"X-User": "ada"})
    assert (failed.status_code, "The model could not answer" in failed.text) == (502, True)
    assert ada.get(where + "t2", headers={"X-User": "ada"}).status_code == 200


def test_earlier_messages_of_a_long_conversation_are_linked(open_console: OpenConsole) -> None:
    app, agents = open_console()
    with app.app_context():
        own = agents.for_user("ada")
        session_id = own.create_or_resume_session()
        several = [Message("user", f"message {number}") for number in range(250)]
        agents.store.append_to_thread(session_id, several)
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.open(f"{PREFIX}/?id={session_id}")
    assert "message 249" in page.text
    assert "message 49 " not in page.text
    page = ada.follow(page, "Earlier messages are in the session.")
    for _ in range(2):
        page = ada.follow(page, "Earlier messages")
    assert "message 0 " in page.text
    assert "Earlier messages" not in page.links


def mark(page: Page) -> str:
    return chat_of(page)["data-mark"]


def state_of(page: Page) -> str:
    return chat_of(page)["data-state"]


def chat_of(page: Page) -> dict[str, Any]:
    (chat,) = (one for one in page.all("section") if one.get("id") == "chat")
    return chat
