"""What a chat page asks for: a message to answer, or answers to calls.

Pages send along what they know of the conversation, which is not trusted. Only the last message of
the user counts, and what answers calls for which the turn waits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ...models import Approve, Deny, Message, ToolResult
from ...store.parking import Answer
from ..openai.checks import list_of, object_of, refuse, text_in
from ..openai.content import media
from ..openai.requests import tools_in
from .ai_sdk import turn_of
from .wire import Json

_KINDS = ("image", "audio")
_MOST_ID = 128


@frozen
class Asked:
    """A request of a page: ``answers`` by the ids of calls, ``approvals`` by those of questions.

    ``fields`` are what was filled in where a tool asked, by the ids of questions too.
    """

    session_id: str
    content: str | list[Json] | None = None
    """Of the user's last message, None if there is none."""
    page_id: str = ""
    """By which the page knows that message."""
    is_answered: bool = False
    """Whether the page has something behind that message."""
    answers: Mapping[str, Answer] = field(factory=dict)
    approvals: Mapping[str, Answer] = field(factory=dict)
    fields: Mapping[str, Answer] = field(factory=dict)
    turn_id: str | None = None
    """The turn that is answered, or is to be answered anew, if the page names one."""
    is_edited: bool = False
    """Whether the message takes the place of the one that has its id."""
    is_regenerated: bool = False
    """Whether the message is to be answered anew."""
    model: str | None = None
    tools: Sequence[Json] = ()
    context: str = ""
    thoughts: Sequence[Json] = ()
    """What a page of AG-UI has of reasoning, which is not kept here; nothing of that which it has
    behind the user's message, as that comes again."""


# --- AI SDK -----------------------------------------------------------------------------------


def chat_request(body: object) -> Asked:
    """Read what ``DefaultChatTransport`` posts. Raises RequestRefused."""
    data = object_of(body, "body")
    session_id = text_in(data, "id", required=True)
    messages = list_of(data.get("messages"), "messages")
    if data.get("message") is not None:  # of a page that sends the last one alone
        messages = [data["message"]]
    if not messages:
        refuse("Missing required parameter: 'messages'.", "messages")
    place = len(messages) - 1
    last = object_of(messages[-1], f"messages[{place}]")
    trigger = text_in(data, "trigger") or "submit-message"
    if trigger not in ("submit-message", "regenerate-message"):
        refuse(f"Invalid value: '{trigger:.60}'.", "trigger", "invalid_value")
    given = text_in(data, "messageId")
    model = text_in(data, "model") or None
    tools = _tools_in(data.get("tools"))
    role, param = last.get("role"), f"messages[{place}]"
    if trigger == "regenerate-message":
        last = next((one for one in reversed(messages) if _role(one) == "user"), {})
        page_id = given if given and turn_of(given) is None else _id_in(last, param)
        turn_id = turn_of(given)
        return Asked(session_id, None, page_id, turn_id=turn_id, is_regenerated=True, model=model,
                     tools=tools)  # fmt: skip
    if role == "assistant":
        answers, approvals = _answers_in(last, f"{param}.parts")
        turn_id = turn_of(last.get("id"))
        return Asked(session_id, answers=answers, approvals=approvals, turn_id=turn_id, model=model,
                     tools=tools)  # fmt: skip
    if role != "user":
        refuse("The last message must be of the user, or answer calls.", f"{param}.role")
    page_id = _id_in(last, param)
    content = _content_of(last, param)
    edited = bool(given) and given == page_id
    return Asked(session_id, content, page_id, is_edited=edited, model=model, tools=tools)


def _answers_in(message: Json, param: str) -> tuple[dict[str, Answer], dict[str, Answer]]:
    answers: dict[str, Answer] = {}
    approvals: dict[str, Answer] = {}
    for place, one in enumerate(list_of(message.get("parts"), param)):
        part = object_of(one, f"{param}[{place}]")
        call_id, state = part.get("toolCallId"), part.get("state")
        if not isinstance(call_id, str):
            continue
        approval = part.get("approval")
        if state == "approval-responded" and isinstance(approval, Mapping):
            approvals[str(approval.get("id"))] = _decision(approval)
        elif state == "output-available":
            answers[call_id] = _as_text(part.get("output"))
        elif state == "output-error":
            answers[call_id] = ToolResult(
                call_id, "", str(part.get("errorText", "")), is_error=True
            )
    return answers, approvals


def _content_of(message: Json, param: str) -> str | list[Json]:
    parts: list[Json] = []
    for place, one in enumerate(list_of(message.get("parts"), f"{param}.parts")):
        where = f"{param}.parts[{place}]"
        part = object_of(one, where)
        kind = text_in(part, "type", where, required=True)
        if kind == "text":
            parts.append({"type": "text", "text": text_in(part, "text", where)})
        elif kind == "file":
            url = text_in(part, "url", where, required=True)
            media_type = text_in(part, "mediaType", where)
            parts.append(_file(media_type, url, text_in(part, "filename", where)))
    return _said(parts, f"{param}.parts")


