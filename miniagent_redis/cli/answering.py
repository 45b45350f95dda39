"""Who answers in the chat: an agent for each model, all on one store."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from ..agent import AgentConfig
from ..config.redis import RedisConfig
from ..errors import InvalidInput
from ..llm import resolve_model
from ..session import SessionAgent, SessionManager
from ..store.manager import RedisSessionManager
from ..tools import ToolRegistry


class Answering:
    """Finds who answers in a session: the model that it was begun with. A context manager.

    Unless one ``is_chosen``, which answers everywhere. An agent is called by its model, as those
    of ``serve`` are, so that sessions tell which it was. Raises InvalidInput or ModelError for a
    ``model`` that there is not, StoreUnavailable or StoreMisconfigured when it is entered.
    """

    def __init__(
        self,
        config: RedisConfig,
        model: str,
        *,
        is_chosen: bool,
        system: str = "",
        tools: ToolRegistry | None = None,
    ) -> None:
        self._models = {model: resolve_model(model)}  # each is set up once: that may take long
        self._model, self._is_chosen = model, is_chosen
        self._system, self._tools = system, tools
        self._store = RedisSessionManager(config)
        self._open: dict[str, SessionManager] = {}
        self._ending = ExitStack()

    def __enter__(self) -> Answering:
        self._ending.callback(self._store.disconnect)
        try:
            self.begun_with("")
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.close()

    def begun_with(self, name: str) -> SessionManager:
        """Return who answers in a session of an agent of this name; "" for a new session.

        Raises ModelError for a model that cannot be set up here.
        """
        model = self._model
        if name not in ("", model) and not self._is_chosen and self._is_model(name):
            model = name
        if model not in self._open:
            found = AgentConfig(model=self._models[model], name=model, system_prompt=self._system)
            agent = SessionAgent(found, self._tools, store=self._store)
            agent.background.remove("sweep")  # left to programs, which may have hooks
            agent.background.remove("recover")  # and tools
            self._open[model] = SessionManager(self._ending.enter_context(agent))
        return self._open[model]

    def _is_model(self, name: str) -> bool:
        """Whether it is the name of a model, and not one that a program has given its agent."""
        try:
            self._models[name] = self._models.get(name) or resolve_model(name)
        except InvalidInput:
            return False
        return True
