"""The demo model: offline and deterministic, it answers from the messages it is given.

It knows names, what was said before, and how to ask the tool ``calculator`` for sums: enough to
see sessions, history, streaming and tool calls at work without an account anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from ..models import Message, ToolCall, Usage
from .base import Finish, ModelEvent, ModelRequest, TextDelta
from .sample import sample
from .text import estimate_input, estimate_tokens, words

CALCULATOR = "calculator"
_LOOKED_AT = 2_000  # characters of a message: what it asks for is said early, and regexes are slow
_QUOTED = 500  # characters of a message that are said again

_NAME = r"([^\W\d_][\w'-]*(?: [A-Z][\w'-]*){0,2})"
_CALLED = re.compile(rf"(?:(?<!what )\b[Mm]y name(?: is|'s)|\b[Cc]all me) {_NAME}")
_I_AM = re.compile(rf"\bI(?: am|'m) {_NAME}")  # an introduction only before a capital letter
_NO_NAMES = {"a", "an", "the", "not", "please", "now", "back", "later", "when", "if", "what", "ok"}
_ASKS_NAME = re.compile(r"\bwhat(?:'s|s| is)? my name\b|\bmy name\?|\bwho am i\b", re.I)
_ASKS_LAST = re.compile(
    r"\b(?:what did i (?:just )?(?:say|write|tell you)|what i (?:just )?said"
    r"|(?:last|previous) message)\b",
    re.I,
)
_ASKS_COUNT = re.compile(r"\bhow many messages\b", re.I)
_ASKS_SUM = re.compile(
    r"\b(?:what(?:'s|s| is| are| does)|how much is|calculate|compute|work out|evaluate)\b"
    r"|^[^a-z]*$|=",
    re.I,
)
_GREETS = re.compile(r"^\W*(?:hello|hi|hey|greetings|good (?:morning|day|evening))\b", re.I)
_ASKS_ABOUT = re.compile(r"\b(?:who|what) are you\b|\bwhat can you\b|^\W*help\b", re.I)
_THANKS = re.compile(r"\b(?:thanks|thank you|thx)\b", re.I)
_LEAVES = re.compile(r"^\W*(?:goodbye|bye|see you|good night)\b", re.I)

_SIGNS = str.maketrans({"\u2019": "'", "\u2212": "-", "\u00d7": "*", "\u00f7": "/", "^": "**"})
_SPOKEN = (
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\btimes\b|\bmultiplied by\b|(?<=\d) ?x ?(?=\d)", "*"),
    (r"\bdivided by\b|\bover\b", "/"),
    (r"\bto the power of\b", "**"),
    (r"(?<=\d) ?(?:%|percent) of\b", " / 100 *"),
    (r"(?<=\d),(?=\d{3}\b)", ""),
)
_SUM = re.compile(r"[-+(]*[\d.][\d\s.+\-*/%()]*")
_OPERATION = re.compile(r"[\d.)]\s*[-+*/%]+\s*[-+(]*\s*[\d.]")

_ABOUT = (
    "I am the demo model: I run offline and only know a few things. "
    'Tell me "My name is Ada", then ask "What is my name?" or "What did I just say?", '
    'or give me a sum such as "What is 12 * (3 + 4)?"'
)
_ABOUT_AGAIN = "That is beyond a demo model: I am good with names, sums and what you said before."


class DemoModel:
    """Answer simple questions from the conversation itself; sums through a ``calculator`` tool."""

    answers_at_once = True
    takes_output = True

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        answer = _answer(request)
        if request.output is not None and isinstance(answer, str):
            answer = json.dumps(sample(request.output.schema, answer), ensure_ascii=False)
        if isinstance(answer, ToolCall):
            yield answer
            output, reason = str(answer.arguments), "tool_calls"
        else:
            for word in words(answer):
                yield TextDelta(word)
            output, reason = answer, "stop"
        yield Usage(estimate_input(request), estimate_tokens(output))
        yield Finish(reason)


def _answer(request: ModelRequest) -> str | ToolCall:
    messages = request.messages
    if messages and messages[-1].role == "tool":
        return _tell_result(messages)
    said = [message for message in messages if message.role == "user"]
    text = _start(said[-1]) if said else ""
    if not text:
        return "I can only read text, and there is none in your message." if said else _ABOUT
    if _ASKS_NAME.search(text):
        name = _last_name(said)
        return f"Your name is {name}." if name else "You have not told me your name yet."
    if _ASKS_LAST.search(text):
        return f"You said: “{_quote(said[-2])}”" if len(said) > 1 else "This is your first message."
    if _ASKS_COUNT.search(text):
        count = sum(message.role in ("user", "assistant") for message in messages)
        return f"With yours there {'are' if count > 1 else 'is'} {_number(count, 'message')} here."
    if expression := _sum_in(text):
        if any(tool.name == CALCULATOR for tool in request.tools):
            # The id follows from the place in the conversation: same input, same output.
            return ToolCall(f"call_{len(messages)}", CALCULATOR, {"expression": expression})
        return f"I would need a tool named “{CALCULATOR}” to work out {expression}."
    return _small_talk(text, messages, said)


def _small_talk(text: str, messages: Sequence[Message], said: Sequence[Message]) -> str:
    if name := _name_in(text):
        return f"Hello, {name}!"
    if _GREETS.search(text):
        name = _last_name(said)
        return f"Hello, {name}!" if name else "Hello! I am the demo model. What is your name?"
    if _THANKS.search(text):
        return "You are welcome!"
    if _LEAVES.search(text):
        return "Goodbye!"
    if _ASKS_ABOUT.search(text):
        return _ABOUT
    told = any(message.role == "assistant" and message.text == _ABOUT for message in messages)
    return _ABOUT_AGAIN if told else _ABOUT


def _tell_result(messages: Sequence[Message]) -> str:
    result = messages[-1]
    if result.name != CALCULATOR:
        return f"The tool {result.name} says: {_quote(result)}"
    calls = [call for message in messages[-10:] for call in message.tool_calls]
    asked = next((call for call in reversed(calls) if call.id == result.tool_call_id), None)
    expression = str(asked.arguments.get("expression")) if asked else "The result"
    if result.metadata.get("is_error"):
        return f"I could not work out {expression}: {_quote(result)}"
    return f"{expression} = {_quote(result)}"


def _start(message: Message) -> str:
    return message.text[:_LOOKED_AT].strip().translate(_SIGNS)


def _quote(message: Message) -> str:
    text = message.text.strip()
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")


def _name_in(text: str) -> str | None:
    for pattern in (_CALLED, _I_AM):
        found = pattern.search(text)
        if found is None or found[1].lower() in _NO_NAMES:
            continue
        if pattern is _CALLED or not found[1][0].islower():
            return found[1]
    return None


def _last_name(said: Sequence[Message]) -> str | None:
    return next(filter(None, (_name_in(_start(message)) for message in reversed(said))), None)


def _sum_in(text: str) -> str | None:
    if not _ASKS_SUM.search(text):
        return None
    for pattern, sign in _SPOKEN:
        text = re.sub(pattern, sign, text, flags=re.I)
    for found in _SUM.finditer(text):
        expression = found[0].strip().rstrip(".")
        if _OPERATION.search(expression):
            return expression
    return None