# --- AG-UI ------------------------------------------------------------------------------------


def run_input(body: object) -> tuple[Asked, str]:
    """Read a RunAgentInput, and return the id of the run too. Raises RequestRefused."""
    data = object_of(body, "body")
    session_id = text_in(data, "threadId", required=True)
    run_id = text_in(data, "runId", required=True)
    messages = [
        object_of(one, f"messages[{place}]")
        for place, one in enumerate(list_of(data.get("messages"), "messages"))
    ]
    asked = [place for place, one in enumerate(messages) if one.get("role") == "user"]
    content, page_id, behind = None, "", messages
    if asked:
        last, param = messages[asked[-1]], f"messages[{asked[-1]}]"
        content, page_id = (
            _agui_content(last.get("content"), f"{param}.content"),
            _id_in(last, param),
        )
        behind = messages[asked[-1] + 1 :]
    answers = {
        str(one.get("toolCallId")): _agui_result(one) for one in behind if one.get("role") == "tool"
    }
    approvals: dict[str, Answer] = {}
    fields: dict[str, Answer] = {}
    for place, one in enumerate(list_of(data.get("resume"), "resume")):
        entry = object_of(one, f"resume[{place}]")
        known_as = text_in(entry, "interruptId", f"resume[{place}]", required=True)
        payload, is_resolved = entry.get("payload"), entry.get("status") == "resolved"
        approvals[known_as] = _decision(payload) if is_resolved else Deny()
        fields[known_as] = (_filled_in(payload) if is_resolved else None) or Deny()
    context = "\n".join(
        f"{one.get('description', '')}: {one.get('value', '')}"
        for one in list_of(data.get("context"), "context")
        if isinstance(one, Mapping)
    )
    tools = _tools_in(data.get("tools"))
    thoughts = [
        {"id": text_in(one, "id"), "role": "reasoning", "content": ""}
        | ({} if one in behind else {"content": text_in(one, "content")})
        for one in messages
        if one.get("role") == "reasoning"
    ]
    found = Asked(
        session_id,
        content,
        page_id,
        is_answered=bool(behind),
        answers=answers,
        approvals=approvals,
        fields=fields,
        tools=tools,
        context=context,
        thoughts=thoughts,
    )
    return found, run_id


def _agui_result(message: Json) -> Answer:
    content: Any = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    if message.get("error"):
        return ToolResult("", "", text or str(message["error"]), is_error=True)
    return text


def _agui_content(value: object, param: str) -> str | list[Json]:
    if isinstance(value, str):
        return _said([{"type": "text", "text": value}], param)
    parts = []
    for place, one in enumerate(list_of(value, param)):
        where = f"{param}[{place}]"
        part = object_of(one, where)
        if part.get("type") == "text":
            parts.append({"type": "text", "text": text_in(part, "text", where)})
            continue
        source = object_of(part.get("source"), f"{where}.source")
        if source.get("type") not in ("data", "url"):
            refuse("Files are sent as data, or by an address.", f"{where}.source.type")
        given = text_in(source, "value", f"{where}.source", required=True)
        media_type = text_in(source, "mimeType", f"{where}.source")
        if source["type"] == "data":
            given = f"data:{media_type};base64,{given}"
        parts.append(_file(media_type, given, ""))
    return _said(parts, param)


# --- both -------------------------------------------------------------------------------------


def _tools_in(value: object) -> list[Json]:
    """Return the functions that the page runs: a list, or an object by their names."""
    if isinstance(value, Mapping):
        value = [{"name": name, **object_of(one, "tools")} for name, one in value.items()]
    functions = [{"type": "function", **object_of(one, "tools")} for one in list_of(value, "tools")]
    return tools_in({"tools": functions}, is_flat=True)


def _decision(given: object) -> Answer:
    if given is True:
        return Approve()
    if isinstance(given, Mapping):
        if given.get("approved") is True:
            return Approve()
        why = given.get("reason")
        return Deny(why if isinstance(why, str) else "")
    return Deny()


def _filled_in(payload: object) -> Answer | None:
    return payload if isinstance(payload, (str, Mapping)) else None


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, Mapping) else None


def _id_in(message: Json, param: str) -> str:
    found = text_in(message, "id", param)
    if len(found) > _MOST_ID:
        refuse(f"Invalid '{param}.id': it has more than {_MOST_ID} characters.", f"{param}.id")
    return found


def _as_text(output: object) -> str:
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _file(media_type: str, url: str, name: str) -> Json:
    kind = media_type.partition("/")[0]
    made = media(kind if kind in _KINDS else "file", url, name)
    return {**made, "mime_type": media_type} if media_type else made


def _said(parts: list[Json], param: str) -> str | list[Json]:
    if all(part["type"] == "text" for part in parts):
        text = "".join(part["text"] for part in parts)
        if not text.strip():
            refuse("The message has no text.", param, "empty_string")
        return text
    return parts


def message_of(asked: Asked, metadata: Json) -> Message:
    """Return the user's message as it is stored."""
    assert asked.content is not None
    return Message("user", asked.content, metadata=metadata)
