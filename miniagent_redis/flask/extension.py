"""MiniAgent, the Flask extension: an agent for each app, opened in each process when first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from attrs import evolve
from flask import Blueprint, Flask, Response, current_app, has_request_context
from werkzeug.local import LocalProxy

from ..agent import AgentConfig, Instructions, StreamCallback
from ..config import RedisConfig
from ..doors.refusals import NotLoggedIn, NotSetUp
from ..errors import InvalidInput
from ..llm.resolve import AnyModel
from ..models import Message
from ..runtime.checks import some_text
from ..session import SessionAgent, SessionManager
from ..session.given import given_callbacks, given_config
from ..session.turns import Started
from ..store.hook_calls import ExpiryHook, check_hook
from ..store.manager import RedisSessionManager
from ..store.parking import Answer
from ..telemetry import Instrumentation
from ..tools import ToolRegistry, Tools
from .answers import answer_errors
from .bound import BoundManager
from .console.access import Access
from .console.blueprint import console_blueprint
from .health import health_routes
from .opening import Opening
from .origins import refuse_foreign
from .serving import follow, idempotency_key
from .settings import Settings, check_prefix, settings_of
from .streams import OnDisconnect, Stream

UserLoader = Callable[[], str | int | None]
H = TypeVar("H", bound=ExpiryHook)
L = TypeVar("L", bound=UserLoader)
_NAME = "miniagent"


class MiniAgent:
    """An agent of Flask apps: ``agents = MiniAgent(model=…)``, then ``agents.init_app(app)``.

    Settings are those of ``app.config``, by the names that environment variables have; where that
    has none, what is given here, then the environment. ``config`` is for what is not ``model`` or
    ``system_prompt``. With a ``prefix``, such as ``"SUPPORT_"``, names with that come first, so
    that an app can have several. One object serves any number of apps.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        model: AnyModel | None = None,
        tools: Tools | None = None,
        system_prompt: Instructions | None = None,
        config: AgentConfig | None = None,
        callbacks: StreamCallback | None = None,
        redis_config: RedisConfig | None = None,
        instrumentation: Instrumentation | None = None,
        prefix: str = "",
    ) -> None:
        given = {"model": model, "system_prompt": system_prompt}
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        if config is not None and changes:
            raise InvalidInput(
                f"{' and '.join(changes)} stand beside a config", hint="put all into the config"
            )
        self.prefix: str = check_prefix(prefix)
        self.tools: ToolRegistry = ToolRegistry.of(tools)
        self._config = evolve(given_config(config), **changes)
        self._redis_config = redis_config
        self._callbacks = given_callbacks(callbacks)
        self._instrumentation = instrumentation
        self._load_user: UserLoader | None = None
        self._expiry_hooks: list[ExpiryHook] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Belong to the app. Connects to nothing.

        Raises InvalidInput for settings that contradict each other, or that nobody knows.
        """
        known: dict[str, tuple[MiniAgent, Opening]] = app.extensions.setdefault(_NAME, {})
        if self.prefix in known:
            raise InvalidInput(
                f"the app {app.name!r} has a MiniAgent with the prefix {self.prefix!r} already",
                hint='give a second one another: MiniAgent(prefix="SUPPORT_")',
            )

        def read_settings() -> Settings:
            return settings_of(app.config, self.prefix, self._config, self._redis_config)

        read_settings()  # what is wrong is told here
        beside = [one for _, one in known.values()]
        opening = Opening(
            app, read_settings, self.tools, self._callbacks, self._instrumentation,
            self._expiry_hooks, beside,
        )  # fmt: skip
        known[self.prefix] = self, opening
        answer_errors(app)

    def on_expire(self, hook: H) -> H:
        """Call ``hook`` with each session that has expired: see ``SessionAgent.on_expire``.

        In a context of the app. Say it before the agent is used, on all instances alike.
        """
        check_hook(hook)
        self._expiry_hooks.append(hook)
        return hook

    # --- whose ---------------------------------------------------------------------------------

    def user_loader(self, load: L) -> L:
        """Decorate the function that says whose the request is: a text, a number, or None.

        With None the answer is 401. Called at each use of ``manager``, in the request.
        """
        self._load_user = load
        return load

    @property
    def user_id(self) -> str:
        """Whose this request is. Raises NotLoggedIn, which is answered with 401."""
        if not has_request_context():
            raise NotSetUp(
                "whose sessions are meant is known in a request only",
                hint='outside of one, write agents.for_user("ada"), or agents.unbound for all',
            )
        if self._load_user is None:
            raise NotSetUp(
                "no user_loader tells whose the request is",
                hint="decorate a function that returns the user's id with @agents.user_loader",
            )
        user = self._load_user()
        if user is None:
            raise NotLoggedIn
        return _as_text(user)

    # --- what ----------------------------------------------------------------------------------

    @property
    def manager(self) -> BoundManager:
        """The sessions of who sent this request; only pages of the app may have it change any.

        Raises NotLoggedIn, StoreUnavailable or StoreMisconfigured.
        """
        user_id = self.user_id

        def before_change(is_harmless: bool) -> None:
            refuse_foreign(self.settings.web.trusted_origins, may_read=is_harmless)

        size = self.settings.web.max_message_size
        return BoundManager(
            self.unbound, user_id, before_change=before_change, max_message_size=size
        )

    def for_user(self, user_id: str | int) -> BoundManager:
        """Return the sessions of a user, in a request or not; nobody is asked who sent it."""
        return BoundManager(self.unbound, _as_text(user_id))

    @property
    def unbound(self) -> SessionManager:
        """The sessions of all users: whose is meant, each call has to say."""
        return SessionManager(self.agent)

    @property
    def agent(self) -> SessionAgent:
        """The agent of the current app in this process, open."""
        return self.opening.agent()

    @property
    def store(self) -> RedisSessionManager:
        """What it is all kept in."""
        return self.agent.store

    @property
    def settings(self) -> Settings:
        """The settings of the current app."""
        return self.opening.settings

    @property
    def opening(self) -> Opening:
        """What opens the agent of the current app."""
        known = current_app.extensions.get(_NAME, {})
        if self.prefix not in known or known[self.prefix][0] is not self:
            raise NotSetUp(
                f"the app {current_app.name!r} does not know this MiniAgent",
                hint="call agents.init_app(app) where the app is made",
            )
        return cast(Opening, known[self.prefix][1])

    # --- turns ---------------------------------------------------------------------------------

    def start(self, session_id: str, message: str | Message, turn_id: str | None = None) -> Started:
        """Begin a turn that goes on in this process's pool; return its ``turn_id`` and ``cursor``.

        The request's ``Idempotency-Key`` is the ``turn_id``, unless one is given: a request that is
        repeated joins the turn. Errors, and what becomes of it, as of ``SessionManager.start``.
        """
        return self.manager.start(session_id, message, turn_id or idempotency_key())

    def answer(self, session_id: str, turn_id: str, answers: Mapping[str, Answer]) -> Started:
        """Answer calls for which a turn waits; with the last one it goes on in the pool.

        ``answers`` and errors as of ``SessionManager.answer``, which works until the turn is over;
        this returns at once, with the place in front of what comes of it.
        """
        return self.manager.answer_soon(session_id, turn_id, answers)

    def sse(
        self,
        session_id: str,
        message: str | Message | None = None,
        turn_id: str | None = None,
        *,
        after: str | None = None,
        on_disconnect: OnDisconnect = "continue",
    ) -> Response:
        """Return a response of Server-Sent Events: a turn as it happens, until it ends or waits.

        With a ``message`` that turn is started, as by ``start``; else it is the turn of this id, or
        the one that is open, or that the client was reading. ``after`` is the id of the last event
        seen, by default the request's ``Last-Event-ID``. 204 if there is nothing to read. What can
        go wrong is raised before the first byte, so that it has a status: TooManyStreams,
        TurnNotFound, and what ``start`` and ``watch`` raise. A client that goes away stops reading
        and not the turn, unless ``on_disconnect="cancel"``. It holds a thread of the server.
        """
        manager, opening = self.manager, self.opening
        web, agent = opening.settings.web, opening.agent()
        stream = Stream(opening.streams, web.max_streams, agent.clock, web.ping_interval)
        start = None if message is None else partial(manager.start, session_id, message)
        user_id = manager.user_id
        return follow(stream, agent, user_id, session_id, start, turn_id, after, on_disconnect)

    def health_routes(self) -> Blueprint:
        """Return routes to register under a prefix such as ``/health``: ``/live`` and ``/ready``.

        The one asks nobody; the other is 503 while Redis does not answer. They need no user.
        """
        return health_routes(f"{_NAME}_health_{self.prefix.lower()}".strip("_"), lambda: self.agent)

    def console(
        self,
        *,
        admin: Callable[[], bool] | None = None,
        read_only: bool = False,
        others: Sequence[MiniAgent] = (),
    ) -> Blueprint:
        """Return pages to register under a prefix such as ``/console``: to talk, look and end.

        People see their own sessions, those of who the ``user_loader`` says. For whom ``admin``
        returns True, in the request, all sessions are there, with what is stored of them, how
        Redis is, and the doctor. ``read_only`` refuses all that changes anything. A conversation
        can be begun with one of the ``others`` too: agents of the same app, on the same Redis.
        """
        return console_blueprint(Access(self, admin, is_read_only=read_only, others=(*others,)))

    # --- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Shut the current app's agent down, if it is open; done by itself at the process's end."""
        self.opening.close()


def agents_of(app: Flask, prefix: str = "") -> MiniAgent:
    """Return the app's MiniAgent; raise NotSetUp if it has none with this prefix."""
    known: dict[str, tuple[MiniAgent, Opening]] = app.extensions.get(_NAME, {})
    if prefix not in known:
        raise NotSetUp(
            f"the app {app.name!r} has no MiniAgent"
            + (f" with the prefix {prefix!r}" if prefix else ""),
            cause=f"it has one with {', '.join(map(repr, known))}" if known else "",
            hint="call MiniAgent(…).init_app(app) where the app is made",
        )
    return known[prefix][0]


def _current() -> MiniAgent:
    return agents_of(current_app)


current_agents: MiniAgent = cast(MiniAgent, LocalProxy(_current))
"""The MiniAgent of the current app, that without a prefix."""


def _as_text(user_id: str | int) -> str:
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        return str(user_id)
    return some_text(user_id, "the user's id")
