"""Tools of turns that go on behind their request have a context of the app, which is torn down."""

from __future__ import annotations

import gc
import weakref

import pytest
from flask import Flask, current_app, g, has_app_context

from miniagent_redis import ToolCall
from miniagent_redis.flask import MiniAgent
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.models import ExpiredSession
from tests.support.waiting import until


@pytest.mark.parametrize("how", ["start", "chat"])
def test_a_tool_sees_the_app_and_nothing_of_the_last_request(how: str) -> None:
    seen: list[object] = []
    torn_down: list[object] = []

    def look() -> str:
        """Look around."""
        g.resource = object()
        seen.append((current_app.name, g.get("of_request")))
        return "done"

    model = ScriptedModel([[ToolCall("c1", "look", {})], "Seen."])
    extension = MiniAgent(model=model, tools=[look])
    app = Flask("shop")
    app.config["TESTING"] = True
    extension.init_app(app)

    @app.teardown_appcontext
    def tear_down(_: object) -> None:
        torn_down.append(g.get("resource"))

    @app.post("/")
    def talk() -> str:
        g.of_request = "of the request"
        ada = extension.for_user("ada")
        session_id = ada.create_or_resume_session()
        if how == "start":
            ada.start(session_id, "Look!", "t1")
        else:
            ada.chat(session_id, "Look!")
        return session_id

    session_id = app.test_client().post("/").text
    with app.app_context():
        ada = extension.for_user("ada")
        until(lambda: len(ada.get_history(session_id)) == 4)
        until(lambda: any(torn_down))
        extension.close()
    assert seen == [("shop", None if how == "start" else "of the request")]


def test_an_app_that_is_dropped_takes_its_agent_with_it() -> None:
    app = Flask("dropped")
    app.config["TESTING"] = True
    extension = MiniAgent(model="demo")
    extension.init_app(app)
    with app.app_context():
        agent = weakref.ref(extension.agent)
        assert extension.for_user("ada").create_or_resume_session()
    gone = weakref.ref(app)
    del app
    gc.collect()
    gc.collect()
    assert gone() is None
    assert agent() is None
    assert not has_app_context()


def test_a_hook_for_expired_sessions_has_one_too() -> None:
    seen: list[object] = []
    extension = MiniAgent(model="demo")

    @extension.on_expire
    def archive(expired: ExpiredSession) -> None:
        seen.append((current_app.name, expired.session_id))

    app = Flask("shop")
    app.config.update(TESTING=True, MINIAGENT_SESSION_TTL="0.05s")
    extension.init_app(app)
    with app.app_context():
        extension.for_user("ada").create_or_resume_session(session_id="s1")

    def swept() -> bool:
        with app.app_context():
            extension.agent.background.run_all()
        return bool(seen)

    until(swept)
    assert seen == [("shop", "s1")]
    with app.app_context():
        extension.close()
