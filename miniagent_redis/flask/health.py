"""Routes that say whether this process lives, and whether it can serve: for load balancers."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from ..errors import MiniAgentError
from ..session import SessionAgent
from .answers import tell_operators


def health_routes(name: str, agent: Callable[[], SessionAgent]) -> Blueprint:
    """Return ``/live``, which asks nobody, and ``/ready``: 200 if Redis answers, else 503."""
    routes = Blueprint(name, __name__)

    @routes.get("/live")
    def live() -> ResponseReturnValue:
        return jsonify(live=True), {"Cache-Control": "no-store"}

    @routes.get("/ready")
    def ready() -> ResponseReturnValue:
        try:
            state = agent().store.health().state
        except MiniAgentError as exc:
            tell_operators(exc)
            state = "down"
        is_ready = state == "healthy"
        status = 200 if is_ready else 503
        return jsonify(ready=is_ready, store=state), status, {"Cache-Control": "no-store"}

    return routes
