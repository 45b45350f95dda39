"""The events of AG-UI, version 1.0, as ``@ag-ui/client`` reads them.

A turn is a run, or several: one that waits for an approval ends its run with an interrupt, one that
waits for the page's own tools ends it with success, and the answers begin the next run.
Protocol: https://docs.ag-ui.com/concepts/events
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .fold import Part, TurnFold
from .wire import Json, output_text, question_id, usage_object

VERSION = "1.0"
APPROVAL_FORM: Json = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}
"""What the answer to an interrupt has to look like."""


class RunFold(TurnFold):
    """Folds the events of a turn into those of one of its runs.

    ``history`` are the messages of the thread so far, if the page is to be told them.
    """

    def __init__(
        self, turn_id: str, thread_id: str, run_id: str, *, history: Any = None, **more: Any
    ) -> None:
        super().__init__(turn_id, **more)
        self._where = {"threadId": thread_id, "runId": run_id}
        self._history = history
        self._open: list[Json] = []

    def begin(self) -> None:
        self.send("RUN_STARTED", **self._where, protocolVersion=VERSION)
        if self._history is not None:
            self.send("MESSAGES_SNAPSHOT", messages=self._history)

    def show(self) -> list[Json]:
        """Return a run in which nothing is done, but the history told."""
        self.begin()
        self.send("RUN_FINISHED", **self._where, outcome={"type": "success"})
        return self._told

    def begin_step(self) -> None:
        self.send("STEP_STARTED", stepName=f"reply {self.step}")

    def end_step(self) -> None:
        self.send("STEP_FINISHED", stepName=f"reply {self.step}")

    def begin_part(self, kind: Part, part_id: str) -> None:
        if kind == "reasoning":
            self.send("REASONING_START", messageId=part_id)
            self.send("REASONING_MESSAGE_START", messageId=part_id, role="reasoning")
        else:
            self.send("TEXT_MESSAGE_START", messageId=part_id, role="assistant")

    def say(self, kind: Part, part_id: str, piece: str) -> None:
        what = "REASONING_MESSAGE" if kind == "reasoning" else "TEXT_MESSAGE"
        self.send(f"{what}_CONTENT", messageId=part_id, delta=piece)

    def end_part(self, kind: Part, part_id: str) -> None:
        if kind == "reasoning":
            self.send("REASONING_MESSAGE_END", messageId=part_id)
            self.send("REASONING_END", messageId=part_id)
        else:
            self.send("TEXT_MESSAGE_END", messageId=part_id)

    def call(self, call: Json) -> None:
        call_id, text = call["id"], json.dumps(call.get("arguments", {}), ensure_ascii=False)
        self.send(
            "TOOL_CALL_START",
            toolCallId=call_id,
            toolCallName=call["name"],
            parentMessageId=self.reply_id,
        )
        self.send("TOOL_CALL_ARGS", toolCallId=call_id, delta=text)
        self.send("TOOL_CALL_END", toolCallId=call_id)

    def result(self, result: Json, call: Json | None) -> None:
        call_id = str(result["id"])
        self._open = [one for one in self._open if one["id"] != call_id]
        self.send(
            "TOOL_CALL_RESULT",
            messageId=result_id(self.turn_id, call_id),
            toolCallId=call_id,
            content=output_text(result["content"]),
            role="tool",
        )

    def ask(self, calls: Sequence[Json]) -> None:
        self._open = list(calls)

    def end(self, reason: str) -> None:
        if self.title:
            self.send("CUSTOM", name="miniagent.title", value={"title": self.title})
        more: Json = {"outcome": self._outcome(reason), "result": {"finishReason": reason}}
        if self.usage is not None:
            written = self.usage.cache_write_tokens
            more["usage"] = [{**usage_object(self.usage), "cacheWriteInputTokens": written}]
        self.send("RUN_FINISHED", **self._where, **more)

    def fail(self, code: str, words: str) -> None:
        self.send("RUN_ERROR", message=words, code=code)

    def send(self, kind: str, **data: Any) -> None:
        super().send(kind, **data, timestamp=int(self.at * 1000))

    def _outcome(self, reason: str) -> Json:
        if reason == "cancelled":
            return {"type": "cancelled"}
        asked = [call for call in self._open if call.get("waits_for") != "result"]
        if asked:
            return {"type": "interrupt", "interrupts": [self._interrupt(call) for call in asked]}
        pending = [call["id"] for call in self._open]
        return {"type": "success", **({"pendingToolCallIds": pending} if pending else {})}

    def _interrupt(self, call: Json) -> Json:
        known_as = question_id(self.turn_id, str(call["id"]))
        if call.get("waits_for") == "input":
            question = call["question"]
            return {
                "id": known_as,
                "reason": "input_required",
                "message": question["message"],
                "toolCallId": call["id"],
                "responseSchema": question.get("schema", {}),
                **({"metadata": {"url": question["url"]}} if question.get("url") else {}),
            }
        return {
            "id": known_as,
            "reason": "tool_call",
            "message": f"May {call['name']} be run?",
            "toolCallId": call["id"],
            "responseSchema": APPROVAL_FORM,
        }


def result_id(turn_id: str, call_id: str) -> str:
    """Return the id of the message that a tool's result is."""
    return f"{turn_id}-{call_id}"
