"""Apps with a console, and a model that knows a few words by which tests make things happen."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask, request

from miniagent_redis import (
    AgentConfig,
    Price,
    RedisConfig,
    ToolCall,
    ToolContext,
    ToolRegistry,
)
from miniagent_redis.flask import MiniAgent, console_app
from miniagent_redis.llm import Finish, ModelRequest, ReasoningDelta, TextDelta, Usage
from miniagent_redis.models import Question
from miniagent_redis.tools.asking import AskUser
from tests.support.waiting import LIMIT

PREFIX = "/console"


class Model:
    """Answers with what was said; a few words call tools, "slowly" stops half-way."""

    name = "scripted"

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.answers: dict[str, str] = {}
        """Better answers to some texts."""

    def stream(self, request: ModelRequest) -> Iterator[Any]:
        last = request.messages[-1]
        if last.role == "user" and "weather" in last.text:
            yield TextDelta("Let me look.")
            yield ToolCall("c1", "weather", {"city": "Paris"})
        elif last.role == "user" and "refund" in last.text:
            yield ToolCall("c2", "refund", {"order": 7})
        elif last.role == "user" and "locate" in last.text:
            yield ToolCall("c3", "locate", {})
        elif last.role == "user" and "book" in last.text:
            yield ToolCall("c4", "book", {})
        elif "break" in last.text:
            raise ValueError("no key sk-1234")
        elif "slowly" in last.text:
            if "Think" in last.text:
                yield ReasoningDelta("Which halves?")
            yield TextDelta("first half, ")
            self.go_on.wait(LIMIT)
            yield TextDelta("second half")
        else:
            yield TextDelta(self.answers.get(last.text, f"You said: {last.text}"))
        yield Usage(input_tokens=1200, output_tokens=34)
        yield Finish()


def tools() -> ToolRegistry:
    found = ToolRegistry()

    @found.tool
    def weather(city: str) -> str:
        """Return the weather."""
        return f"Sunny in {city}."

    @found.tool(approve=True)
    def refund(order: int) -> str:
        """Pay an order back."""
        return f"order {order} was paid back"

    @found.tool
    def book(context: ToolContext) -> str:
        """Book a table."""
        if not context.inquiries:
            raise AskUser(Question("For <which> day?", {"properties": {"day": {}}}), {})
        return f"booked for {context.inquiries[0].content['day']}"

    found.declare("locate", "Ask the phone.", {"type": "object", "properties": {}})
    return found


def make_agents(
    model: Any = None, config: AgentConfig | None = None, name: str = "helper", **more: Any
) -> MiniAgent:
    prices = {"scripted": Price(input=1.0, output=2.0)}
    config = config or AgentConfig(
        model=model or Model(), name=name, prices=prices, delta_interval=0
    )
    return MiniAgent(config=config, tools=tools(), **more)


def app_of(redis_url: str, model: Any = None, **console: Any) -> tuple[Flask, MiniAgent]:
    """Return an app with the console at /console; who asks says so in a header."""
    agents = make_agents(model)
    agents.user_loader(lambda: request.headers.get("X-User"))
    app = Flask(__name__)
    app.config.update(TESTING=True, REDIS_URL=redis_url)
    agents.init_app(app)
    console.setdefault("admin", lambda: request.headers.get("X-User") == "root")
    app.register_blueprint(agents.console(**console), url_prefix=PREFIX)
    return app, agents


def standalone(
    redis_url: str,
    model: Any = None,
    config: AgentConfig | None = None,
    others: Mapping[str, Any] | None = None,
    **more: Any,
) -> tuple[Flask, MiniAgent]:
    """Return the console as an app of its own; ``others`` are models of more agents, by name."""
    redis_config = RedisConfig.from_env({"REDIS_URL": redis_url})
    agents = make_agents(model, config, redis_config=redis_config)
    beside = [
        make_agents(one, name=name, redis_config=redis_config, prefix=f"{name.upper()}_")
        for name, one in (others or {}).items()
    ]
    return console_app(agents, user="ada", others=beside, **more), agents
