"""What the models of all providers share: one client each, its key, and what its errors mean.

The SDKs are imported when a model is first asked, and repeat failed requests by themselves.
"""

from __future__ import annotations

import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar
from urllib.parse import urlsplit
from weakref import finalize

from attrs import astuple

from ...errors import (
    IncompleteResponse,
    InvalidInput,
    MiniAgentError,
    ModelError,
    ModelErrorKind,
)
from ...models import ToolCall, Usage
from ...runtime.forking import reset_after_fork
from ...runtime.installing import pip_install
from ..base import Block, Finish, ModelEvent, ModelRequest, TextDelta, UnreadCall
from .faults import code_of, kind_of, retry_after, said_by, status_of, told_status

NO_KEY = "none"  # what a server of one's own is given for a key
_LONGEST_CAUSE = 500  # characters
_SHORTEST_KEY = 8  # shorter ones are no secrets, but words like "none"
_parents: list[Any] = []  # clients of the parent process: closing one here could wait for ever


class ProviderModel(ABC):
    """A model of one provider. Safe in threads; a forked child connects anew.

    ``api_key`` is by default what the SDK finds in the environment, ``base_url`` the provider's
    own address. ``options`` go into each request as they are. Raises InvalidInput for a name
    without a model, ModelError if the SDK is not installed.
    """

    provider: ClassVar[str]
    sdk: ClassVar[str]
    """The module; its package is installed by the extra named like the provider."""
    key_variables: ClassVar[tuple[str, ...]]
    secret_variables: ClassVar[tuple[str, ...]] = ()
    """What else must be in no message."""
    address_variable: ClassVar[str] = ""
    """What leads the SDK elsewhere than to the provider, where no key may be needed."""

    def __init__(
        self, model: str, *, base_url: str | None = None, api_key: str | None = None, **options: Any
    ) -> None:
        if not model:
            raise InvalidInput(
                f"the name {self.provider!r} lacks a model", hint=f'use "{self.provider}:MODEL"'
            )
        self.model = model
        self.options = options
        self._base_url = base_url
        self._api_key = api_key
        if not _is_installed(self.sdk):
            raise self._not_installed()
        self._sdk_client: Any = None
        self._closing: finalize[..., Any] | None = None
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the client
        if self._closing is not None:
            self._closing.detach()
            _parents.append(self._sdk_client)
        self._sdk_client = self._closing = None

    @classmethod
    def named(cls, rest: str) -> ProviderModel:
        """Return the model of a name ``MODEL`` or ``MODEL@BASE_URL``."""
        model, *url = re.split("@(?=https?://)", rest, maxsplit=1)
        return cls(model, base_url=url[0] if url else None)

    @property
    def name(self) -> str:
        """What tells the model from others, without secrets."""
        place = f"@{_without_password(self._base_url)}" if self._base_url else ""
        options = f" {sha256(repr(self.options).encode()).hexdigest()[:8]}" if self.options else ""
        return f"{self.provider}:{self.model}{place}{options}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        heard: list[str] = []
        try:
            with closing(self._answer(self._client(), request)) as events:
                for event in events:
                    _check(event)
                    heard.append(event.text if isinstance(event, TextDelta) else "")
                    yield event
            if heard:
                return
            error = ModelError(f"{self.name} sent no answer", hint="check the address")
        except MiniAgentError:
            raise
        except Exception as exc:
            error = self._explain(exc, request, heard)
        raise error  # not from the SDK's, which holds the request with its key

    @abstractmethod
    def _connect(self, sdk: Any, key: str | None) -> Any:
        """Return a new client."""

    @abstractmethod
    def _answer(self, client: Any, request: ModelRequest) -> Generator[ModelEvent]:
        """Send the request and yield what comes back; Finish only if the end was reached.

        Pieces that are no text are told as an empty TextDelta: the turn can be cancelled there.
        """

    def _client(self) -> Any:
        with self._lock:
            if self._sdk_client is None:
                key = self._key()
                if key is None and (self._base_url or os.environ.get(self.address_variable)):
                    key = NO_KEY
                if key is None and any(os.environ.get(name) for name in self.key_variables):
                    raise self._no_key()  # only blanks, which the SDKs would send
                try:
                    client = self._connect(self._import(), key)
                except MiniAgentError:
                    raise
                except Exception as exc:
                    cause = self._without_secrets(str(exc))
                    error = ModelError(f"{self.name} cannot be set up", cause=cause)
                    if key is None:
                        error = self._no_key()
                    raise error from None
                self._closing = finalize(self, client.close)
                self._closing.atexit = False
                self._sdk_client = client
            return self._sdk_client

    def _import(self) -> Any:
        try:
            return import_module(self.sdk)
        except ImportError as exc:
            raise self._not_installed(str(exc)) from exc

    def _key(self) -> str | None:
        keys = (self._api_key, *(os.environ.get(name) for name in self.key_variables))
        return next((key.strip() for key in keys if key and key.strip()), None)

    def _not_installed(self, cause: str = "") -> ModelError:
        return ModelError(
            f"{self.provider}:{self.model} needs a package that is not installed",
            cause=cause or f"there is no module {self.sdk}",
            hint=pip_install(self.provider),
        )

    def _no_key(self) -> ModelError:
        error = ModelError(
            f"{self.name} needs a key",
            cause=f"{' and '.join(self.key_variables)} is not set",
            hint=f"set the environment variable {self.key_variables[0]}",
        )
        error.kind = "auth"
        return error

    def _explain(self, exc: Exception, request: ModelRequest, heard: list[str]) -> ModelError:
        kind, problem, hint = self._meaning(exc, request, is_answering=bool(heard))
        cause = self._without_secrets(said_by(exc))[:_LONGEST_CAUSE]
        error: ModelError
        if text := "".join(heard):
            problem, cause = f"the answer of {self.name} broke off", f"{problem}: {cause}"
            error = IncompleteResponse(problem, text=text, cause=cause, hint=hint)
        else:
            error = ModelError(problem, cause=cause, hint=hint)
        error.kind, error.status = kind, told_status(exc)
        error.code = self._without_secrets(code_of(exc))[:_LONGEST_CAUSE]
        error.retry_after = retry_after(exc)
        return error

    def _meaning(
        self, exc: Exception, request: ModelRequest, *, is_answering: bool
    ) -> tuple[ModelErrorKind, str, str]:
        """Return its kind, the problem, and what to do about it."""
        again = "send the message again"
        if isinstance(exc, TypeError) and not is_answering:
            problem = f"{self.name} cannot be asked like this"
            return "bad_request", problem, "check the options of the model"
        kind = kind_of(exc)
        match kind:
            case "timeout" if status_of(exc) is None:
                waited = f" within {request.timeout:g} s" if request.timeout else ""
                return (
                    kind,
                    f"{self.name} did not answer{waited}",
                    "raise AgentConfig.model_timeout",
                )
            case "connection":
                problem = f"the connection to {self.name} failed"
                return kind, problem, "check the network and the address"
            case "auth":
                key = " or ".join(self.key_variables)
                hint = f"check {key}, and what the key may do"
                return kind, f"{self.name} refused the key", hint
            case "quota":
                return kind, f"what {self.name} may be asked is used up", "check plan and billing"
            case "not_found":
                hint = "check the name of the model and the address"
                return kind, f"{self.name} was not found", hint
            case "rate_limit":
                wait = retry_after(exc)
                when = "later" if wait is None else f"in {wait:g} s"
                problem = f"{self.name} takes no more requests for now"
                return kind, problem, f"{again} {when}"
            case "context_length":
                problem = f"the conversation is too long for {self.name}"
                return kind, problem, "set AgentConfig.max_context_tokens"
            case "content_filter":
                return kind, f"{self.name} refused what was said", "say it in other words"
            case "bad_request":
                hint = "if the conversation is too long, set AgentConfig.max_context_tokens"
                return kind, f"{self.name} refused the request", hint
            case "bad_reply":
                return kind, f"{self.name} sent what cannot be read", again
        return kind, f"{self.name} failed", again

    def _without_secrets(self, text: str) -> str:
        variables = (*self.key_variables, *self.secret_variables)
        keys = (self._api_key, *(os.environ.get(name) for name in variables))
        secrets = [key.strip() for key in keys if key and len(key.strip()) >= _SHORTEST_KEY]
        for secret in (*secrets, urlsplit(self._base_url or "").password):
            text = text.replace(secret, "***") if secret else text
        return text


def _check(event: ModelEvent) -> None:
    """Raise ValueError for what no vendor sends, since the SDKs do not look at it."""
    match event:
        case TextDelta(str()) | ToolCall(str(), str(), dict()) | UnreadCall(str(), str()):
            return
        case Block() | Finish(str()):
            return
        case Usage() if all(isinstance(count, int) for count in astuple(event)):
            return
    raise ValueError(f"a strange {type(event).__name__}: {event!r:.100}")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
