"""Going back on the console: another message, another answer, branches, titles, and search."""

from __future__ import annotations

from miniagent_redis.flask import MiniAgent
from tests.flask.conftest import OpenConsole
from tests.flask.test_console_look import talk
from tests.support.console_apps import PREFIX, Model, standalone
from tests.support.pages import Form, Page, Visitor


def again(page: Page, number: int = -1) -> Form:
    """Return a form that goes back: the last one is that of the last answer."""
    return [form for form in page.forms if form.action.endswith("/again")][number]


def test_an_answer_is_given_anew_and_the_one_before_is_a_branch(open_console: OpenConsole) -> None:
    model = Model()
    app, agents = open_console(standalone, model=model)
    session_id = talk(app, agents, "ada", "one", "two")
    ada = Visitor(app.test_client())
    model.answers["two"] = "something better"
    page = ada.send(again(ada.open(f"/?id={session_id}")), "Answer again")
    assert "something better" in page.text
    assert "You said: one" in page.text
    assert "You said: two" not in page.text
    page = ada.open(f"/session?id={session_id}")
    assert "Branches" in page.text
    kept = ada.follow(page, "two")  # with which it parts from the session
    assert "You said: two" in kept.text
    assert "Branch of" in kept.text
    assert "something better" in ada.follow(kept, session_id).text
    assert "branch" in ada.open("/sessions").text


def test_another_message_is_sent_in_the_place_of_one(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "one", "two", "three")
    ada = Visitor(app.test_client())
    page = ada.send(again(ada.open(f"/?id={session_id}"), 1), "Send instead", message="other")
    assert "You said: one" in page.text
    assert "You said: other" in page.text
    assert "three" not in page.text


def test_what_is_sent_twice_goes_back_once(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "one", "two")
    ada = Visitor(app.test_client())
    form = again(ada.open(f"/?id={session_id}"))
    first, second = ada.send(form), ada.send(form)
    assert first.text.count("You said: two") == second.text.count("You said: two") == 1
    with app.app_context():
        assert len(agents.unbound.list_branches(session_id)) == 1


def test_a_message_that_is_too_long_changes_nothing(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "one")
    ada = Visitor(app.test_client())
    ada.send(again(ada.open(f"/?id={session_id}"), 0), message="x" * 70_000)
    assert ada.status == 413
    assert "You said: one" in ada.open(f"/?id={session_id}").text


def test_nobody_goes_back_in_what_others_said_or_that_is_read_only(
    open_console: OpenConsole,
) -> None:
    app, agents = open_console()
    session_id = talk(app, agents, "ada", "one")
    ada, bob = (Visitor(app.test_client(), X_User=user) for user in ("ada", "bob"))
    form = again(ada.open(f"{PREFIX}/?id={session_id}"))
    bob.send(form)
    assert bob.status == 404
    app, agents = open_console(read_only=True)
    reader = Visitor(app.test_client(), X_User="ada")
    reader.send(form)
    assert reader.status == 403
    assert not reader.open(f"{PREFIX}/?id={session_id}").forms


def test_while_an_answer_is_given_nothing_can_be_sent_again(open_console: OpenConsole) -> None:
    app, agents = open_console()
    session_id = talk(app, agents, "ada", "one", "I want a refund")
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.open(f"{PREFIX}/?id={session_id}")
    assert not [form for form in page.forms if form.action.endswith("/again")]


def test_sessions_are_renamed(open_console: OpenConsole) -> None:
    app, agents = open_console()
    session_id = talk(app, agents, "ada", "Where is my order?")
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.open(f"{PREFIX}/session?id={session_id}")
    ada.send(page.form("/title"), title="Order <7>")
    assert "Order <7>" in ada.open(f"{PREFIX}/sessions").links
    ada.send(page.form("/title"), title="")
    assert "Where is my order?" in ada.open(f"{PREFIX}/sessions").links
    bob = Visitor(app.test_client(), X_User="bob")
    bob.send(page.form("/title"), title="mine")
    assert "mine" not in ada.open(f"{PREFIX}/sessions").links


def found(visitor: Visitor, agents: MiniAgent, query: str) -> list[str]:
    page = visitor.open(f"{PREFIX}/search?{query}")
    return [text for text, link in page.links.items() if "/session?" in link]


def test_words_are_found_in_ones_own_messages(open_console: OpenConsole) -> None:
    app, agents = open_console()
    session_id = talk(app, agents, "ada", "The blue bicycle is broken.", "Thank you.")
    talk(app, agents, "bob", "My bicycle is red.")
    ada, bob, root = (Visitor(app.test_client(), X_User=user) for user in ("ada", "bob", "root"))
    assert found(ada, agents, "q=BICYCLE+blue") == [
        "You said: The blue bicycle is broken.", "The blue bicycle is broken.",
    ]  # fmt: skip
    page = ada.open(f"{PREFIX}/search?q=blue")
    assert session_id in page.links["The blue bicycle is broken."]
    assert "The blue bicycle" in ada.follow(page, "The blue bicycle is broken.").text
    assert not found(bob, agents, "q=blue&user=ada")
    assert not found(root, agents, "q=bicycle")
    assert len(found(root, agents, "q=bicycle&user=bob")) == 2
    assert "Nothing found" in ada.open(f"{PREFIX}/search?q=helicopter").text
    assert "Search what was said" in ada.open(f"{PREFIX}/search").text
