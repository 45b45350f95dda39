"""The UI message stream of Vercel's AI SDK, version 1, as its ``DefaultChatTransport`` reads it.

A turn is one message, also if it was parked in between: what comes behind an answer goes on with
it. Tools of the agent are marked as run elsewhere, so that a page does not run them.
Protocol: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from .fold import Part, TurnFold
from .wire import Json, is_denied, output_text, question_id, usage_object

HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
END = b"data: [DONE]\n\n"
_MESSAGE = "msg-"
_REASONS = {
    "stop": "stop",
    "max_steps": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "waiting": "tool-calls",
}


class MessageFold(TurnFold):
    """Folds the events of a turn into chunks.

    ``theirs`` tells of a tool's name whether the page runs it, and ``answered`` are ids of calls
    that are answered by now: a page that hears of them again does not run them again.
    """

    def __init__(
        self,
        turn_id: str,
        *,
        theirs: Callable[[str], bool] = lambda name: False,
        answered: Collection[str] = (),
        **more: Any,
    ) -> None:
        super().__init__(turn_id, **more)
        self._theirs = theirs
        self._answered = frozenset(answered)

    def begin(self) -> None:
        about = {"turnId": self.turn_id, "createdAt": int(self.at * 1000)}
        self.send("start", messageId=message_id(self.turn_id), messageMetadata=about)

    def begin_step(self) -> None:
        self.send("start-step")

    def end_step(self) -> None:
        self.send("finish-step")

    def begin_part(self, kind: Part, part_id: str) -> None:
        self.send(f"{kind}-start", id=part_id)

    def say(self, kind: Part, part_id: str, piece: str) -> None:
        self.send(f"{kind}-delta", id=part_id, delta=piece)

    def end_part(self, kind: Part, part_id: str) -> None:
        self.send(f"{kind}-end", id=part_id)

    def call(self, call: Json) -> None:
        arguments = call.get("arguments", {})
        tool = {"toolCallId": call["id"], "toolName": call["name"]}
        if not self._theirs(str(call["name"])):
            tool["providerExecuted"] = True
        self.send("tool-input-start", **tool)
        text = json.dumps(arguments, ensure_ascii=False)
        self.send("tool-input-delta", toolCallId=call["id"], inputTextDelta=text)
        if call["id"] not in self._answered:
            self.send("tool-input-available", **tool, input=arguments)

    def result(self, result: Json, call: Json | None) -> None:
        call_id, content = result["id"], result["content"]
        if is_denied(result, call):
            self.send("tool-output-denied", toolCallId=call_id)
        elif result.get("is_error"):
            self.send("tool-output-error", toolCallId=call_id, errorText=output_text(content))
        else:
            self.send("tool-output-available", toolCallId=call_id, output=as_data(content))

    def ask(self, calls: Sequence[Json]) -> None:
        for call in calls:
            if call.get("waits_for") == "approval":
                self.send(
                    "tool-approval-request",
                    approvalId=question_id(self.turn_id, str(call["id"])),
                    toolCallId=call["id"],
                )
            elif call.get("waits_for") == "input":
                question = {"toolCallId": call["id"], "toolName": call["name"], **call["question"]}
                self.send("data-question", id=call["id"], data=question)

    def end(self, reason: str) -> None:
        about: Json = {"finishReason": reason}
        if self.usage is not None:
            about["usage"] = usage_object(self.usage)
        if self.title:
            self.send("data-title", data={"title": self.title}, transient=True)
        if reason == "cancelled":
            self.send("message-metadata", messageMetadata=about)
            self.send("abort", reason=reason)
        else:
            told = _REASONS.get(reason, "other")
            self.send("finish", finishReason=told, messageMetadata=about)

    def fail(self, code: str, words: str) -> None:
        self.send("error", errorText=words)
        self.send("finish", finishReason="error", messageMetadata={"finishReason": code})


def message_id(turn_id: str) -> str:
    """Return the id of the message that a turn is."""
    return _MESSAGE + turn_id


def turn_of(given: object) -> str | None:
    """Return the turn of which a message has this id; None for the id of another one."""
    if not isinstance(given, str) or not given.startswith(_MESSAGE):
        return None
    return given.removeprefix(_MESSAGE) or None


def as_data(content: object) -> object:
    """Return what a tool gave: as data, if its text is a JSON object or array."""
    if isinstance(content, str) and content[:1] in ("{", "["):
        try:
            return json.loads(content)
        except ValueError:
            return content
    return content
