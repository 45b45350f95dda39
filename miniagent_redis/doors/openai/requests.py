"""Requests for a response or a chat completion, read and checked, in one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .answer_schema import answer_form
from .checks import (
    Json,
    flag_in,
    list_of,
    metadata_in,
    object_of,
    refuse,
    text_in,
)
from .choice import choice_of
from .echo import KEPT, SYSTEM
from .given import Given, Resolve, chat_messages, input_items
from .ids import RESPONSE, ResponseId, conversation_id, session_of
from .options import params_of

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_NOT_HERE = (
    "prompt", "context_management", "moderation",
    "audio", "functions", "logprobs", "top_logprobs", "web_search_options",
)  # fmt: skip
"""What OpenAI has, and a response or a chat completion here has not."""


@frozen
class Request:
    """What a client asks for."""

    model: str
    given: Given
    echo: Json = field(factory=dict)
    """The parameters that are kept: the response tells them, and the turn's options are in them."""
    stream: bool = False
    background: bool = False
    store: bool = True
    previous: ResponseId | None = None
    session_id: str | None = None
    """Of the conversation that is named."""
    include_usage: bool = False
    """Whether the last chunk of a chat completion tells the tokens."""


def response_request(body: object, resolve: Resolve) -> Request:
    """Read the body of ``POST /v1/responses``."""
    data = object_of(body, "body")
    model = text_in(data, "model", required=True)
    _must_be_here(data)
    if data.get("truncation") not in (None, "auto", "disabled"):
        refuse("Invalid 'truncation': it is 'auto' or 'disabled'.", "truncation", "invalid_value")
    previous, session_id = _where(data)
    background, store = flag_in(data, "background", False), flag_in(data, "store", True)
    if background and not store:
        refuse("Background responses are stored: leave 'store' out.", "store")
    given = input_items(data.get("input"), resolve)
    form = object_of(object_of(data.get("text"), "text").get("format"), "text.format")
    answer_form(form, form, "text.format")
    text_in(data, "instructions")
    params_of(data)
    choice_of(data.get("tool_choice"))
    metadata_in(data)
    echo = {name: value for name, value in data.items() if name in KEPT and value is not None}
    if tools := tools_in(data, is_flat=True):
        echo["tools"] = tools
    if given.system:
        echo[SYSTEM] = given.system
    return Request(
        model=model,
        given=given,
        echo={**echo, **_filled(data), "conversation": _told(session_id)},
        stream=flag_in(data, "stream", False),
        background=background,
        store=store,
        previous=previous,
        session_id=session_id,
    )


def chat_request(body: object) -> Request:
    """Read the body of ``POST /v1/chat/completions``."""
    data = object_of(body, "body")
    model = text_in(data, "model", required=True)
    if data.get("n") not in (None, 1):
        refuse("There is one choice: leave 'n' out.", "n", "unsupported_parameter")
    _must_be_here(data)
    given = chat_messages(data.get("messages"))
    form = object_of(data.get("response_format"), "response_format")
    inner = object_of(form.get("json_schema"), "response_format.json_schema")
    options = object_of(data.get("stream_options"), "stream_options")
    metadata_in(data)
    most = data.get("max_completion_tokens") or data.get("max_tokens")
    echo: Json = {
        "model": model,
        SYSTEM: given.system,
        "tools": tools_in(data, is_flat=False),
        "tool_choice": data.get("tool_choice"),
        "text": {"format": {**inner, **form}},
        "temperature": data.get("temperature"),
        "top_p": data.get("top_p"),
        "max_output_tokens": most,
    }
    answer_form(form, inner, "response_format")
    params_of(echo)
    choice_of(echo["tool_choice"])
    return Request(
        model=model,
        given=given,
        echo={name: value for name, value in echo.items() if value},
        stream=flag_in(data, "stream", False),
        store=flag_in(data, "store", False),
        include_usage=options.get("include_usage") is True,
    )


def _must_be_here(data: Json) -> None:
    if any("logprobs" in str(one) for one in list_of(data.get("include"), "include")):
        refuse("There are no log probabilities here.", "include", "unsupported_parameter")
    for name in _NOT_HERE:
        if data.get(name) not in (None, False, 0):
            instead = " Send 'tools' instead." if name == "functions" else ""
            refuse(f"Unsupported parameter: '{name}'.{instead}", name, "unsupported_parameter")


def _where(data: Json) -> tuple[ResponseId | None, str | None]:
    """Return where the conversation goes on: behind a response, or in a conversation."""
    given = data.get("conversation")
    if isinstance(given, Mapping):
        given = given.get("id")
    if given is not None and data.get("previous_response_id") is not None:
        refuse(
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'.",
            "previous_response_id",
            "mutually_exclusive_parameters",
        )
    session_id = None if given is None else session_of(given)
    if given is not None and session_id is None:
        refuse("Invalid type for 'conversation': expected a string.", "conversation")
    previous_id = text_in(data, "previous_response_id")
    if not previous_id:
        return None, session_id
    previous = ResponseId.read(previous_id)
    if previous is None:
        why = "" if previous_id.startswith(RESPONSE) else f": it would begin with '{RESPONSE}'"
        refuse(
            f"Previous response with id '{previous_id:.200}' not found{why}.",
            "previous_response_id",
            "previous_response_not_found",
        )
    return previous, session_id


def _told(session_id: str | None) -> Json | None:
    return None if session_id is None else {"id": conversation_id(session_id)}


def tools_in(data: Json, *, is_flat: bool) -> list[Json]:
    """Return the functions of the client, as a response tells them."""
    found: list[Json] = []
    for place, one in enumerate(list_of(data.get("tools"), "tools")):
        param = f"tools[{place}]"
        tool = object_of(one, param)
        kind = text_in(tool, "type", param, required=True)
        if kind != "function":
            refuse(
                f"Unsupported tool: '{kind:.60}'. Functions that you run are understood here; the "
                "agent's own tools need not be sent.",
                f"{param}.type",
                "unsupported_tool",
            )
        where = param if is_flat else f"{param}.function"
        function = tool if is_flat else object_of(tool.get("function"), where)
        name = text_in(function, "name", where, required=True)
        if not _TOOL_NAME.fullmatch(name):
            refuse(f"Invalid '{where}.name': '{name:.60}'.", f"{where}.name", "invalid_value")
        if any(name == other["name"] for other in found):
            refuse(f"There are two functions '{name}'.", f"{where}.name", "invalid_value")
        schema = object_of(function.get("parameters"), f"{where}.parameters")
        found.append({
            "type": "function",
            "name": name,
            "description": text_in(function, "description", where) or None,
            "parameters": {"type": "object", "properties": {}, **schema},
            "strict": False,
        })  # fmt: skip
    return found


def _filled(data: Json) -> Json:
    """Return objects of which a client may send a part, with what they always have."""
    usual: dict[str, Json] = {
        "reasoning": {"effort": None, "summary": None},
        "text": {"format": {"type": "text"}},
    }
    return {
        name: {**always, **object_of(data.get(name), name)}
        for name, always in usual.items()
        if data.get(name) is not None
    }


def parameter(value: object, lowest: int, highest: int, name: str, usual: Any) -> Any:
    """Return a whole number from the query, or the usual one."""
    if value is None:
        return usual
    if not isinstance(value, str) or not value.lstrip("-").isdecimal():
        refuse(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if not lowest <= (number := int(value)) <= highest:
        refuse(f"Invalid '{name}': it must be from {lowest} to {highest}.", name)
    return number
