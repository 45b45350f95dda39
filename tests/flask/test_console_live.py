"""The console of several agents, and what it tells while somebody else is being answered."""

from __future__ import annotations

import json
import threading

from tests.flask.conftest import OpenConsole
from tests.flask.test_console_look import talk
from tests.support.console_apps import PREFIX, Model, standalone
from tests.support.pages import Page, Visitor
from tests.support.waiting import LIMIT, until


class Polite(Model):
    """Another model, which can be told by its answers."""

    name = "polite"

    def __init__(self) -> None:
        super().__init__()
        self.answers = {"Hello": "Good morning to you.", "And?": "And to yours."}


def test_a_conversation_is_begun_with_one_of_several_agents(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone, others={"butler": Polite()})
    ada = Visitor(app.test_client())
    page = ada.open("/")
    form = page.form("/say")
    page = ada.send(form, message="Hello", agent="butler")
    assert "Good morning to you." in page.text
    page = ada.send(page.form("/say"), message="And?")
    assert "And to yours." in page.text
    assert "butler" in page.text
    session_id = ada.address.partition("id=")[2].partition("#")[0]
    page = ada.send([one for one in page.forms if one.action.endswith("/again")][-1])
    assert page.text.count("And to yours.") == 1
    with app.app_context():
        assert agents.store.session_state(session_id).agent_name == "butler"
    assert "Agentbutler" in ada.open(f"/session?id={session_id}").text.replace(" ", "")
    page = ada.send(ada.open("/").form("/say"), message="Hello", agent="helper")
    assert "You said: Hello" in page.text
    page = ada.send(ada.open("/").form("/say"), message="I want a refund", agent="butler")
    page = ada.send(page.form("/answer"), "Approve")
    assert "You said: order 7 was paid back" in page.text
    ada.send(form, message="Hello", agent="nobody")
    assert ada.status == 422


def test_with_one_agent_there_is_nothing_to_choose(open_console: OpenConsole) -> None:
    app, _ = open_console(standalone)
    assert not Page(app.test_client().get("/").text).all("select")


def test_who_runs_it_follows_an_answer_that_is_given_to_somebody_else(
    open_console: OpenConsole,
) -> None:
    model = Model()
    app, agents = open_console(model=model)
    session_id = talk(app, agents, "bob", "Hello")
    root, eve = (Visitor(app.test_client(), X_User=name) for name in ("root", "eve"))
    with app.app_context():
        turn_id, _ = agents.for_user("bob").start(session_id, "Tell it slowly")
    until(lambda: "is working on it" in root.open(f"{PREFIX}/session?id={session_id}").text)
    page = root.open(f"{PREFIX}/session?id={session_id}")
    (steps,) = (one for one in page.all("section") if one.get("id") == "steps")
    client = app.test_client()
    marked = client.get(steps["data-state"], headers={"X-User": "root"}).json
    assert marked is not None
    assert marked["mark"] == steps["data-mark"]
    assert turn_id in steps["data-mark"]
    for path in (steps["data-events"], steps["data-state"]):
        assert client.get(path, headers={"X-User": "eve"}).status_code == 404
    told: list[str] = []

    def read() -> None:
        answer = app.test_client().get(steps["data-events"], headers={"X-User": "root"})
        told.extend(answer.get_data(as_text=True).splitlines())

    reader = threading.Thread(target=read)
    reader.start()
    model.go_on.set()
    reader.join(LIMIT)
    data = [json.loads(line[6:]) for line in told if line.startswith("data: {")]
    assert "first half, second half" in "".join(one.get("text", "") for one in data)
    page = root.open(f"{PREFIX}/session?id={session_id}")
    assert "is working on it" not in page.text
    assert "first half, second half" in page.text
    eve.open(f"{PREFIX}/session?id={session_id}")
    assert eve.status == 404


def test_a_page_of_earlier_messages_follows_nothing(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    session_id = talk(app, agents, "ada", "one", "two")
    page = Page(app.test_client().get(f"/session?id={session_id}&before=2").text)
    (steps,) = (one for one in page.all("section") if one.get("id") == "steps")
    assert "data-state" not in steps
