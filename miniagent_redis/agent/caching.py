"""What an agent takes from a cache: results of tools and replies of models, when asked the same.

Decides what the same is and what may be kept. Where it is kept, and that many who ask at once wait
for one of them, is the part of the cache that is handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from inspect import ismethod
from typing import Any, Protocol, TypeGuard

from attrs import asdict, define, evolve, frozen

from ..errors import InvalidInput, ToolError
from ..llm import ModelRequest, Reply
from ..llm.resolve import AnyModel
from ..models import Message, ToolCall, ToolResult, Usage
from ..records.converter import converter
from ..tools import Tool, ToolRegistry
from ..tools.call import CallInSteps, call_in_steps
from ..tools.canonical import canonical_arguments, canonical_json
from .turn_context import TurnContext

log: logging.Logger = logging.getLogger("miniagent_redis")
_FORMAT = 1  # of what is kept; another one never meets this one's entries
_WHOLE = ("stop", "tool_calls")

Check = Callable[[], object]


def _says_something(reply: Reply) -> bool:
    return reply.says_something


class Lookup(Protocol):
    """A look for a value that may be kept: it is there, or the caller computes it as others wait.

    ``saved_seconds`` is how much sooner a value is there than by computing it.
    """

    is_hit: bool
    value: Any
    saved_seconds: float

    def begin(self) -> object:
        """Find the value, waiting while somebody else computes it, or take it on to compute."""
        ...

    def keep(self, value: Any, ttl: float) -> None:
        """Keep the computed JSON value for up to ``ttl`` seconds; raises InvalidInput."""
        ...

    def end(self) -> None:
        """Let those who wait go on. Twice is fine, and so is another thread."""
        ...


class Lookups(Protocol):
    """Makes a lookup of a key, whose ``begin`` waits up to ``timeout`` seconds (None: for ever).

    ``check`` is called now and then while it waits, to raise when the value is not wanted any more.
    ``begin`` must not fail for a reason of its own: then the value is one to compute.
    """

    def __call__(self, key: str, *, timeout: float | None, check: Check) -> Lookup: ...


@define
class ReplyLookup:
    """A look for a reply that was given before. ``reply`` is it, or None: ask the model.

    Without a lookup, which is without a cache, there is none and nothing is kept.
    """

    reply: Reply | None = None
    _lookup: Lookup | None = None
    _ttl: float = 0.0
    _wanted: Callable[[Reply], bool] = _says_something

    def keep(self, reply: Reply) -> Reply:
        """Keep what the model gave, unless it broke off or a filter stopped it; return it."""
        if self._lookup is None:
            return reply
        is_sound = reply.finish_reason in _WHOLE and _says_something(reply) and not reply.unread
        if is_sound and self._wanted(reply):
            with suppress(InvalidInput):  # no JSON in a block: the turn will fail of it
                self._lookup.keep(converter.unstructure(reply), self._ttl)
        return evolve(reply, cached=False)

    def end(self) -> None:
        """Let others ask who wait for this reply."""
        if self._lookup is not None:
            self._lookup.end()


@frozen
class TurnCache:
    """The cache as one turn uses it; without ``lookups``, nothing is looked up or kept.

    A reply that is not ``wanted`` is not kept. ``by_session``: the model knows which one it is in.
    """

    lookups: Lookups | None
    turn: TurnContext
    wanted: Callable[[Reply], bool] = _says_something
    by_session: bool = False

    def call_in_steps(
        self,
        tools: ToolRegistry,
        call: ToolCall,
        *,
        longest: int,
        check: Check,
        hold: Callable[[Lookup], None],
    ) -> CallInSteps:
        """Come to the result of the call, computed by this turn or another; never an old error.

        ``check`` ends the waiting for another one; there is no other end to it. ``hold`` is given
        the lookup that others wait for when the tool is about to run: to end if it takes too long.
        """
        tool, context = tools.get(call.name), partial(self.turn.tool_context, call.id)
        if self.lookups is None or tool is None or tool.cache_ttl is None:
            return (yield from call_in_steps(tools, call, longest=longest, context=context))
        try:
            key = self._tool_key(tool, call, longest)
        except ToolError:  # which the call will tell
            return (yield from call_in_steps(tools, call, longest=longest, context=context))
        lookup = self.lookups(key, timeout=None, check=check)
        try:
            lookup.begin()
            if lookup.is_hit and _is_content(lookup.value):
                saved = round(lookup.saved_seconds, 3)
                return ToolResult(
                    call.id, call.name, lookup.value, cached=True, saved_seconds=saved
                )
            hold(lookup)
            check()
            result = yield from call_in_steps(tools, call, longest=longest, context=context)
            if not result.is_error and result.asks is None:
                lookup.keep(result.content, tool.cache_ttl)
        finally:
            lookup.end()
        return evolve(result, cached=False)

    def look_up_reply(
        self, request: ModelRequest, *, name: str, ttl: float | None, check: Check
    ) -> ReplyLookup:
        """Look for the reply that somebody got who asked the same; end what this returns.

        ``name`` stands for the model; a ``ttl`` of None keeps the cache out of it. Waits while
        somebody else asks it, up to the request's ``timeout``.
        """
        if self.lookups is None or ttl is None:
            return ReplyLookup()
        key = self._model_key(name, request)
        lookup = self.lookups(key, timeout=request.timeout, check=check)
        lookup.begin()
        try:
            reply = _kept_reply(lookup) if lookup.is_hit else None
            # Those ids may be there already, when the conversation has come to the same point.
            if reply and _call_ids(reply.tool_calls) & _call_ids(_calls(request.messages)):
                reply = None
        except BaseException:
            lookup.end()
            raise
        return ReplyLookup(reply, lookup, ttl, self.wanted)

    def _tool_key(self, tool: Tool, call: ToolCall, longest: int) -> str:
        """Name the result: by the tool as models know it, the arguments, and whose it is."""
        whose = None if tool.shared else self._owner()
        if tool.takes_context:  # which differs by session
            whose = [self.turn.user_id, self.turn.session_id]
        arguments = canonical_arguments(tool, call.arguments)
        spec = [tool.name, tool.description, tool.parameters]
        return f"tool:{tool.name}:{_digest(spec, arguments, whose, longest)}"

    def _model_key(self, name: str, request: ModelRequest) -> str:
        tools = [asdict(tool) for tool in request.tools]
        asked = [request.system, _without_ids(request.messages), tools, request.params]
        if request.output is not None:
            asked.append(asdict(request.output))
        whose = [self.turn.user_id, self.turn.session_id] if self.by_session else self._owner()
        return f"model:{name}:{_digest(name, asked, whose)}"

    def _owner(self) -> list[str | None]:
        """Without a user only the session itself may see again what is not shared."""
        turn = self.turn
        return [turn.user_id, None if turn.user_id else turn.session_id]


def cache_name(model: AnyModel) -> str:
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


def _is_content(value: object) -> TypeGuard[str | list[dict[str, Any]]]:
    """Whether this can be what a tool gave; somebody may have put anything there."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, dict) for part in value)
    return isinstance(value, str)


def _kept_reply(lookup: Lookup) -> Reply | None:
    """Return the reply that is kept, or None for anything else that somebody put there."""
    try:
        if not isinstance(lookup.value.get("text", ""), str):
            raise TypeError("its text is none")
        reply = converter.structure(lookup.value, Reply)
        if not _says_something(reply):
            raise ValueError("it says nothing")
    except Exception as exc:
        log.warning("an entry of the cache is no reply of a model, which is asked: %r", exc)
        return None
    tokens = reply.usage.total_tokens
    saved = round(lookup.saved_seconds, 3)
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
