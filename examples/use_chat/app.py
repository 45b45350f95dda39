"""A page with ``useChat``: ``npm install && npm run build``, then ``flask --app app run``."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, Response, send_from_directory

from miniagent_redis import AgentConfig, ToolRegistry
from miniagent_redis.flask import MiniAgent, front_ends_blueprint
from miniagent_redis.tools import calculator

PAGE = """<!doctype html><html lang="en"><title>Chat</title>
<body><script type="module" src="page.js"></script></body></html>"""
tools = ToolRegistry()
tools.add(calculator, approve=True)


def create_app(**config: object) -> Flask:
    """Return the app. Ask it "What is 6 * 7?", and approve that it works that out."""
    app = Flask(__name__)
    app.config.update({"FOLDER": Path(__file__).parent, **config})
    agents = MiniAgent(app, config=AgentConfig(model="demo"), tools=tools)
    agents.user_loader(lambda: "ada")  # whoever is logged in
    app.register_blueprint(front_ends_blueprint(agents))
    app.add_url_rule("/", view_func=lambda: PAGE)

    @app.get("/page.js")
    def script() -> Response:
        return send_from_directory(app.config["FOLDER"], "page.js")

    return app
