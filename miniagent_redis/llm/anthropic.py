"""Models of Anthropic by its messages: `anthropic:MODEL[@URL]`."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from typing import Any, ClassVar

from .base import ModelEvent, ModelRequest
from .output import told_in_words
from .providers.anthropic_replies import AnthropicReply
from .providers.anthropic_requests import anthropic_messages, called_tools
from .providers.base import NO_KEY, ProviderModel
from .providers.checked import parameters
from .providers.choice import anthropic_choice
from .providers.sending import encodable, has_acted
from .providers.sse import EventStream

__all__ = ["AnthropicModel"]

MAX_TOKENS = 8192  # the API wants a number; models still offered can give at least so many
MOST_PAUSES = 10  # of one reply
_HOST = "api.anthropic.com"


class AnthropicModel(ProviderModel):
    """A model by Anthropic's messages; ``options`` are those of ``messages.create``.

    With ``stream=False`` answers come in one piece.
    """

    takes_output = True
    provider = "anthropic"
    sdk = "anthropic"
    key_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_API_KEY",)
    secret_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_AUTH_TOKEN",)

    def _connect(self, sdk: Any, key: str | None) -> Any:
        if key == NO_KEY and os.environ.get("ANTHROPIC_AUTH_TOKEN"):
            key = None  # then the SDK sends the token
        given: dict[str, Any] = {"http_client": sdk.DefaultHttpxClient(event_hooks=self._hooks())}
        if self._max_retries is not None:
            given["max_retries"] = self._max_retries
        client = sdk.Anthropic(api_key=key, base_url=self._root(), **given)
        ways = (getattr(client, way, None) for way in ("api_key", "auth_token", "credentials"))
        if not any(ways):
            raise self._no_key()
        return client

    def _answer(self, client: Any, request: ModelRequest) -> Generator[ModelEvent]:
        host = client.base_url.host  # whose signatures others do not know
        provider = self.provider if host == _HOST else f"{self.provider}@{host}"
        system, messages = anthropic_messages(told_in_words(request), provider)
        params = self._params(request, system, messages)
        create = client.messages.with_streaming_response.create
        reply, asked = AnthropicReply(provider), messages
        for pauses in range(MOST_PAUSES, -1, -1):
            with create(**encodable(params | {"messages": asked})) as response:
                yield from reply.read(EventStream(response), may_pause=pauses > 0)
            if not reply.paused:
                return
            asked = [*messages, {"role": "assistant", "content": reply.paused}]

    def _params(
        self, request: ModelRequest, system: str, messages: list[dict[str, Any]]
    ) -> dict[str, Any]:
        params: dict[str, Any] = {"max_tokens": MAX_TOKENS, "timeout": request.longest_wait}
        params |= {"stream": True, **request.params}
        if "tool_choice" in params:
            params["tool_choice"] = anthropic_choice(params["tool_choice"])
        options = dict(self.options)
        if "temperature" in params:  # the API takes it for many models, the SDK has no name for it
            body = {"temperature": params.pop("temperature")}
            options["extra_body"] = body | dict(options.get("extra_body") or {})
        if system:
            params["system"] = system
        tools = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        if not tools and (names := called_tools(messages)):
            # A conversation with calls must say which tools there are, also when there are none.
            tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
            options |= {"tool_choice": {"type": "none"}} if not options.get("tools") else {}
        params |= {**parameters(options, tools), "model": self.model}
        if not params.get("tools"):  # without any, no word of them is taken
            params.pop("tool_choice", None)
        elif (choice := _forced(params.get("tool_choice"))) and has_acted(request.messages):
            kept = {name: value for name, value in choice.items() if name != "name"}
            params["tool_choice"] = kept | {"type": "auto"}
        return params


def _forced(choice: Any) -> Mapping[str, Any]:
    """Return the choice if by it the model has to call a tool, else nothing."""
    is_forced = isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")
    return choice if is_forced else {}
