"""Models of OpenAI, and of every server that speaks like it: `openai:MODEL[@URL]`.

There are two APIs for the same models, chat completions and responses: which one is asked, and how,
is decided here. Where it is told to go elsewhere than to OpenAI, by the name or by OPENAI_BASE_URL,
the key is what that server is given; without one it gets none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping
from typing import Any, ClassVar, Literal

from ..errors import InvalidInput
from .base import Finish, ModelEvent, ModelRequest
from .output import told_in_words
from .providers.base import ProviderModel
from .providers.chat_replies import chat_events
from .providers.chat_requests import chat_messages, chat_tools, json_schema
from .providers.checked import parameters
from .providers.faults import is_unread_call, said_by
from .providers.hosts import azure_address, host_of, is_azure, is_openai
from .providers.reconsidered import Way, reconsidered
from .providers.responses_replies import responses_events
from .providers.responses_requests import (
    REASONING,
    from_chat,
    responses_input,
    responses_tools,
    text_form,
)
from .providers.sending import encodable, has_acted
from .providers.sse import EventStream
from .providers.think_tags import ThinkTags
from .providers.under_way import KEY

__all__ = ["OpenAIModel"]

Api = Literal["chat", "responses"]

_AZURE_KEY = "AZURE_OPENAI_API_KEY"
# Models that chat completions do not have, and those whose tools they refuse beside reasoning.
_ONLY_RESPONSES = re.compile(r"(.*-)?(pro|codex.*|deep-research|computer-use.*)(-\d.*)?$")
_REASONS_WITH_TOOLS = re.compile(r"gpt-(5\.[4-9]|5\.\d\d|[6-9]|\d\d)")
_NO_REASONING = re.compile(r"gpt-[34]|chatgpt-4")
_OPTIONS_OF_RESPONSES = frozenset({
    *("reasoning", "include", "text", "truncation", "max_output_tokens", "max_tool_calls"),
    *("conversation", "previous_response_id", "background", "prompt", "instructions"),
})  # fmt: skip
_OPTIONS_OF_CHAT = frozenset({
    *("stop", "seed", "n", "logit_bias", "logprobs", "presence_penalty", "frequency_penalty"),
    *("modalities", "audio", "prediction", "web_search_options"),
})  # fmt: skip
_TRIES = 5


class OpenAIModel(ProviderModel):
    """A model of OpenAI's, Azure's or whoever speaks like them.

    ``api`` is ``"chat"`` (completions) or ``"responses"``; by default what the model, its options
    and what the server says call for. ``options`` are those of ``create`` there; ``stream=False``
    has answers come in one piece. ``api_version`` is for Azure's dated versions. ``think_tags`` is
    whether ``<think>…</think>`` at the start of an answer is reasoning; ``"open"`` if only
    ``</think>`` comes, as the server's template has the rest. Not of OpenAI's own.
    """

    takes_output = True
    provider = "openai"
    sdk = "openai"
    key_variables: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)
    secret_variables: ClassVar[tuple[str, ...]] = (_AZURE_KEY,)
    address_variable = "OPENAI_BASE_URL"

    def __init__(
        self,
        model: str,
        *,
        api: Api | None = None,
        api_version: str | None = None,
        think_tags: bool | Literal["open"] = True,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if api not in (None, "chat", "responses"):
            raise InvalidInput(f'api must be "chat" or "responses", not {api!r:.100}')
        self._api = api
        self._api_version = api_version
        self._think_tags = think_tags
        self._way = Way()  # learned, and the same for all threads

    @property
    def _kind(self) -> str:
        return f"{self.provider}-{self._api}" if self._api else self.provider

    def _key(self) -> str | None:
        if self._is_azure() and not self._api_key:
            return (os.environ.get(_AZURE_KEY) or "").strip() or super()._key()
        return super()._key()

    def _is_azure(self) -> bool:
        """Whether it is Azure that is asked: also at another address, if a version is named."""
        address = self._address() or ""
        is_named = self._api_version is not None or "api-version=" in address
        return bool(address) and (is_named or is_azure(host_of(address)))

    def _query(self) -> dict[str, str]:
        return {} if self._is_azure() else super()._query()

    def _address(self) -> str | None:
        return self._base_url or os.environ.get(self.address_variable) or None

    def _connect(self, sdk: Any, key: str | None) -> Any:
        given: dict[str, Any] = {"http_client": sdk.DefaultHttpxClient(event_hooks=self._hooks())}
        if self._max_retries is not None:
            given["max_retries"] = self._max_retries
        address = self._address()
        if address is None or not self._is_azure():
            return sdk.OpenAI(api_key=key, base_url=self._root(), **given)
        url, version = azure_address(address, self._api_version)
        if version is None:
            return sdk.OpenAI(api_key=key, base_url=url, **given)
        by_token = {"azure_ad_token_provider": lambda: KEY, "api_key": None}
        keys = by_token if callable(self._api_key) else {"api_key": key}
        return sdk.AzureOpenAI(base_url=url, api_version=version, **keys, **given)

    def _answer(self, client: Any, request: ModelRequest) -> Generator[ModelEvent]:
        host = str(client.base_url.host)
        provider = self.provider if is_openai(host) else f"{self.provider}@{host}"
        for _ in range(_TRIES):
            way = self._way
            by_responses = self._asks_responses(request, way, host)
            begun = False
            try:
                ask = self._by_responses if by_responses else self._by_chat
                for event in ask(client, request, provider, way):
                    begun = True
                    yield event
                return
            except Exception as exc:
                is_forced = self._api is not None
                other = reconsidered(way, exc, asked_responses=by_responses, is_forced=is_forced)
                if other == way and is_unread_call(exc):
                    yield Finish("malformed_call", said_by(exc))
                    return
                if begun or other == way:
                    raise
                self._way = other

    def _asks_responses(self, request: ModelRequest, way: Way, host: str) -> bool:
        if self._api is not None or way.responses is not None:
            return way.responses is True if self._api is None else self._api == "responses"
        options = self.options.keys() | request.params.keys()
        own = self.options.get("tools") or ()
        if options & _OPTIONS_OF_RESPONSES or any(map(_is_hosted, own)):
            return True
        if not is_openai(host) or options & _OPTIONS_OF_CHAT:
            return False
        if _ONLY_RESPONSES.fullmatch(self.model):
            return True
        effort = {**self.options, **request.params}.get("reasoning_effort")
        reasons = _REASONS_WITH_TOOLS.match(self.model) and effort != "none"
        return bool(reasons and (request.tools or own))

    def _by_chat(
        self, client: Any, request: ModelRequest, provider: str, way: Way
    ) -> Generator[ModelEvent]:
        host = str(client.base_url.host)
        is_theirs = is_openai(host) or is_azure(host) or self._is_azure()
        params: dict[str, Any] = {"stream_options": {"include_usage": True}, "stream": True}
        params |= {"timeout": request.longest_wait, **request.params}
        if is_theirs and "max_tokens" in params:  # its newer models refuse the old name
            params["max_completion_tokens"] = params.pop("max_tokens")
        form = json_schema(request)
        if form is None or not is_theirs or "response_format" in self.options:
            request = told_in_words(request)  # also to servers that may not know what they are sent
        if form is not None:
            params["response_format"] = {"type": "json_schema", "json_schema": form}
        messages = chat_messages(request, provider, is_strict_id=is_theirs)
        tools = chat_tools(request)
        params |= {**parameters(self.options, tools), "model": self.model, "messages": messages}
        params = _with_choice(way.params(params), request)
        create = client.chat.completions.with_streaming_response.create
        with create(**encodable(params)) as response:
            tags = None
            if self._think_tags and not is_theirs:
                tags = ThinkTags(is_open=self._think_tags == "open")
            yield from chat_events(EventStream(response), provider, tags)

    def _by_responses(
        self, client: Any, request: ModelRequest, provider: str, way: Way
    ) -> Generator[ModelEvent]:
        options = from_chat(self.options)
        params: dict[str, Any] = {"store": False, "stream": not way.no_stream}
        params |= {"timeout": request.longest_wait, **from_chat(request.params)}
        if not (way.no_encrypted or _NO_REASONING.match(self.model)):
            options["include"] = list({REASONING: 0, **dict.fromkeys(options.get("include") or ())})
        text = options.get("text") or {}
        form = text_form(request)
        if form is None or "format" in text:
            request = told_in_words(request)
        else:
            options["text"] = {**text, "format": form}
        if request.system:
            params["instructions"] = request.system
        items = responses_input(request, provider, self.model)
        tools = responses_tools(request)
        params |= {**parameters(options, tools), "model": self.model, "input": items}
        create = client.responses.with_streaming_response.create
        with create(**encodable(_with_choice(params, request))) as response:
            yield from responses_events(EventStream(response), provider, self.model)


def _is_hosted(tool: Any) -> bool:
    """Whether the tool is the vendor's own, such as ``{"type": "web_search"}``."""
    return isinstance(tool, Mapping) and tool.get("type") not in ("function", "custom")


def _with_choice(params: dict[str, Any], request: ModelRequest) -> dict[str, Any]:
    """Return the parameters with a choice of tools only where there are some to choose from."""
    if not params.get("tools"):  # without any, no word of them is taken
        params.pop("tool_choice", None)
        params.pop("parallel_tool_calls", None)
    elif _is_forced(params.get("tool_choice")) and has_acted(request.messages):
        del params["tool_choice"]
    return params


def _is_forced(choice: object) -> bool:
    """Whether the model has to call a tool: ``required``, a tool by name, or some of them."""
    if isinstance(choice, Mapping):
        allowed = choice.get("allowed_tools", choice)
        is_some = choice.get("type") == "allowed_tools"
        return not is_some or (isinstance(allowed, Mapping) and allowed.get("mode") == "required")
    return choice not in (None, "auto", "none")
