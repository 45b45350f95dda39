"""Chat Completions: what the events of a response are there, as chunks, and as one object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .ids import COMPLETION, ResponseId
from .items import Json

_FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}


def completion(response: ResponseId, made: Json, **more: Any) -> Json:
    """Return the object that a response is as a chat completion."""
    calls = [_call(item) for item in made["output"] if item["type"] == "function_call"]
    said: Json = {
        "role": "assistant",
        "content": text_of(made["output"]) or (None if calls else ""),
        "refusal": None,
        "annotations": [],
    }
    if calls:
        said["tool_calls"] = calls
    if thought := reasoning_of(made["output"]):
        said["reasoning_content"] = thought  # as DeepSeek's API has it, and those behind it
    return {
        "id": COMPLETION + response.token,
        "object": "chat.completion",
        "created": made["created_at"],
        "model": made["model"],
        "choices": [
            {
                "index": 0,
                "message": said,
                "logprobs": None,
                "finish_reason": _finish_reason(made, bool(calls)),
            }
        ],
        "usage": _usage(made),
        "service_tier": "default",
        **more,
    }


def chunks(
    response: ResponseId, told: Iterable[Json | None], *, include_usage: bool = False
) -> Iterator[Json | None]:
    """Yield the chunks that a response's events are; None, for silence, stays what it is."""
    begun: Json = {}
    calls = 0
    for event in told:
        if event is None:
            yield None
            continue
        kind = event["type"]
        if kind == "response.created":
            made = event["response"]
            begun = {
                "id": COMPLETION + response.token,
                "object": "chat.completion.chunk",
                "created": made["created_at"],
                "model": made["model"],
                "service_tier": "default",
            }
            yield _chunk(begun, {"role": "assistant", "content": "", "refusal": None})
        elif kind == "response.output_text.delta":
            yield _chunk(begun, {"content": event["delta"]})
        elif kind == "response.reasoning_summary_text.delta":
            yield _chunk(begun, {"reasoning_content": event["delta"]})
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            yield _chunk(begun, {"tool_calls": [{"index": calls, **_call(event["item"])}]})
            calls += 1
        elif kind in ("response.completed", "response.incomplete"):
            made = event["response"]
            yield _chunk(begun, {}, _finish_reason(made, calls > 0))
            if include_usage:
                yield {**begun, "choices": [], "usage": _usage(made)}
        elif kind == "response.failed":
            error = event["response"]["error"]
            yield {"error": {**error, "type": "server_error", "param": None}}


def _chunk(begun: Json, delta: Json, finish_reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**begun, "choices": [choice]}


def text_of(output: Iterable[Json]) -> str:
    """Return the text of the answers among the items of an output."""
    return "".join(
        part["text"]
        for item in output
        if item["type"] == "message" and item["status"] != "in_progress"
        for part in item["content"]
    )


def reasoning_of(output: Iterable[Json]) -> str:
    """Return what the model deliberated, among the items of an output."""
    thoughts = [part["text"] for item in output for part in item.get("summary", ())]
    return "\n\n".join(thoughts)


def _call(item: Json) -> Json:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _finish_reason(made: Json, has_calls: bool) -> str:
    if made["status"] == "incomplete":
        return _FINISH.get(made["incomplete_details"]["reason"], "stop")
    return "tool_calls" if has_calls else "stop"


def _usage(made: Json) -> Json | None:
    usage = made["usage"]
    if usage is None:
        return None
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": usage["input_tokens_details"]["cached_tokens"],
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage["output_tokens_details"]["reasoning_tokens"],
            "audio_tokens": 0,
        },
    }
