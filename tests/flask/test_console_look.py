"""Looking with the console: sessions, steps, totals, keys, and how it all is."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import pytest
from flask import Flask

from miniagent_redis import AgentConfig, Budget, RateLimit
from miniagent_redis.flask import MiniAgent
from tests.flask.conftest import OpenConsole
from tests.support.console_apps import PREFIX, app_of, standalone
from tests.support.pages import Visitor

PAGES = ("/", "/sessions", "/waiting", "/usage", "/health")


def talk(app: Flask, agents: MiniAgent, user: str, *messages: str) -> str:
    """Have a user say something; return the session."""
    with app.app_context():
        own = agents.for_user(user)
        session_id = own.create_or_resume_session()
        for message in messages:
            own.run(session_id, message)
        return session_id


def test_pages_that_have_nothing_to_show_say_what_to_do(open_console: OpenConsole) -> None:
    app, _ = open_console(standalone)
    ada = Visitor(app.test_client())
    for path, words in zip(
        PAGES[:-1],
        ("Say something", "No sessions yet", "Nothing waits", "Nothing was used yet"),
        strict=True,
    ):
        assert words in ada.open(path).text


def test_sessions_are_listed_with_what_they_took(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    talk(app, agents, "ada", "My name is Ada.", "How is the weather?")
    talk(app, agents, "bob", "I am Bob.")
    root = Visitor(app.test_client())
    page = root.open("/sessions")
    assert list(page.links).index("I am Bob.") < list(page.links).index("My name is Ada.")
    assert "3,702" in page.text  # three replies of 1,234 tokens
    assert "$0.0038" in page.text
    assert "59 min" in page.text
    page = root.follow(page, "bob")
    assert "I am Bob." in page.links
    assert "My name is Ada." not in page.links


def test_sessions_are_shown_page_by_page(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    for number in range(30):
        talk(app, agents, "ada", f"number {number}")
    ada = Visitor(app.test_client())
    page = ada.open("/sessions?user=ada")
    assert "number 29" in page.links
    assert "number 4" not in page.links
    page = ada.follow(page, "Older sessions")
    assert "number 4" in page.links
    assert "number 29" not in page.links
    assert "number 29" in ada.follow(page, "Newest").links


def test_a_session_is_shown_step_by_step(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "bob", "How is the weather?", "I want a refund")
    page = Visitor(app.test_client()).open(f"/session?id={session_id}")
    assert session_id in page.text
    assert "Let me look." in page.text
    assert "Sunny in Paris." in page.text
    assert "1,200 in, 34 out" in page.text
    assert re.search(r"\+\d+(\.\d)? m?s", page.text)
    assert "refund waits for your approval" in page.text
    assert "Talk" in page.links  # that of the bar
    assert f"/?id={session_id}#end" not in page.links.values()  # it is Bob's


def test_who_runs_it_answers_for_others(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "bob", "I want a refund")
    root = Visitor(app.test_client())
    page = root.open(f"/session?id={session_id}")
    page = root.send(page.form("/answer"), "Approve")
    assert root.address == f"/session?id={session_id}"
    with app.app_context():
        turn_id = agents.for_user("bob").get_history(session_id, pending=True)[0]["turn_id"]
        for _ in agents.unbound.watch(session_id, timeout=10, turn_id=turn_id):
            pass
    assert "order 7 was paid back" in root.open(root.address).text


def test_totals_are_drawn(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    talk(app, agents, "ada", "1", "2", "3")
    talk(app, agents, "bob", "1")
    page = Visitor(app.test_client()).open("/usage")
    heights = [float(one["height"]) for one in page.all("rect") if one.get("class") == "in"][:30]
    assert heights[:29] == [0.0] * 29
    assert heights[29] > 100
    widths = [float(one["width"]) for one in page.all("rect") if one.get("class") == "in"][31:]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.1)
    assert {"ada", "bob"} <= page.links.keys()
    assert "4,800" in page.text


def test_totals_are_drawn_by_model_and_by_tool(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    talk(app, agents, "ada", "How is the weather?", "hello")
    talk(app, agents, "bob", "What about the weather?")
    page = Visitor(app.test_client()).open("/usage")
    assert "Tokens by model, the last 30 days" in page.text
    assert re.search(r"scripted\s*6,170\s*3\s*\$0.0063", page.text)
    assert re.search(r"weather\s*2\s*0\s*0", page.text)


def test_the_branches_of_a_session_are_a_tree(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    first = talk(app, agents, "ada", "one", "two", "three")
    with app.app_context():
        own = agents.for_user("ada")
        second = own.fork_session(first, 4)
        own.run(second, "another third")
        third = own.fork_session(second, 2)
        own.run(third, "another second")
        own.fork_session(first)
    root = Visitor(app.test_client())
    page = root.open(f"/session?id={first}")
    tree = re.sub(r"\s+", "", page.text[page.text.index("Branches") :])
    assert tree.startswith(
        "Branchesonethisone6messages"
        "from#4anotherthird6messages"
        "from#2anothersecond4messages"
        "from#6(nothingelseyet)6messages"
    )
    page = root.follow(page, "another second")
    assert "another second this one" in re.sub(r"\s+", " ", page.text)
    assert {"one", "another third"} <= page.links.keys()
    with app.app_context():
        agents.unbound.end_session(first)
    page = root.open(f"/session?id={third}")
    assert second in page.links["one"]  # which is the first one now
    assert "from #4" not in page.text


def test_what_cannot_be_read_is_shown_as_it_is_stored(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "one", "two")
    with app.app_context():
        client: Any = agents.store.client
        thread, document = (f"{key}:{{{session_id}}}" for key in ("thread", "session"))
        client.lset(thread, 2, "<b>not a record</b>")
    root = Visitor(app.test_client())
    for path in ("/session", "/"):
        page = root.open(f"{path}?id={session_id}")
        assert root.status == 200
        assert "<b>not a record</b>" in page.text
        assert "record 2" in page.text
        assert "You said: one" in page.text
        assert "You said: two" in page.text
    newer = client.lindex(thread, 0).replace(b'{"v":1,', b'{"v":99,')
    client.lset(thread, 0, newer)
    page = root.open(f"/session?id={session_id}")
    assert root.status == 200
    assert '{"v":99,' in page.text
    parked = talk(app, agents, "ada", "I want a refund")
    client.lset(f"turn:{{{parked}}}", 0, b"\xff broken")
    page = root.open(f"/session?id={parked}")
    assert root.status == 200
    assert "\\xff broken" in page.text
    client.set(document, "nothing")
    page = root.open(f"/session?id={session_id}")
    assert root.status == 200
    assert "This session cannot be read" in page.text
    assert "nothing" in root.follow(page, "What is stored of it").text
    page = root.follow(page, "Remove…")
    assert "which cannot be read" in page.text
    assert "The session is removed." in root.send(page.form("/confirm")).text


@pytest.mark.parametrize("kind", ["session", "thread", "turn", "metadata", "ops", "events"])
@pytest.mark.parametrize("damage", ["another type", "its fields"])
def test_a_session_that_is_damaged_fails_no_page(
    open_console: OpenConsole, kind: str, damage: str
) -> None:
    app, agents = open_console(standalone)
    sound = talk(app, agents, "ada", "this one is well")
    session_id = talk(app, agents, "ada", "one", "I want a refund")
    with app.app_context():
        branch = agents.for_user("ada").fork_session(session_id, 2)
        client, key = agents.store.client, f"{kind}:{{{session_id}}}"
        if damage == "its fields" and kind in ("metadata", "ops"):
            for field in client.hkeys(key):
                client.hset(key, field, "<none>")
        else:
            client.delete(key)
            client.zadd(key, {"none": 1})
    root = Visitor(app.test_client())
    about = [f"{path}?id={one}" for path in ("/", "/session") for one in (session_id, branch)]
    assert app.test_client().get(f"/state?id={session_id}").status_code in (200, 404)
    for path in (*PAGES, *about, f"/session/keys?id={session_id}"):
        root.open(path)
        assert root.status in (200, 404), path
    assert "this one is well" in root.open("/sessions").links
    assert "this one is well" in root.open(f"/?id={sound}").text


def test_limits_are_told(open_console: OpenConsole) -> None:
    app, _ = open_console(standalone)
    assert "Limits" not in Visitor(app.test_client()).open("/usage").text
    limited = AgentConfig(
        model="demo",
        rate_limits=[RateLimit(per="user", window=60, requests=10)],
        budgets=[Budget(per="namespace", tokens=5_000, every="month")],
    )
    app, _ = open_console(partial(standalone, config=limited))
    page = Visitor(app.test_client()).open("/usage")
    assert "10 requests per user in 60 s" in page.text
    assert "5,000 tokens per namespace and month" in page.text


def test_keys_are_shown_as_they_are_stored(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "Look at me!")
    root = Visitor(app.test_client())
    page = root.follow(root.open(f"/session?id={session_id}"), "Keys")
    for kind in ("session", "thread", "metadata", "ops", "events"):
        assert f"{kind}:{{{session_id}}}" in page.text
    with app.app_context():
        stored: Any = agents.store.client.lrange(f"thread:{{{session_id}}}", 0, -1)
    assert all(record.decode() in page.text for record in stored)
    assert "2 records" in page.text
    assert "to live" in page.text


def test_the_doctor_comes_when_called(open_console: OpenConsole) -> None:
    app, _ = open_console(standalone)
    root = Visitor(app.test_client())
    page = root.open("/health")
    assert "● healthy" in page.text
    assert "The doctor" not in page.text
    page = root.send(page.form("/health"), "Call the doctor")
    assert "The doctor:" in page.text
    assert "round trip" in page.text
    assert "No sessions yet" in root.open("/sessions").text


def test_a_session_is_exported(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "Keep this.")
    answer = app.test_client().get(f"/session/export?id={session_id}")
    assert "attachment" in answer.headers["Content-Disposition"]
    header, first, second = map(json.loads, answer.text.splitlines())
    assert header["session_id"] == session_id
    assert (first["content"], second["content"]) == ("Keep this.", "You said: Keep this.")


def test_what_is_not_there_is_told_on_a_page(open_console: OpenConsole) -> None:
    app, _ = open_console(standalone)
    root = Visitor(app.test_client())
    for path in ("/session?id=none", "/?id=none", "/confirm?what=end&id=none", "/confirm?what=x"):
        root.open(path)
        assert root.status == 404
    root.open("/sessions?cursor=wrong")
    assert root.status == 422
    root.open("/session?id=~%25")
    assert root.status == 422


def test_what_a_user_took_is_drawn_by_day(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    talk(app, agents, "ada", "1", "2", "3")
    talk(app, agents, "bob & co", "1")
    root = Visitor(app.test_client())
    page = root.follow(root.open("/usage"), "bob & co")
    assert "Usage of bob & co" in page.text
    assert "Tokens by day, the last 30 days (UTC)" in page.text
    heights = [float(one["height"]) for one in page.all("rect") if one.get("class") == "in"][:30]
    assert heights[:29] == [0.0] * 29
    assert heights[29] > 100
    assert "1,234" in page.text
    assert "Tokens by conversation" in page.text
    assert "by model" not in page.text
    assert "bob & co" in root.follow(page, "their sessions").text
    assert "Usage of bob & co" in root.follow(root.open(root.address), "their usage").text
    assert "Nothing is counted of this user" in root.open("/usage?user=eve").text


def test_who_is_no_admin_sees_the_own_days_alone(open_console: OpenConsole) -> None:
    app, agents = open_console(app_of)
    talk(app, agents, "ada", "1", "2", "3")
    talk(app, agents, "bob", "1")
    for path in ("/usage", "/usage?user=ada"):
        page = Visitor(app.test_client(), X_User="bob").open(f"{PREFIX}{path}")
        assert "Tokens by day" in page.text
        assert "1,234" in page.text
        assert "3,702" not in page.text
        assert "ada" not in page.text
