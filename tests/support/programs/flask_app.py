"""A Flask app for real web servers: its model says as many words as it is asked for.

The message ``say 20 0.1`` gets twenty words, with a tenth of a second behind each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from miniagent_redis.llm import Finish, TextDelta
from tests.support.flask_apps import agents, make_app


class Talker:
    """Says words, one after the other."""

    def stream(self, request: Any) -> Iterator[Any]:
        _, count, pause = request.messages[-1].text.split()
        for number in range(int(count)):
            yield TextDelta(f"w{number} ")
            time.sleep(float(pause))
        yield Finish()


app = make_app(
    testing=False,
    MINIAGENT_MODEL=Talker(),
    MINIAGENT_LEASE_TTL=float(os.environ.get("LEASE", "2")),
    MINIAGENT_PING_INTERVAL=float(os.environ.get("PING", "0.2")),
    MINIAGENT_DELTA_INTERVAL=0,
)


@app.get("/process")
def process() -> ResponseReturnValue:
    """Tell whether this process has its agent open, without opening it, and how many read here."""
    opening = agents.opening
    return jsonify(pid=os.getpid(), is_open=opening.is_open, streams=len(opening.streams))


if os.environ.get("OPEN_AT_ONCE"):  # as a program may that is forked afterwards
    with app.app_context():
        agents.agent  # noqa: B018
