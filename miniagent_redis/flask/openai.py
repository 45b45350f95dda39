"""The OpenAI door of an app: a blueprint that any client of OpenAI can talk to.

    app.register_blueprint(openai_blueprint(agents), url_prefix="/v1")

Each MiniAgent is a model. Who asks is told by the app's login, or by API keys.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from flask import Blueprint, Response, request
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException

from ..doors.openai.conversations import Conversations
from ..doors.openai.creating import Creating
from ..doors.openai.faults import RequestRefused, body_of, fault_of
from ..doors.openai.options import keep_options
from ..doors.openai.stored import StoredResponses
from ..doors.refusals import ReadOnly
from ..error_base import escaped
from ..errors import InvalidInput, MiniAgentError, RecordUnreadable, StoreMisconfigured
from ..session import SessionAgent, SessionManager
from .extension import MiniAgent
from .openai_chat import add_chat
from .openai_conversations import add_conversations
from .openai_requests import METHODS, Streaming, as_json
from .openai_responses import add_responses
from .openai_sessions import OPEN_ROUTES, add_sessions
from .origins import may_change, refuse_foreign
from .streams import OpenStreams
from .unknown_methods import answer_unknown_methods

log: logging.Logger = logging.getLogger("miniagent_redis")

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request: images and files come in base64."""


def openai_blueprint(
    *agents: MiniAgent,
    models: Mapping[str, MiniAgent] | None = None,
    keys: Mapping[str, str] | None = None,
    max_body: int = MAX_BODY,
    admin: Callable[[], bool] | None = None,
    read_only: bool = False,
) -> Blueprint:
    """Return the blueprint; register it under ``/v1``.

    A model has the name of its agent (``AgentConfig.name``), or that in ``models``. ``keys`` are
    API keys with the user of each; without them users are those of the first agent's
    ``user_loader``. For whom ``admin`` returns True, in the request, there are the totals of all.
    With ``read_only`` all that changes anything is 403. Raises InvalidInput if there is no agent.
    """
    door = Door(agents, dict(models or {}), dict(keys or {}), max_body, read_only)
    if not agents and not models:
        raise InvalidInput("there is no agent", hint="write openai_blueprint(agents)")
    blueprint = Blueprint("miniagent_openai", __name__)
    blueprint.before_request(door.check)
    blueprint.register_error_handler(Exception, _answer)
    answer_unknown_methods(blueprint, door.check, _answer)
    _add_models(blueprint, door)
    add_responses(blueprint, door)
    add_conversations(blueprint, door)
    add_chat(blueprint, door)
    add_sessions(blueprint, door, door.opened, admin or bool)
    return blueprint


@frozen
class Door:
    """Who may come in, and which agents there are behind it."""

    agents: tuple[MiniAgent, ...]
    named: dict[str, MiniAgent]
    keys: dict[str, str] = field(repr=False)
    max_body: int
    is_read_only: bool = False

    def check(self) -> None:
        """Refuse a request of nobody, of another site's page, and one that may change nothing."""
        if (request.endpoint or "").rpartition(".")[2] in OPEN_ROUTES:
            return
        request.max_content_length = self.max_body
        self.user_id()
        if may_change():
            if not self.keys:
                refuse_foreign(self._any.settings.web.trusted_origins)
            if self.is_read_only:
                raise ReadOnly
        keep_options(self.opened())  # it finishes turns of instances that died

    def user_id(self) -> str:
        """Return whose request it is. Raises NotLoggedIn, or RequestRefused for a wrong key."""
        if not self.keys:
            return self._any.user_id
        auth = request.authorization
        given = (auth.token if auth is not None and auth.type == "bearer" else None) or ""
        for key, user_id in self.keys.items():
            if hmac.compare_digest(key.encode(), given.encode()):
                return user_id
        raise RequestRefused("Incorrect API key provided.", status=401, code="invalid_api_key")

    @property
    def _any(self) -> MiniAgent:
        return next(iter([*self.agents, *self.named.values()]))

    @property
    def streams(self) -> OpenStreams:
        """The open streams of the app."""
        return self._any.opening.streams

    def models(self) -> dict[str, MiniAgent]:
        """Return the agents by the names of the models that they are."""
        found = dict(self.named)
        for one in self.agents:
            found.setdefault(one.opening.settings.agent.name, one)
        return found

    def opened(self) -> dict[str, SessionAgent]:
        """Return the models themselves, by name."""
        return {name: agent.opening.agent() for name, agent in self.models().items()}

    def manager(self, model: str | None = None) -> SessionManager:
        """Return the manager of a model; of any, if it does not matter which one works."""
        if model is None:
            return self._any.unbound
        known = self.models()
        if model not in known:
            raise RequestRefused(
                f"The model '{model:.100}' does not exist. There are: {', '.join(known)}.",
                param="model",
                status=404,
                code="model_not_found",
            )
        return known[model].unbound

    def creating(self, model: str) -> Creating:
        """Return what begins responses of a model for the user."""
        return Creating(self.manager(model), self.user_id())

    def stored(self) -> StoredResponses:
        """Return the user's responses."""
        return StoredResponses(self.manager(), self.user_id(), self.streams.gate())

    def streaming(self) -> Streaming:
        """Return a stream to be told. Raises TooManyStreams."""
        return Streaming(self.streams, self._any.settings.web.max_streams)

    def conversations(self) -> Conversations:
        """Return the user's conversations."""
        return Conversations(self.manager(), self.user_id())


def _add_models(blueprint: Blueprint, door: Door) -> None:
    def told(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "miniagent-redis"}

    @blueprint.get("/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [told(name) for name in door.models()]}

    @blueprint.route("/<path:rest>", methods=METHODS)
    def nothing(rest: str = "") -> dict[str, Any]:
        problem = f"Unknown request URL: {request.method} {request.path:.200}."
        raise RequestRefused(problem, status=404, code="unknown_url")

    @blueprint.record
    def add_prefix(state: BlueprintSetupState) -> None:
        if state.url_prefix:  # else that address is the app's
            state.add_url_rule("/", "nothing", nothing, methods=METHODS, strict_slashes=False)

    @blueprint.get("/models/<path:name>")
    def model(name: str) -> dict[str, Any]:
        door.manager(name)
        return told(name)


def _answer(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        status = error.code or 500
        body = body_of(status, error.description or error.name, None, "")
        return _json(body, status, dict(error.get_headers()) if status == 405 else {})
    fault = fault_of(error)
    if not isinstance(error, MiniAgentError):
        log.error("%s %s", request.method, escaped(request.path), exc_info=error)
    elif fault.status >= 500 or isinstance(error, (RecordUnreadable, StoreMisconfigured)):
        log.warning("%s %s: %s", request.method, escaped(request.path), error)
    return _json(fault.body, fault.status, fault.headers)


def _json(body: dict[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    kept = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return Response(as_json(body), status, kept, mimetype="application/json")
