"""What an agent takes from a cache: results of tools and replies of models, when asked the same.

Decides what the same is and what may be kept. Where it is kept, and that many who ask at once wait
for one of them, is the part of the cache that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from hashlib import sha256
from inspect import ismethod
from typing import Any, Protocol

from attrs import asdict, evolve, frozen

from ..codec import converter
from ..errors import InvalidInput, ToolError
from ..llm import Model, ModelEvent, ModelFunction, ModelRequest, Reply, TextDelta, ask
from ..models import Message, ToolCall, ToolResult, Usage
from ..tools import Tool, ToolRegistry, call_tool
from ..tools.canonical import canonical_arguments, canonical_json

_FORMAT = 1  # of what is kept; another one never meets this one's entries
_WHOLE = ("stop", "tool_calls")

Check = Callable[[], None]
Flight = AbstractContextManager["Entry"]


class Entry(Protocol):
    """A value that is there, or that the caller is to compute while others may wait for it."""

    is_hit: bool
    value: Any
    saved_seconds: float
    """How much sooner it is there than by computing it."""

    def keep(self, value: Any, ttl: float) -> None:
        """Keep the computed JSON value for up to ``ttl`` seconds; raises InvalidInput."""
        ...


class Cache(Protocol):
    """Finds the entry of a key, or waits for it up to ``timeout`` seconds (None: without end).

    ``check`` is called now and then while it waits, to raise when the value is not wanted any more.
    It must not fail for a reason of its own: then the entry is one to compute. When the context is
    left others need not wait for the value any longer. That may be twice, in different threads.
    """

    def __call__(self, key: str, *, timeout: float | None, check: Check) -> Flight: ...


@frozen
class TurnCache:
    """The cache as one turn uses it; without a ``cache``, nothing is looked up or kept."""

    cache: Cache | None
    session_id: str
    user_id: str | None

    def call_tool(
        self,
        tools: ToolRegistry,
        call: ToolCall,
        *,
        longest: int,
        check: Check,
        take_off: Callable[[Flight], None],
    ) -> ToolResult:
        """Return the result of the call, computed by this turn or another one; never an old error.

        ``check`` ends the waiting for another one; there is no other end to it. ``take_off`` is
        given what others wait for when the tool is about to run: to be left if it takes too long.
        """
        tool = tools.get(call.name)
        if self.cache is None or tool is None or tool.cache_ttl is None:
            return call_tool(tools, call, longest=longest)
        try:
            key = self._tool_key(tool, call, longest)
        except ToolError:  # which the call will tell
            return call_tool(tools, call, longest=longest)
        flight = self.cache(key, timeout=None, check=check)
        with flight as entry:
            if entry.is_hit:
                saved = round(entry.saved_seconds, 3)
                return ToolResult(call.id, call.name, entry.value, cached=True, saved_seconds=saved)
            take_off(flight)
            check()
            result = call_tool(tools, call, longest=longest)
            if not result.is_error:
                entry.keep(result.content, tool.cache_ttl)
        return evolve(result, cached=False)

    def ask(
        self, model: Model, request: ModelRequest, *, name: str, ttl: float | None, check: Check
    ) -> Generator[ModelEvent, None, Reply]:
        """Ask the model, or give the events and the reply of whoever asked it the same before.

        ``name`` stands for the model; a ``ttl`` of None keeps the cache out of it. Errors, and
        replies that broke off or that a filter stopped, are not kept.
        """
        if self.cache is None or ttl is None:
            return (yield from ask(model, request))
        key = self._model_key(name, request)
        with self.cache(key, timeout=request.timeout, check=check) as entry:
            if entry.is_hit:
                reply = _kept_reply(entry)
                # Those ids may be there already, when the conversation has come to the same point.
                if not _call_ids(reply.tool_calls) & _call_ids(_calls(request.messages)):
                    if reply.text:
                        yield TextDelta(reply.text)
                    yield from reply.tool_calls
                    return reply
            reply = yield from ask(model, request)
            if reply.finish_reason in _WHOLE and (reply.text.strip() or reply.tool_calls):
                with suppress(InvalidInput):  # no JSON in a tool call: the turn will fail of it
                    entry.keep(converter.unstructure(reply), ttl)
        return evolve(reply, cached=False)

    def _tool_key(self, tool: Tool, call: ToolCall, longest: int) -> str:
        """Name the result: by the tool as models know it, the arguments, and whose it is."""
        whose = None if tool.shared else self._owner()
        arguments = canonical_arguments(tool, call.arguments)
        spec = [tool.name, tool.description, tool.parameters]
        return f"tool:{tool.name}:{_digest(spec, arguments, whose, longest)}"

    def _model_key(self, name: str, request: ModelRequest) -> str:
        tools = [asdict(tool) for tool in request.tools]
        asked = [request.system, _without_ids(request.messages), tools, request.params]
        return f"model:{name}:{_digest(name, asked, self._owner())}"

    def _owner(self) -> list[str | None]:
        """Without a user only the session itself may see again what is not shared."""
        return [self.user_id, None if self.user_id else self.session_id]


def cache_name(model: str | Model | ModelFunction) -> str:
    """Return what tells a configured model from all others: its name, or where a function is.

    Raises InvalidInput for an object that does not say, by an attribute ``name``, what it is: two
    of its kind may be set up differently. So may those that a method is of.
    """
    if isinstance(model, str):
        return model
    kind = type(model)
    if isinstance(name := getattr(model, "name", None), str) and name:
        return f"{kind.__module__}.{kind.__qualname__}:{name}"
    path = getattr(model, "__qualname__", "<")
    if "<" not in path and not ismethod(model):  # as in <lambda> and <locals>
        return f"{model.__module__}.{path}"
    raise InvalidInput(
        f"model_cache_ttl needs to know the model from others, and {model!r:.100} does not say",
        hint="give it an attribute `name`, or configure it by name",
    )


def saved_by_cache(messages: Iterable[Message]) -> tuple[int, float, int]:
    """Return how many of the messages came from the cache, and what that saved: seconds, tokens."""
    found = [message.metadata for message in messages if message.metadata.get("cached")]
    seconds = sum(float(one.get("saved_seconds", 0)) for one in found)
    return len(found), seconds, sum(int(one.get("saved_tokens", 0)) for one in found)


def _kept_reply(entry: Entry) -> Reply:
    reply = converter.structure(entry.value, Reply)
    tokens = reply.usage.total_tokens
    saved = round(entry.saved_seconds, 3)
    return evolve(reply, usage=Usage(), cached=True, saved_seconds=saved, saved_tokens=tokens)


def _without_ids(messages: Sequence[Message]) -> list[Any]:
    """Return what messages say, with calls and their results by number; nothing of when and who."""
    numbers = {call.id: number for number, call in enumerate(_calls(messages))}
    return [
        [
            message.role,
            message.content,
            [[numbers[call.id], call.name, call.arguments] for call in message.tool_calls],
            message.name,
            numbers.get(message.tool_call_id or ""),
            bool(message.metadata.get("is_error")),
            message.metadata.get("blocks"),
        ]
        for message in messages
    ]


def _calls(messages: Iterable[Message]) -> list[ToolCall]:
    return [call for message in messages for call in message.tool_calls]


def _call_ids(calls: Iterable[ToolCall]) -> set[str]:
    return {call.id for call in calls}


def _digest(*parts: object) -> str:
    return sha256(canonical_json([_FORMAT, *parts]).encode()).hexdigest()
