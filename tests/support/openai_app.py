"""A program that serves the OpenAI door with models of this package: for clients of others.

Its models: ``demo`` knows names and sums, and calls the first tool that a client declares, once for
each message; ``slow`` says forty words in some two seconds, or calls such a tool after as long;
``held`` says some of them, and the rest when there is the file that the message names.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask

from miniagent_redis import AgentConfig, RedisConfig
from miniagent_redis.flask import MiniAgent, openai_blueprint
from miniagent_redis.llm import DemoModel
from miniagent_redis.llm.base import Finish, ModelEvent, ModelRequest, TextDelta
from miniagent_redis.llm.sample import sample
from miniagent_redis.models import ToolCall, Usage
from miniagent_redis.tools import calculator
from tests.support.waiting import until

WORDS = [f"w{number} " for number in range(40)]
KEYS = {"key-ada": "ada", "key-bob": "bob"}


class Calling(DemoModel):
    """The demo model, which likes the tools of others."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        theirs = [tool for tool in request.tools if tool.name != "calculator"]
        text = request.messages[-1].text
        if not theirs or request.messages[-1].role != "user" or "no tool" in text:
            yield from super().stream(request)
            return
        arguments: Any = sample(theirs[0].parameters, "Paris")
        yield ToolCall(f"call_{len(request.messages)}", theirs[0].name, arguments)
        yield Usage(10, 5)
        yield Finish("tool_calls")


class Slow:
    """A model that takes its time."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        if request.tools and request.messages[-1].role == "user":
            time.sleep(2)
            yield ToolCall("c1", request.tools[0].name, {"city": request.system})
            yield Finish("tool_calls")
            return
        for word in WORDS:
            time.sleep(0.05)
            yield TextDelta(word)
        yield Usage(3, len(WORDS))
        yield Finish("stop")


class Held:
    """A model that stops in the middle, until a test has seen it there."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        for number, word in enumerate(WORDS):
            if number == len(WORDS) // 2:
                until(Path(request.messages[-1].text).exists)
            time.sleep(0.02)
            yield TextDelta(word)
        yield Finish("stop")


def make_app(url: str, **redis: Any) -> Flask:
    """Return the app; it connects when it is used."""
    app = Flask(__name__)
    config = RedisConfig(url=url, **redis)
    agents = {
        "demo": MiniAgent(
            config=AgentConfig(model=Calling(), name="demo", delta_interval=0.01),
            tools=[calculator],
            redis_config=config,
        ),
        "slow": MiniAgent(
            config=AgentConfig(model=Slow(), name="slow", delta_interval=0.01, turn_threads=32),
            redis_config=config,
            prefix="SLOW_",
        ),
        "held": MiniAgent(
            config=AgentConfig(model=Held(), name="held", delta_interval=0.01, turn_threads=32),
            redis_config=config,
            prefix="HELD_",
        ),
    }
    for agent in agents.values():
        agent.init_app(app)
    app.register_blueprint(openai_blueprint(*agents.values(), keys=KEYS), url_prefix="/v1")
    return app


if __name__ == "__main__":
    from waitress.server import create_server

    served: Any = create_server(
        make_app(sys.argv[1], lease_ttl=2), host="127.0.0.1", port=int(sys.argv[2]), threads=80
    )
    print(served.effective_port, flush=True)
    served.run()
