"""What a model is: one method that streams events, and the data that goes in and comes out.

A model answers by a stream of TextDelta, ReasoningDelta, ContentPart, ToolCall (or UnreadCall),
Block and Usage events in any order and number, and then one Finish, which is mandatory and last:
without it nobody could tell an answer from the beginning of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from attrs import field, frozen

from ..models import Message, ToolCall, Usage


@frozen
class ToolSpec:
    """A tool as a model is told of it. ``parameters`` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


@frozen
class OutputSpec:
    """The form that an answer must have: a JSON schema, and a name for it."""

    name: str
    schema: dict[str, Any]


@frozen
class ModelRequest:
    """One question to a model.

    ``messages`` are a valid conversation, oldest first: each tool call is followed by its result.
    ``params`` holds ``temperature`` and ``max_tokens`` where they were set. ``timeout`` is in
    seconds, for each wait on the network; ``first_timeout``, if it is set, for those before the
    first of the answer. ``session_id`` and ``user_id`` say on whose behalf.
    ``output`` is the form that the answer must have, once the model calls no more tools; unless the
    model says that it ``takes_output``, ``system`` tells it too.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    system: str | None = None
    params: dict[str, Any] = field(factory=dict)
    timeout: float | None = None
    session_id: str | None = None
    user_id: str | None = None
    output: OutputSpec | None = None
    first_timeout: float | None = None

    @property
    def longest_wait(self) -> float | None:
        """How long the first of the answer may take, in seconds."""
        return self.timeout if self.first_timeout is None else self.first_timeout


@frozen
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@frozen
class ReasoningDelta:
    """The next piece of what the model deliberates before it answers, or of a summary of that.

    It is shown, and is no part of the answer. What the vendor wants back of it is in a Block.
    """

    text: str


@frozen
class ContentPart:
    """A part of the answer that is no text, such as a picture: as in ``Message.content``."""

    part: dict[str, Any]


@frozen
class UnreadCall:
    """A call whose arguments are no JSON object: it is not run, and the model is told to mend it.

    ``sent`` is what the model sent for them, ``why`` what is wrong with that.
    """

    id: str
    name: str
    sent: str
    why: str


@frozen
class Block:
    """Something of a reply that only its own provider understands: reasoning, a signature.

    ``data``, a JSON object, is stored with the reply, as ``{"provider": …, "data": …}`` in the list
    ``metadata["blocks"]``, and so comes back unchanged. Models of another provider pass over it.
    """

    provider: str
    data: dict[str, Any]


@frozen
class Finish:
    """The end of the answer.

    ``reason`` is ``stop``, ``tool_calls``, ``length`` (``max_tokens`` was reached),
    ``content_filter``, ``malformed_call`` (the vendor could not read a call, and dropped it) or
    the vendor's own word. ``detail`` is what the vendor said of it, if it said more. A call in an
    answer that ended by ``length`` or ``content_filter`` is not run.
    """

    reason: str = "stop"
    detail: str = ""


ModelEvent = (
    TextDelta | ReasoningDelta | ContentPart | ToolCall | UnreadCall | Block | Usage | Finish
)


class Model(Protocol):
    """Anything that answers. One instance serves many threads at once.

    An agent asks it in a thread of its own for each answer, up to 64 events ahead of who takes
    them, so that a turn that is cancelled can leave one that keeps silent. One that never does may
    say so, and save that thread, by an attribute ``answers_at_once`` that is true. One that heeds
    ``ModelRequest.output`` by itself has an attribute ``takes_output`` that is true: others are
    told the schema in the system prompt.
    """

    def stream(self, request: ModelRequest) -> Iterable[ModelEvent]:
        """Answer piece by piece; a generator is closed when nobody wants the rest.

        Any exception means that the answer failed; those that are no MiniAgentError reach the
        caller as ModelError. Several Usage events add up.
        """
        ...
