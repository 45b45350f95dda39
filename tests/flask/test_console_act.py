"""Acting on the console: what goes is said first; and who may see and do what."""

from __future__ import annotations

import uuid

import pytest
from flask import Flask

from miniagent_redis import StoreUnavailable
from tests.flask.conftest import OpenConsole
from tests.flask.test_console_look import PAGES, talk
from tests.support.console_apps import PREFIX, standalone
from tests.support.pages import Visitor
from tests.support.stored import dump


def test_what_ends_a_session_says_first_what_goes(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "bob", "1", "I want a refund")
    root = Visitor(app.test_client())
    page = root.follow(root.open(f"/session?id={session_id}"), "Remove…")
    assert "Remove this session?" in page.text
    assert session_id in page.text
    assert "2 messages in 1 turn" in page.text
    assert "a turn that is not over yet" in page.text
    page = root.send(page.form("/confirm"), "Remove")
    assert "The session is removed." in page.text
    root.open(f"/session?id={session_id}")
    assert root.status == 404


def test_messages_are_cleared(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "bob", "1", "2")
    root = Visitor(app.test_client())
    page = root.follow(root.open(f"/session?id={session_id}"), "Clear…")
    assert "4 messages in 2 turns" in page.text
    assert "Its messages are removed." in root.send(page.form("/confirm"), "Clear").text
    assert "Nothing was said" in root.open(f"/session?id={session_id}").text


