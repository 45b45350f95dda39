"""A program that serves chat pages, with a model that does what some words in a message say."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask

from miniagent_redis import AgentConfig, RedisConfig, ToolCall, ToolContext, ToolRegistry
from miniagent_redis.flask import MiniAgent, front_ends_blueprint, openai_blueprint
from miniagent_redis.llm import Finish, ModelRequest, ReasoningDelta, TextDelta, Usage
from miniagent_redis.models import Question
from miniagent_redis.tools.asking import AskUser

KEYS = {"key-ada": "ada", "key-bob": "bob"}
WORDS = [f"w{number} " for number in range(40)]
SLOW = "".join(WORDS)
DAY = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}


class Shop:
    """Thinks, and calls the tools that a message names; "slowly" takes some two seconds."""

    def stream(self, request: ModelRequest) -> Iterator[Any]:
        last = request.messages[-1]
        yield Usage(input_tokens=12, output_tokens=5, reasoning_tokens=2)
        yield from self._calls(request) if last.role == "user" else self._tells(request)

    def _calls(self, request: ModelRequest) -> Iterator[Any]:
        text = request.messages[-1].text
        if "break" in text:
            raise ValueError("no key sk-1234")
        if "slowly" in text:
            yield ReasoningDelta("I take my time.")
            for word in WORDS:
                time.sleep(0.05)
                yield TextDelta(word)
            yield Finish()
            return
        known = [tool.name for tool in request.tools]
        named = [name for name in known if name in text]
        if not named:
            yield TextDelta(f"You said: {text}")
            yield Finish()
            return
        yield ReasoningDelta("Let me ")
        yield ReasoningDelta("see.")
        yield TextDelta("I look.")
        for place, name in enumerate(named):
            yield ToolCall(f"c{len(request.messages)}.{place}", name, {"about": "Paris"})
        yield Finish("tool_calls")

    def _tells(self, request: ModelRequest) -> Iterator[Any]:
        results = []
        for message in reversed(request.messages):
            if message.role != "tool":
                break
            results.append(f"{message.name}: {message.text}")
        yield TextDelta("; ".join(reversed(results)))
        yield Finish()


def tools(paid: list[str]) -> ToolRegistry:
    found = ToolRegistry()

    @found.tool
    def weather(about: str) -> dict[str, str]:
        """Return the weather."""
        return {"sky": "blue", "city": about}

    @found.tool(approve=True)
    def refund(about: str) -> str:
        """Pay back."""
        paid.append(about)
        return "paid back"

    @found.tool
    def book(about: str, context: ToolContext) -> str:
        """Book a table."""
        if not context.inquiries:
            raise AskUser(Question("For which day?", DAY), {})
        (told,) = context.inquiries
        return f"booked for {told.content['day']}" if told.action == "accept" else "not booked"

    @found.tool(approve=True)
    def move(about: str, context: ToolContext) -> str:
        """Move a table to another day."""
        return book(about, context).replace("booked", "moved")

    about = {"type": "object", "properties": {"about": {"type": "string"}}}
    found.declare("locate", "Ask the phone where it is.", about)
    return found


def make_app(url: str, paid: list[str] | None = None, **redis: Any) -> Flask:
    """Return the app; it connects when it is used. ``paid`` gets what was refunded."""
    app = Flask(__name__)
    config = AgentConfig(model=Shop(), name="shop", delta_interval=0.01, turn_threads=32)
    agents = MiniAgent(
        app,
        config=config,
        tools=tools([] if paid is None else paid),
        redis_config=RedisConfig(url=url, **redis),
    )
    app.register_blueprint(front_ends_blueprint(agents, keys=KEYS))
    app.register_blueprint(openai_blueprint(agents, keys=KEYS), url_prefix="/v1")
    return app


if __name__ == "__main__":
    from waitress.server import create_server

    served: Any = create_server(
        make_app(sys.argv[1], lease_ttl=2), host="127.0.0.1", port=int(sys.argv[2]), threads=80
    )
    print(served.effective_port, flush=True)
    served.run()
