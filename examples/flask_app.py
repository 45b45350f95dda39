"""A chat with login that streams, survives lost connections, and asks before it does harm.

Start it with ``FLASK_MINIAGENT_MODEL=openai:gpt-5 flask --app examples/flask_app.py run``.
"""

from pathlib import Path

from flask import Flask, redirect, request, session

from miniagent_redis import Approve, Deny, ToolRegistry
from miniagent_redis.flask import MiniAgent

tools = ToolRegistry()
agents = MiniAgent(tools=tools, system_prompt="You serve the customers of a shop.")
app = Flask(__name__)
app.config.update(SECRET_KEY="change me", SESSION_COOKIE_SAMESITE="Lax")
app.config.from_prefixed_env()
agents.init_app(app)
agents.user_loader(lambda: session.get("user"))  # with Flask-Login: current_user.get_id()


@tools.tool(approve=True, idempotent=False)
def refund(order: int) -> str:
    """Pay an order back."""
    return f"order {order} was paid back"


@app.get("/")
def page():
    if "user" in session:
        session["chat"] = agents.manager.create_or_resume_session(session_id=session.get("chat"))
    return Path(__file__).with_suffix(".html").read_text("utf-8")


@app.post("/login")
def login():
    session["user"] = request.form["name"]  # whoever it is: look at a password here
    return redirect("/")


@app.get("/chat")
def history():
    return agents.manager.get_history(session.get("chat", ""), pending=True)


@app.post("/chat")
def chat():
    return agents.start(session["chat"], request.get_json()["text"])._asdict(), 202


@app.get("/events")
def events():
    return agents.sse(session.get("chat", ""), turn_id=request.args.get("turn"))


@app.post("/answer/<turn_id>/<call_id>")
def answer(turn_id, call_id):
    decision = Approve() if request.get_json()["yes"] else Deny("the customer said no")
    return agents.answer(session["chat"], turn_id, {call_id: decision})._asdict(), 202
