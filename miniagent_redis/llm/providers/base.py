"""What the models of all providers share: one client each, its key, and what its errors mean.

The SDKs are imported when a model is first asked. Failed requests are repeated by them.
"""

from __future__ import annotations

import os
import re
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit
from weakref import finalize

from ...errors import (
    IncompleteResponse,
    InvalidInput,
    MiniAgentError,
    ModelError,
)
from ...runtime.forking import reset_after_fork
from ...runtime.installing import pip_install
from ..base import ModelEvent, ModelRequest, TextDelta
from .checked import (
    check_event,
    check_key,
    checked_address,
    says_something,
    without_password,
)
from .faults import code_of, only_short_waits, retry_after, said_by, told_status
from .leaving import heed_leaving
from .meaning import meaning_of
from .under_way import (
    KEY,
    SentAlready,
    begin,
    limit_silence,
    note_answer,
    put_secrets,
    send_once,
    was_sent,
)

NO_KEY = "none"  # what a server of one's own is given for a key
_LONGEST_CAUSE = 500  # characters
_SHORTEST_KEY = 8  # shorter ones are no secrets, but words like "none"
_parents: list[Any] = []  # clients of the parent process: closing one here could wait for ever


class ProviderModel(ABC):
    """A model of one provider. Safe in threads; a forked child connects anew.

    ``api_key`` is by default what the SDK finds in the environment; a function is asked for it
    before each request. ``base_url`` is the provider's own address by default. A request that
    failed is sent again twice where that is certain to cost nothing; with ``max_retries`` so often,
    and whatever became of it. ``options`` go into each request as they are, ``tools`` among them
    beside the agent's. Raises InvalidInput for a name without a model or a key of another type,
    ModelError if the SDK is not installed.
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
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | Callable[[], str] | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> None:
        if not model:
            raise InvalidInput(
                f"the name {self.provider!r} lacks a model", hint=f'use "{self.provider}:MODEL"'
            )
        check_key(api_key)
        if max_retries is not None and (type(max_retries) is not int or max_retries < 0):
            raise InvalidInput(f"max_retries must be a whole number, not {max_retries!r:.100}")
        self.model = model
        self.options = options
        self._base_url = checked_address(base_url)
        self._api_key = api_key
        self._max_retries = max_retries
        self._fresh_keys: deque[str] = deque(maxlen=8)  # the last ones, to be in no message
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
    def named(cls, rest: str, **options: Any) -> ProviderModel:
        """Return the model of a name ``MODEL`` or ``MODEL@BASE_URL``."""
        model, *url = re.split("@(?=https?://)", rest, maxsplit=1, flags=re.IGNORECASE)
        if not url and (place := re.search(r"@([\w.-]+|\[[\w:]+\]):\d+(/.*)?$", model)):
            raise InvalidInput(
                f"{rest!r:.100} names a server without http:// or https://",
                hint=f"did you mean {model[: place.start()]}@http://{place[0][1:]}?",
            )
        return cls(model, base_url=url[0] if url else None, **options)

    @property
    def name(self) -> str:
        """What tells the model from others, without secrets."""
        place = f"@{without_password(self._root())}" if self._base_url else ""
        options = f" {sha256(repr(self.options).encode()).hexdigest()[:8]}" if self.options else ""
        return f"{self._kind}:{self.model}{place}{options}"

    @property
    def _kind(self) -> str:
        return self.provider

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        heard: list[str] = []
        try:
            begin(self._fresh_key() if callable(self._api_key) else None)
            with closing(self._answer(self._client(), request)) as events:
                for event in events:
                    check_event(event)
                    heard.append(event.text if isinstance(event, TextDelta) else "")
                    if request.first_timeout is not None and says_something(event):
                        limit_silence(request.timeout)
                    yield event
            if heard:
                return
            error = ModelError(f"{self.name} sent no answer", hint="check the address")
        except MiniAgentError:
            raise
        except SentAlready as exc:
            lost = exc.failure or ConnectionError("no answer came")
            error = self._explain(lost, request, heard, "not sent again, as it may be paid for")
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
                key = KEY if callable(self._api_key) else self._key()
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
        given = self._api_key if isinstance(self._api_key, str) else None
        keys = (given, *(os.environ.get(name) for name in self.key_variables))
        return next((key.strip() for key in keys if key and key.strip()), None)

    def _fresh_key(self) -> str:
        """Ask the function for the key; raises ModelError if it gives none."""
        assert callable(self._api_key)
        try:
            key = self._api_key()
            cause = f"it gave {type(key).__name__}"
        except Exception as exc:
            key, cause = "", f"it raised {type(exc).__name__}: {exc}"
        if not isinstance(key, str) or not key.strip():
            problem = f"the function that gives the key for {self.name} gave none"
            error = ModelError(problem, cause=cause)
            error.kind = "auth"
            raise error
        if key.strip() not in self._fresh_keys:
            self._fresh_keys.append(key.strip())
        return key.strip()

    def _root(self) -> str | None:
        """Return the address without its query, which the SDKs would put their paths behind."""
        return self._base_url and re.sub(r"[?#].*", "", self._base_url)

    def _query(self) -> dict[str, str]:
        """Return the query that is in the address: it goes with each request."""
        return dict(parse_qsl(urlsplit(self._base_url or "").query, keep_blank_values=True))

    def _hooks(self) -> dict[str, list[Callable[[Any], None]]]:
        """Return the hooks for the SDK's HTTP client."""
        requests: list[Callable[[Any], None]] = [heed_leaving, partial(put_secrets, self._query())]
        responses: list[Callable[[Any], None]] = [only_short_waits]
        if self._max_retries is None:
            requests.append(send_once)
            responses.append(note_answer)
        return {"request": requests, "response": responses}

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

    def _explain(
        self, exc: Exception, request: ModelRequest, heard: list[str], note: str = ""
    ) -> ModelError:
        kind, problem, hint = meaning_of(
            exc, self.name, self.key_variables, request, is_answering=bool(heard)
        )
        cause = self._without_secrets(said_by(exc))[:_LONGEST_CAUSE]
        if not note and was_sent() and kind in ("connection", "timeout"):
            note = "it may be paid for"
        cause = "; ".join(filter(None, (cause, note)))
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

    def _without_secrets(self, text: str) -> str:
        variables = (*self.key_variables, *self.secret_variables)
        given = () if callable(self._api_key) else (self._api_key,)
        keys = (*given, *self._fresh_keys, *(os.environ.get(name) for name in variables))
        secrets = [key.strip() for key in keys if key and len(key.strip()) >= _SHORTEST_KEY]
        for secret in (*secrets, urlsplit(self._base_url or "").password):
            text = text.replace(secret, "***") if secret else text
        return text


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False
