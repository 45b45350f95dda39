"""What a stream tells of calls: those that the agent ran, and those that others answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import items
from .items import Json

Told = tuple[str, Json]
"""The kind of an event of the wire, and its members."""
ADDED, DONE = "response.output_item.added", "response.output_item.done"


def own_call(item_id: str, index: int, call: Mapping[str, Any], result: Json) -> Iterator[Told]:
    """Yield what is told of a call that the agent ran, once its result is there."""
    done = items.own_call(item_id, call, result)
    kind, where = "response.mcp_call", {"item_id": item_id, "output_index": index}
    yield ADDED, {"output_index": index, "item": items.own_call(item_id, call, None)}
    yield f"{kind}.in_progress", where
    yield f"{kind}_arguments.done", {**where, "arguments": done["arguments"]}
    yield f"{kind}.{done['status']}", where
    yield DONE, {"output_index": index, "item": done}


def approval_request(item_id: str, index: int, call: Mapping[str, Any]) -> Iterator[Told]:
    """Yield what is told of a call that somebody has to approve."""
    request = items.approval_request(item_id, call)
    yield ADDED, {"output_index": index, "item": request}
    yield DONE, {"output_index": index, "item": request}


def function_call(item_id: str, index: int, call: Mapping[str, Any]) -> Iterator[Told]:
    """Yield what is told of a call that the client runs."""
    done = items.function_call(item_id, call)
    kind, arguments = "response.function_call_arguments", done["arguments"]
    where = {"item_id": item_id, "output_index": index}
    begun = items.function_call(item_id, call, "in_progress")
    yield ADDED, {"output_index": index, "item": begun}
    yield f"{kind}.delta", {**where, "delta": arguments}
    yield f"{kind}.done", {**where, "name": done["name"], "arguments": arguments}
    yield DONE, {"output_index": index, "item": done}
