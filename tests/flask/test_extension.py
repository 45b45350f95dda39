"""The extension in an app: without any I/O until it is used, and one user's sessions for each."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup

from miniagent_redis import AgentConfig, InvalidInput, RedisConfig
from miniagent_redis.flask import MiniAgent, NotSetUp, agents_of, current_agents
from miniagent_redis.llm import ScriptedModel
from tests.flask.conftest import OpenApp
from tests.support.flask_apps import agents

ADA, BOB = {"X-User": "ada"}, {"X-User": "bob"}
NOWHERE = "redis://127.0.0.1:1"


def app_with(extension: MiniAgent, **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(config)
    extension.init_app(app)
    return app


def test_a_user_chats_and_finds_the_conversation_again(open_app: OpenApp) -> None:
    client = open_app("Hello Ada!").test_client()
    session_id = client.post("/sessions", headers=ADA).json
    assert client.post(f"/sessions/{session_id}/chat", headers=ADA, data="Hi").json == "Hello Ada!"
    said = client.get(f"/sessions/{session_id}", headers=ADA).json
    assert [one["content"] for one in said or ()] == ["Hi", "Hello Ada!"]


def test_what_belongs_to_somebody_else_is_not_found(open_app: OpenApp) -> None:
    client = open_app("Hello Ada!").test_client()
    session_id = client.post("/sessions", headers=ADA).json
    for answer in (
        client.get(f"/sessions/{session_id}", headers=BOB),
        client.post(f"/sessions/{session_id}/chat", headers=BOB, data="Hi"),
    ):
        assert answer.status_code == 404
        assert answer.mimetype == "application/problem+json"
    assert client.get("/sessions", headers=BOB).json == []


def test_without_a_user_it_is_401(open_app: OpenApp) -> None:
    answer = open_app().test_client().get("/sessions")
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == "not_logged_in"


def test_a_number_is_a_user_too() -> None:
    extension = MiniAgent()
    extension.user_loader(lambda: 42)
    app = app_with(extension, TESTING=True)
    with app.test_request_context():
        assert extension.manager.user_id == "42"
        assert extension.for_user(42).create_or_resume_session()
        assert len(extension.manager.list_sessions()) == 1
        extension.close()


def test_outside_of_a_request_it_has_to_be_said_whose(open_app: OpenApp) -> None:
    app = open_app("Hi Ada.")
    with app.app_context():
        with pytest.raises(NotSetUp, match="for_user"):
            current_agents.manager  # noqa: B018
        session_id = current_agents.for_user("ada").create_or_resume_session()
        assert current_agents.unbound.chat(session_id, "Hi") == "Hi Ada."


def test_an_app_that_tells_no_user_is_told_so() -> None:
    extension = MiniAgent()
    app = app_with(extension, TESTING=True)
    with app.test_request_context(), pytest.raises(NotSetUp, match="user_loader"):
        extension.manager  # noqa: B018


def test_a_mistake_of_the_app_is_500_and_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    extension = MiniAgent()
    app = app_with(extension, TESTING=True)
    app.add_url_rule("/", view_func=lambda: extension.manager.list_sessions())
    assert app.test_client().get("/").status_code == 500
    assert "@agents.user_loader" in caplog.text


def test_init_app_connects_to_nothing() -> None:
    extension = MiniAgent()
    app = app_with(extension, REDIS_URL=NOWHERE)
    done = CliRunner().invoke(FlaskGroup(create_app=lambda: app), ["routes"])
    assert "static" in done.output
    with app.app_context():
        assert not extension.opening.is_open


def test_while_redis_is_away_it_is_503_and_the_app_starts() -> None:
    extension = MiniAgent()
    extension.user_loader(lambda: "ada")
    app = app_with(extension, REDIS_URL=NOWHERE)
    app.add_url_rule("/", view_func=lambda: extension.manager.list_sessions())
    for _ in range(2):
        answer = app.test_client().get("/")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert b"127.0.0.1" not in answer.data


def test_each_app_has_an_agent_of_its_own(open_app: OpenApp) -> None:
    one, other = open_app("from one"), open_app("from the other")
    for app, expected in ((one, "from one"), (other, "from the other")):
        client = app.test_client()
        session_id = client.post("/sessions", headers=ADA).json
        told = client.post(f"/sessions/{session_id}/chat", headers=ADA, data="Hi").json
        assert told == expected
        assert len(client.get("/sessions", headers=ADA).json or ()) == 1


def test_an_app_may_have_several() -> None:
    sales, support = MiniAgent(model="demo"), MiniAgent(model="demo", prefix="SUPPORT_")
    app = Flask(__name__)
    app.config.update(
        REDIS_URL="memory://both",
        MINIAGENT_MAX_STEPS="5",
        SUPPORT_MINIAGENT_NAMESPACE="support",
        SUPPORT_MINIAGENT_SYSTEM_PROMPT="You help.",
    )
    sales.init_app(app)
    support.init_app(app)
    with app.app_context():
        assert (sales.settings.agent.name, support.settings.agent.name) == ("assistant", "support")
        assert support.settings.agent.system_prompt == "You help."
        assert support.settings.agent.max_steps == 5
        assert support.settings.redis.namespace == "support"
        assert sales.settings.redis.namespace == ""
        assert support.settings.redis.url == "memory://both"
        assert agents_of(app, "SUPPORT_") is support
        assert current_agents.prefix == ""


def test_a_second_one_of_the_same_name_is_refused(open_app: OpenApp) -> None:
    with pytest.raises(InvalidInput, match="prefix"):
        agents.init_app(open_app())


def test_an_app_that_does_not_know_it_says_so() -> None:
    with Flask(__name__).app_context():
        with pytest.raises(NotSetUp, match="init_app"):
            MiniAgent().agent  # noqa: B018
        with pytest.raises(NotSetUp, match="has no MiniAgent"):
            current_agents.agent  # noqa: B018


@pytest.mark.parametrize(
    ("given", "config", "problem"),
    [
        ({}, {"MINIAGENT_SESION_TTL": 9}, "MINIAGENT_SESSION_TTL"),
        ({}, {"MINIAGENT_SESSION_TTL": "soon"}, "MINIAGENT_SESSION_TTL='soon'"),
        ({}, {"REDIS_URL": "redis://one", "REDIS_HOST": "two"}, "host='two' stands beside"),
        ({}, {"MINIAGENT_MAX_STREAMS": 0}, "max_streams"),
        ({}, {"MINIAGENT_TRUSTED_ORIGINS": ["example.org"]}, "is no origin"),
        ({}, {"MINIAGENT_ON_BUSY": "wat"}, "on_busy"),
        ({"redis_config": RedisConfig(url="memory://")}, {"REDIS_DB": 2}, "REDIS_DB"),
        ({"prefix": "SHOP_"}, {"SHOP_MINIAGENT_MODLE": "demo"}, "SHOP_MINIAGENT_MODEL"),
    ],
)
def test_settings_that_cannot_be_are_told_by_init_app(
    given: dict[str, Any], config: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        app_with(MiniAgent(**given), **config)


@pytest.mark.parametrize(
    "given",
    [
        {"prefix": "support"},
        {"config": AgentConfig(), "model": "demo"},
        {"tools": "calculator"},
    ],
)
def test_what_cannot_be_given_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        MiniAgent(**given)


def test_the_app_says_more_than_the_code_and_that_more_than_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://env.example.org")
    monkeypatch.setenv("MINIAGENT_SESSION_TTL", "2h")
    extension = MiniAgent(model="demo", system_prompt="In code.")
    app = app_with(extension, MINIAGENT_SYSTEM_PROMPT="In the app.", MINIAGENT_TEMPERATURE="0.5")
    with app.app_context():
        found = extension.settings
    assert found.agent.system_prompt == "In the app."
    assert found.agent.temperature == 0.5
    assert found.redis.url == "redis://env.example.org"
    assert found.redis.session_ttl == 7200
    app = app_with(extension, REDIS_HOST="app.example.org", REDIS_SSL=False)
    with app.app_context():
        assert (extension.settings.redis.host, extension.settings.redis.url) == (
            "app.example.org",
            None,
        )


def test_in_tests_it_is_memory_and_no_thread_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    extension = MiniAgent(model=ScriptedModel(["Hello."]))
    app = app_with(extension)
    app.config["TESTING"] = True  # as many set it behind their factory
    with app.app_context():
        before = set(threading.enumerate())
        mine = extension.for_user("ada")
        assert mine.chat(mine.create_or_resume_session(), "Hi") == "Hello."
        assert set(threading.enumerate()) <= before
        assert not extension.agent.background.is_running
        extension.close()
        assert not extension.opening.is_open
