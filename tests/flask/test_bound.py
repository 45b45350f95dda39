"""BoundManager has every call of a SessionManager, and each is one user's."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from flask import Flask

from miniagent_redis import InvalidInput, SessionManager, SessionNotFound
from miniagent_redis.flask import BoundManager, ForeignOrigin, MessageTooLarge, current_agents
from tests.flask.conftest import OpenApp

ADA, BOB = {"X-User": "ada"}, {"X-User": "bob"}
OWN = {"forget_user", "tenant"}
"""Methods without a ``user_id`` to leave out."""


def methods(kind: type) -> dict[str, Any]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: method for name, method in found if not name.startswith("_")}


def test_it_has_each_method_of_a_manager() -> None:
    more = {"answer_soon"}
    assert methods(BoundManager).keys() == methods(SessionManager).keys() | more


@pytest.mark.parametrize("name", sorted(methods(SessionManager).keys() - OWN))
def test_a_method_takes_what_that_of_the_manager_does(name: str) -> None:
    bound, plain = methods(BoundManager)[name], methods(SessionManager)[name]
    assert inspect.signature(bound) == inspect.signature(plain)
    assert "user_id" in inspect.signature(plain).parameters


def test_each_call_is_the_users(open_app: OpenApp) -> None:
    app = open_app("one", "two", "three")
    with app.app_context():
        ada, bob = current_agents.for_user("ada"), current_agents.for_user("bob")
        session_id = ada.create_or_resume_session()
        assert ada.chat(session_id, "1") == "one"
        assert [event.text for event in ada.stream(session_id, "2")][-1] == "two"
        turn_id = ada.start(session_id, "3", "third").turn_id
        events = list(ada.watch(session_id, turn_id=turn_id, timeout=20))
        assert events[-1].text == "three"
        assert ada.turn(session_id, turn_id).state == "completed"
        assert ada.usage().turns == 3
        assert len(ada.list_sessions()) == 1
        calls = [
            lambda: bob.create_or_resume_session(session_id=session_id),
            lambda: bob.chat(session_id, "1"),
            lambda: list(bob.stream(session_id, "1")),
            lambda: bob.start(session_id, "1"),
            lambda: bob.turn(session_id, turn_id),
            lambda: list(bob.watch(session_id, "", 0.1)),
            lambda: bob.get_history(session_id),
            lambda: bob.usage(session_id=session_id),
            lambda: bob.clear_history(session_id),
            lambda: bob.cancel(session_id),
            lambda: bob.renew_session_id(session_id),
        ]
        for call in calls:
            with pytest.raises(SessionNotFound):
                call()
        assert not bob.end_session(session_id)
        assert bob.forget_user().sessions == 0
        assert bob.usage().turns == 0
        assert len(ada.get_history(session_id)) == 6


def test_another_user_cannot_be_named(open_app: OpenApp) -> None:
    app = open_app()
    with app.app_context():
        ada = current_agents.for_user("ada")
        with pytest.raises(InvalidInput, match="not this manager's"):
            ada.list_sessions("bob")
        with pytest.raises(InvalidInput, match="not this manager's"):
            ada.create_or_resume_session(user_id="bob")
        assert ada.list_sessions("ada") == ada.list_sessions(None) == []


def test_a_tenant_is_the_same_users(open_app: OpenApp) -> None:
    app = open_app()
    with app.app_context():
        ada = current_agents.for_user("ada")
        ada.tenant("acme").create_or_resume_session()
        assert len(ada.tenant("acme").list_sessions()) == 1
        assert ada.list_sessions() == []


def test_a_message_that_is_too_large_is_refused(open_app: OpenApp) -> None:
    app = open_app(MINIAGENT_MAX_MESSAGE_SIZE=10)
    with app.test_request_context(method="POST", headers=ADA):
        ada = current_agents.manager
        session_id = ada.create_or_resume_session()
        with pytest.raises(MessageTooLarge):
            ada.chat(session_id, "ä" * 6)
        with pytest.raises(MessageTooLarge):
            ada.start(session_id, message="a" * 11)


def changes(app: Flask, headers: dict[str, str]) -> bool:
    """Whether a request with these headers may change something."""
    with app.test_request_context(method="POST", headers={**ADA, **headers}):
        assert current_agents.manager.list_sessions() is not None  # this it may always
        try:
            return bool(current_agents.manager.create_or_resume_session())
        except ForeignOrigin:
            return False


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({}, True),  # no browser
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "https://front.example.org"}, True),
        ({"Origin": "https://front.example.org", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer abc"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Basic YTpi"}, False),
    ],
)
def test_pages_of_other_sites_change_nothing(
    open_app: OpenApp, headers: dict[str, str], may: bool
) -> None:
    app = open_app(MINIAGENT_TRUSTED_ORIGINS="https://front.example.org/")
    assert changes(app, headers) == may


def test_who_follows_a_link_may_begin_a_session_and_say_nothing(open_app: OpenApp) -> None:
    headers = {**ADA, "Sec-Fetch-Site": "cross-site"}
    with open_app("Hello.").test_request_context(method="GET", headers=headers):
        session_id = current_agents.manager.create_or_resume_session()
        with pytest.raises(ForeignOrigin):
            current_agents.sse(session_id, "Delete all I have.")


def test_a_request_from_elsewhere_is_403(open_app: OpenApp) -> None:
    headers = {**ADA, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    answer = open_app().test_client().post("/sessions", headers=headers)
    assert answer.status_code == 403
    assert answer.json is not None
    assert answer.json["code"] == "foreign_origin"