def test_a_user_is_forgotten(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    for message in ("1", "2"):
        talk(app, agents, "bob", message)
    talk(app, agents, "ada", "mine")
    root = Visitor(app.test_client())
    page = root.follow(root.open("/sessions?user=bob"), "Forget this user…")
    assert "2 sessions" in page.text
    assert "4 messages" in page.text
    page = root.send(page.form("/confirm"), "Forget")
    assert "Removed: 2 sessions, 4 messages, the totals." in page.text
    assert "mine" in root.open("/sessions").links


def test_people_see_their_own_sessions_only(open_console: OpenConsole) -> None:
    app, agents = open_console()
    session_id = talk(app, agents, "ada", "My secret.", "I want a refund")
    bob = Visitor(app.test_client(), X_User="bob")
    for path in ("/", "/sessions", "/sessions?user=ada", "/waiting", "/usage"):
        page = bob.open(PREFIX + path)
        assert bob.status == 200
        assert "secret" not in page.text
        assert "refund" not in page.text
        assert "Health" not in page.links
    paths = ("/?id={}", "/session?id={}", "/session/export?id={}", "/confirm?what=end&id={}")
    for path in paths:
        bob.open(PREFIX + path.format(session_id))
        assert bob.status == 404
    for path in ("/session/keys?id={}", "/health", "/confirm?what=forget&id=ada"):
        bob.open(PREFIX + path.format(session_id))
        assert bob.status == 403
    client, headers = app.test_client(), {"X-User": "bob"}
    for path, data in (
        ("/say", {"message": "hi"}),
        ("/stop", {}),
        ("/answer", {"turn": "t1", "call": "c2", "verdict": "approve"}),
        ("/confirm", {"what": "clear"}),
    ):
        sent = {"id": session_id, **data}
        assert client.post(PREFIX + path, data=sent, headers=headers).status_code == 404
    ended = client.post(
        f"{PREFIX}/confirm", data={"what": "end", "id": session_id}, headers=headers
    )
    assert "It was gone already." in ended.text  # he learns nothing, and it is there still: below
    for path, data in (("/confirm", {"what": "forget", "id": "ada"}), ("/health", {})):
        assert client.post(PREFIX + path, data=data, headers=headers).status_code == 403
    for path in ("/events", "/state"):
        assert client.get(f"{PREFIX}{path}?id={session_id}", headers=headers).status_code == 404
    ada = Visitor(app.test_client(), X_User="ada")
    assert "My secret." in ada.open(f"{PREFIX}/sessions").links
    root = Visitor(app.test_client(), X_User="root")
    assert "My secret." in root.open(f"{PREFIX}/sessions").links
    assert "Keys" in root.open(f"{PREFIX}/session?id={session_id}").links


def test_users_forget_themselves(open_console: OpenConsole) -> None:
    app, agents = open_console()
    talk(app, agents, "ada", "mine")
    talk(app, agents, "bob", "his")
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.follow(ada.open(f"{PREFIX}/sessions"), "Forget all of it…")
    assert "Removed: 1 session" in ada.send(page.form("/confirm"), "Forget").text
    with app.app_context():
        assert len(agents.unbound.list_sessions()) == 1


def test_nobody_is_sent_to_the_apps_login(open_console: OpenConsole) -> None:
    app, _ = open_console()
    app.register_error_handler(401, lambda _: ("", 302, {"Location": "/login"}))
    for path in ("/sessions", "/waiting", "/usage"):
        assert app.test_client().get(PREFIX + path).status_code == 302
    assert app.test_client().get(f"{PREFIX}/").headers["Location"] == "/login"


def test_pages_of_other_sites_change_nothing(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "1")
    client = app.test_client()
    for path in ("/say", "/stop", "/answer", "/confirm", "/health"):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.post(path, data={"id": session_id, "what": "end"}, headers=headers)
            assert answer.status_code == 403
    assert client.get(f"/session?id={session_id}").status_code == 200
    here = {"Origin": "http://localhost"}
    form = {"what": "end", "id": session_id}
    assert client.post("/confirm", data=form, headers=here).status_code == 200


def test_one_that_is_read_only_has_no_forms_and_takes_none(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone, read_only=True)
    session_id = talk(app, agents, "ada", "1", "I want a refund")
    ada = Visitor(app.test_client())
    for path in (*PAGES, f"/?id={session_id}", f"/session?id={session_id}"):
        page = ada.open(path)
        assert ada.status == 200
        assert "read-only" in page.text
        assert [form for form in page.forms if form.method != "get"] == []
        assert not {"Clear…", "Remove…"} & page.links.keys()
    for path in ("/say", "/stop", "/answer", "/confirm", "/health"):
        assert app.test_client().post(path, data={"id": session_id}).status_code == 403
    ada.open(f"/confirm?what=end&id={session_id}")
    assert ada.status == 403


def routes(app: Flask) -> list[tuple[str, str]]:
    """Return the method and path of all that the console answers, but for its static files."""
    rules = [rule for rule in app.url_map.iter_rules() if "static" not in rule.endpoint]
    return sorted((method, rule.rule) for rule in rules for method in rule.methods or ())


def test_nothing_of_a_read_only_console_changes_anything(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone, read_only=True, token="s3cret")
    session_id = talk(app, agents, "ada", "1", "I want a refund")
    with app.app_context():
        own = agents.for_user("ada")
        turn_id = own.get_history(session_id, pending=True)[-1]["turn_id"]
        own.list_sessions()  # which writes what is noted of turns, as any process may at any time
    fields = {
        "id": session_id, "turn": turn_id, "call": "c2", "verdict": "approve", "message": "more",
        "at": turn_id, "what": "end", "title": "other", "new": str(uuid.uuid4()),
    }  # fmt: skip
    bearer = {"Authorization": "Bearer s3cret"}

    def stored() -> tuple[set[str], dict[str, object]]:
        """Return all names of keys, and what the session's keys hold."""
        with app.app_context():
            found = dump(agents.store.client)
        names = {key for key in found if "usage" not in key}
        return names, {key: found[key] for key in names if session_id in key}

    before, client, refused = stored(), app.test_client(), 0
    for method, path in routes(app):
        answer = client.open(
            path, method=method, headers=bearer, query_string=fields,
            data=fields if method == "POST" else None,
        )  # fmt: skip
        answer.close()
        assert answer.status_code < 500, path
        if method not in ("GET", "HEAD", "OPTIONS") and path != "/login":
            assert answer.status_code == 403, path
            refused += 1
    assert refused >= 7
    assert stored() == before


def test_nothing_is_there_for_who_is_not_let_in(open_console: OpenConsole) -> None:
    for guard in ({"token": "s3cret"}, {}):
        app, agents = open_console(standalone, **guard)
        session_id = talk(app, agents, "ada", "My secret.")
        beyond = {"REMOTE_ADDR": "192.0.2.7"}
        for method, path in routes(app):
            answer = app.test_client().open(
                path, method=method, data={"id": session_id} if method == "POST" else None,
                query_string={"id": session_id, "token": "wrong"}, environ_overrides=beyond,
            )  # fmt: skip
            told = answer.get_data(as_text=True)
            assert "secret" not in told, path
            if path != "/login" and method != "OPTIONS":
                assert answer.status_code == (303 if guard else 403), path
            assert "script-src 'self'" in answer.headers.get("Content-Security-Policy", "") or (
                answer.mimetype != "text/html"
            )
        with app.app_context():
            assert agents.unbound.get_history(session_id)


def test_no_route_takes_a_form_of_another_site(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "1")
    changing = [path for method, path in routes(app) if method == "POST"]
    assert {"/say", "/again", "/title", "/answer", "/stop", "/confirm", "/health"} <= {*changing}
    for path in changing:
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            form = {"id": session_id, "what": "end", "title": "x", "message": "x"}
            answer = app.test_client().post(path, data=form, headers=headers)
            assert answer.status_code == 403, (path, headers)


def test_without_a_token_only_this_machine_is_let_in(open_console: OpenConsole) -> None:
    app, _ = open_console(standalone)
    client = app.test_client()
    assert client.get("/").status_code == 200
    beyond = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get("/", environ_overrides=beyond).status_code == 403
    rebound = {"Host": "evil.example"}  # its name leads to 127.0.0.1 now
    assert client.get("/", headers=rebound).status_code == 403


def test_with_a_token_a_browser_gives_it_once(open_console: OpenConsole) -> None:
    app, _ = open_console(standalone, token="s3cret")
    beyond = app.test_client()
    visitor = Visitor(beyond)
    page = visitor.open("/sessions")
    assert visitor.address == "/login"
    page = visitor.send(page.form("/login"), "Open", token="wrong")
    assert visitor.status == 401
    page = visitor.send(page.form("/login"), "Open", token="s3cret")
    assert "Say something" in page.text
    cookie = beyond.post("/login", data={"token": "s3cret"}).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "s3cret" not in cookie
    by_link = Visitor(app.test_client())
    assert "Say something" in by_link.open("/?token=s3cret").text
    assert "token" not in by_link.address
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert app.test_client().get("/usage", headers=headers).status_code == 303
    bearer = {"Authorization": "Bearer s3cret"}
    assert app.test_client().get("/usage", headers=bearer).status_code == 200


def test_an_outage_is_told_to_who_runs_it(
    open_console: OpenConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, agents = open_console()

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("Redis at 10.0.0.7 does not answer", hint="start it")

    with app.app_context():
        monkeypatch.setattr(agents.store.parts.core.connections, "call_many", away)
        monkeypatch.setattr(agents.store.parts.core.connections, "call", away, raising=False)
    ada = Visitor(app.test_client(), X_User="ada")
    page = ada.open(f"{PREFIX}/sessions")
    assert ada.status == 503
    assert "10.0.0.7" not in page.text
    root = Visitor(app.test_client(), X_User="root")
    page = root.open(f"{PREFIX}/sessions")
    assert "10.0.0.7" in page.text
    assert "start it" in page.text
