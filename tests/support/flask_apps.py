"""A Flask app on the extension, as its author would write it."""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from miniagent_redis.flask import MiniAgent, current_agents
from miniagent_redis.llm import ScriptedModel

agents = MiniAgent(system_prompt="Be brief.")


@agents.user_loader
def logged_in() -> str | None:
    return request.headers.get("X-User")


def make_app(*replies: Any, testing: bool = True, **config: Any) -> Flask:
    """Return an app whose model gives these replies, or is the one that is configured."""
    app = Flask(__name__)
    app.config.update(TESTING=testing, **config)
    if replies:
        app.config["MINIAGENT_MODEL"] = ScriptedModel(replies)
    agents.init_app(app)

    @app.post("/sessions")
    def create() -> ResponseReturnValue:
        return jsonify(current_agents.manager.create_or_resume_session())

    @app.get("/sessions")
    def sessions() -> ResponseReturnValue:
        return jsonify(current_agents.manager.list_sessions())

    @app.post("/sessions/<session_id>/chat")
    def chat(session_id: str) -> ResponseReturnValue:
        return jsonify(current_agents.manager.chat(session_id, request.get_data(as_text=True)))

    @app.get("/sessions/<session_id>")
    def history(session_id: str) -> ResponseReturnValue:
        return jsonify(current_agents.manager.get_history(session_id))

    @app.post("/sessions/<session_id>/turns")
    def start(session_id: str) -> ResponseReturnValue:
        started = agents.start(session_id, request.get_data(as_text=True))
        return jsonify(started._asdict()), 202

    @app.post("/sessions/<session_id>/stream")
    def stream(session_id: str) -> ResponseReturnValue:
        message = request.get_data(as_text=True)
        if "cancel" in request.args:
            return agents.sse(session_id, message, on_disconnect="cancel")
        return agents.sse(session_id, message)

    @app.get("/sessions/<session_id>/events")
    def events(session_id: str) -> ResponseReturnValue:
        turn_id, after = request.args.get("turn"), request.args.get("after")
        return agents.sse(session_id, turn_id=turn_id, after=after)

    return app
