"""What of a stored thread is sent to the model: always a conversation that models accept.

Where there is not room for all of it the cut is between exchanges: the message of a user, and all
that came of it until the next. context.py says how much room there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, takewhile

from attrs import evolve, frozen

from ..models import Message
from ..models.inquiry import is_inquiry

SUMMARY = "summary"
"""In the metadata of a system message that sums up others: what it covers."""


def is_summary(message: Message) -> bool:
    """Whether it sums up other messages: it is not sent where it stands."""
    return message.role == "system" and SUMMARY in message.metadata


@frozen
class Cut:
    """What is left out behind a thread's opening: all before ``start``, the id of a message.

    Of the exchanges that begin with the messages ``bare`` their tool calls and results are, too.
    """

    start: str
    bare: tuple[str, ...] = ()


class History(list[Message]):
    """The messages of a thread, oldest first: a list that grows only at its end, by whole turns.

    What of it models are sent is worked out once for each message, however many turns there are.
    """

    __slots__ = ("_looked_at", "_summed_up")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        super().__init__(messages)
        self._looked_at: tuple[int, tuple[Message, ...]] = 0, ()
        self._summed_up: tuple[int, tuple[Message, ...]] = 0, ()

    def conversation(self) -> tuple[Message, ...]:
        """Return what the function of the same name does, of all that is here by now."""
        count, known = self._looked_at
        if count < len(self):
            new = self[count:]
            known += conversation(new)
            self._looked_at = count + len(new), known
        return known

    def summaries(self) -> tuple[Message, ...]:
        """Return the messages that sum up others, the newest first."""
        count, known = self._summed_up
        if count < len(self):
            new = self[count:]
            known = (*filter(is_summary, reversed(new)), *known)
            self._summed_up = count + len(new), known
        return known


def conversation(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages such that each tool call is followed by its result, in their order.

    Results come stored in the order in which they finished, so they are sorted by their calls.
    A result without its call, or a call without its result, is left out: that happens only when
    a record between them could not be read. An answer that was interrupted is marked; what sums up
    others, and what a tool asked the user, is left out. O(n).
    """
    if not any(_is_special(message) for message in messages):
        return tuple(messages)
    view: list[Message] = []
    index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        if not message.tool_calls:
            if message.role != "tool" and not is_summary(message):
                view.append(_marked(message) if "interrupted" in message.metadata else message)
            continue
        results: dict[str | None, Message] = {}
        while index < len(messages) and messages[index].role == "tool":
            if not is_inquiry(messages[index]):
                results.setdefault(messages[index].tool_call_id, messages[index])
            index += 1
        view.extend(_exchange(message, results))
    return tuple(view)


def _is_special(message: Message) -> bool:
    return (
        message.role in ("tool", "system")
        or bool(message.tool_calls)
        or "interrupted" in message.metadata
    )


def _marked(message: Message) -> Message:
    """Tell the model that it did not say more than this, and was not heard to the end."""
    return evolve(message, content=f"{message.text}\n[interrupted]".strip())


def _exchange(message: Message, results: dict[str | None, Message]) -> list[Message]:
    """Return a message with calls and its results, as far as they go together."""
    pairs = [(call, results.pop(call.id)) for call in message.tool_calls if call.id in results]
    if len(pairs) < len(message.tool_calls):
        message = evolve(message, tool_calls=tuple(call for call, _ in pairs))
    if not pairs and not message.content:
        return []
    return [message, *(result for _, result in pairs)]


def opening(history: Sequence[Message]) -> tuple[Message, ...]:
    """Return the system messages that the thread begins with: they are never cut off."""
    return tuple(takewhile(lambda m: m.role == "system" and not is_summary(m), history))


def is_said(message: Message) -> bool:
    """Whether a message stays even where an exchange goes without its tool calls and results."""
    return message.role != "tool" and not message.tool_calls


def newest(history: Sequence[Message], take: Callable[[Sequence[Message]], bool]) -> Cut:
    """Return the cut that leaves as many of the newest exchanges as there is room for.

    ``take`` tells if there is room for some messages, beside those for which it said so before.
    An exchange that is too long goes without its tool calls and their results; the first that is
    too long even so, and all before it, are left out.
    """
    start, bare = "", []
    for exchange in _exchanges(history, 0):
        if not take(exchange):
            if exchange[0].role != "user" or not take(list(filter(is_said, exchange))):
                break
            bare.append(exchange[0].id)
        start = exchange[0].id
    return Cut(start, tuple(bare))


def fits(
    history: Sequence[Message], cut: Cut | None, take: Callable[[Sequence[Message]], bool]
) -> bool:
    """Whether there is room for all that the cut leaves, of a history that may have grown since."""
    first = _first(history, cut)
    return first is not None and all(map(take, _left(history, first, cut)))


def left(history: Sequence[Message], cut: Cut | None) -> tuple[Message, ...]:
    """Return what the cut leaves, as a conversation that models accept."""
    first = _first(history, cut)
    exchanges = [] if first is None else list(_left(history, first, cut))
    return conversation([*chain.from_iterable(reversed(exchanges))])


def is_there(history: Sequence[Message], cut: Cut) -> bool:
    """Whether the message is there at which the cut is."""
    return _first(history, cut) is not None


def _first(history: Sequence[Message], cut: Cut | None) -> int | None:
    """Return the index of the first message that is left; None if it is not there."""
    if cut is None:
        return 0
    for index in range(len(history) - 1, -1, -1):
        if history[index].id == cut.start:
            return index
    return None


def _left(history: Sequence[Message], first: int, cut: Cut | None) -> Iterator[Sequence[Message]]:
    bare = () if cut is None else cut.bare
    for exchange in _exchanges(history, first):
        is_bare = exchange[0].id in bare
        yield list(filter(is_said, exchange)) if is_bare else exchange


def _exchanges(messages: Sequence[Message], first: int) -> Iterator[Sequence[Message]]:
    """Yield the exchanges from message ``first`` on, newest first.

    What no user began, at the start of the thread, comes last and in one piece.
    """
    end = len(messages)
    for index in range(end - 1, first - 1, -1):
        if messages[index].role == "user" or index == first:
            yield [message for message in messages[index:end] if not is_summary(message)]
            end = index
