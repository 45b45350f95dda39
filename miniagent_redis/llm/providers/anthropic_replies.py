"""Answers of Anthropic's messages, in a stream of events or in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from ...models import Usage, new_id
from ..base import ModelEvent, ReasoningDelta, TextDelta, UnreadCall
from ..calls import read_call
from .blocks import Layout
from .counts import add_counts, anthropic_usage
from .reasons import finish_of
from .sse import EventStream

_BEGUN_BY_DELTA = ("text", "thinking")  # blocks whose beginning imitators leave out
PAUSED = "pause_turn"
"""Why a reply ended that wants to be sent back as it is, so that the model can go on with it."""


@define
class _Open:
    """A content block that is still coming in."""

    block: dict[str, Any]
    json: str = ""


@define
class AnthropicReply:
    """One reply, in as many parts as the vendor makes of it.

    ``paused`` are the blocks so far of one that wants to go on.
    """

    provider: str
    paused: list[dict[str, Any]] = field(factory=list)
    _layout: Layout = field(init=False)
    _blocks: list[dict[str, Any]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._layout = Layout(self.provider)

    def read(self, stream: EventStream, *, may_pause: bool) -> Iterator[ModelEvent]:
        """Yield the events of one part; Finish only at the end of the last.

        There may be another one behind it, if it ``may_pause``: then it is in ``paused``.
        """
        counts: dict[str, int] = {}
        told = Usage()
        blocks: dict[Any, _Open] = {}
        reason, said, is_over = "", "", False
        self.paused = []
        for event in _events(stream):
            match event.get("type"):
                case "message_start":
                    add_counts(counts, (event.get("message") or {}).get("usage"))
                    told = anthropic_usage(counts)
                    yield told  # what was asked is paid for, whatever becomes of the answer
                case "content_block_start":
                    block = dict(event["content_block"])
                    blocks[event.get("index")] = _Open(block)
                    if block.get("text"):
                        yield TextDelta(block["text"])
                    if block.get("thinking"):
                        yield ReasoningDelta(block["thinking"])
                case "content_block_delta":
                    delta = event["delta"]
                    kind = str(delta.get("type")).removesuffix("_delta")
                    if kind in _BEGUN_BY_DELTA:
                        blocks.setdefault(event.get("index"), _Open({"type": kind}))
                    if (open_block := blocks.get(event.get("index"))) is not None:
                        yield from _add(open_block, delta)
                case "content_block_stop" if event.get("index") in blocks:
                    yield from self._finished(blocks.pop(event.get("index")))
                case "message_delta":
                    add_counts(counts, event.get("usage"))
                    delta = event.get("delta") or {}
                    reason = delta.get("stop_reason") or reason
                    said = (delta.get("stop_details") or {}).get("explanation") or ""
                case "message_stop":
                    is_over = True
            yield TextDelta("")
        for open_block in blocks.values():  # that nobody closed
            yield from self._finished(open_block)
        if (is_over or stream.is_done) and not reason:  # imitators that give none
            reason = "end_turn"
        if not reason:
            return
        yield anthropic_usage(counts) - told
        if reason == PAUSED and may_pause and self._blocks:
            self.paused = list(self._blocks)
            return
        yield from self._layout.blocks()
        yield finish_of(reason, said)

    def _finished(self, open_block: _Open) -> Iterator[ModelEvent]:
        block = open_block.block
        match block["type"]:
            case "text":
                block["text"] = block.get("text") or ""
                self._layout.text(block["text"], **_added(block, "text"))
            case "tool_use":
                # Some servers send it in one piece, or without an id.
                block["id"] = block.get("id") or new_id()
                call = read_call(block["id"], block["name"], open_block.json or block.get("input"))
                self._layout.call(call.id, **_added(block, "id", "name", "input"))
                yield call
            case _:
                if open_block.json:
                    call = read_call("", block.get("name", ""), open_block.json)
                    if isinstance(call, UnreadCall):
                        return  # a tool of its own, cut off: it would not take it back
                    block["input"] = call.arguments
                self._layout.own(block)
        if block["type"] != "text" or block["text"].strip():
            self._blocks.append(block)


def _events(stream: EventStream) -> Iterator[dict[str, Any]]:
    """Yield the events; of a message that came in one piece, those that it would have been."""
    for event in stream:
        if event.get("type") != "message":
            yield event
            continue
        yield {"type": "message_start", "message": event}
        content = event.get("content") or ()
        if isinstance(content, str):  # imitators' way
            content = [{"type": "text", "text": content}]
        for index, block in enumerate(content):
            yield {"type": "content_block_start", "index": index, "content_block": block}
            yield {"type": "content_block_stop", "index": index}
        yield {"type": "message_delta", "delta": event}
        yield {"type": "message_stop"}


def _add(open_block: _Open, delta: dict[str, Any]) -> Iterator[ModelEvent]:
    block = open_block.block
    match delta.get("type"):
        case "text_delta":
            text = delta.get("text") or ""
            block["text"] = (block.get("text") or "") + text
            yield TextDelta(text)
        case "input_json_delta":
            open_block.json += delta.get("partial_json") or ""
        case "thinking_delta":
            thought = delta.get("thinking") or ""
            block["thinking"] = (block.get("thinking") or "") + thought
            yield ReasoningDelta(thought)
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]


def _added(block: dict[str, Any], *stored: str) -> dict[str, Any]:
    """Return what the vendor says of a block beside what is stored anyway, like citations."""
    return {key: value for key, value in block.items() if value and key not in ("type", *stored)}
