"""Models of Google by its generateContent: `gemini:MODEL[@URL]`."""

from __future__ import annotations

import base64
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import takewhile
from typing import Any, ClassVar

from ..models import Message, ToolCall, Usage, new_id
from .base import ContentPart, Finish, ModelEvent, ModelRequest, ReasoningDelta, TextDelta
from .output import told_in_words
from .providers.base import ProviderModel
from .providers.blocks import Layout, Piece, pieces
from .providers.checked import parameters
from .providers.choice import gemini_choice
from .providers.faults import is_lost
from .providers.google_lines import finish_message, heed_lines
from .providers.parts import Media, content_parts, content_text, result_text, shown_parts
from .providers.reasons import finish_of
from .providers.sending import ANY_ID, START, encodable, has_acted, sendable

__all__ = ["GeminiModel"]

PROVIDER = "gemini"
_SIGNATURE = "thought_signature"
# By Google's documentation, for calls in the current turn that its newer models did not make.
_FOREIGN = b"skip_thought_signature_validator"
_WITHOUT_SIGNATURES = re.compile("(models/)?gemini-[12]")
_TAKEN = re.compile(r"image/(png|jpeg|webp|heic|heif)|(audio|video|text)/.+|application/pdf")
# The SDK does not repeat by itself unless told to. Not after 429: it would not wait long enough.
_RETRIES = {"attempts": 3, "http_status_codes": [500, 503]}
_SERVER_TIMEOUT = "600"  # seconds for the whole answer; the SDK would send our limit for a silence


class GeminiModel(ProviderModel):
    """A model by Google's generateContent; ``options`` are fields of GenerateContentConfig."""

    takes_output = True
    provider = PROVIDER
    sdk = "google.genai"
    key_variables: ClassVar[tuple[str, ...]] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")

    def _connect(self, sdk: Any, key: str | None) -> Any:
        http: dict[str, Any] = {"retry_options": _RETRIES}
        if self._max_retries is not None:
            http["retry_options"] = {"attempts": 1 + self._max_retries}
        hooks = self._hooks()
        hooks["response"].append(heed_lines)
        http["client_args"] = {"event_hooks": hooks}
        if root := self._root():
            address = re.fullmatch(r"(.*?)(?:/(v\d\w*))?/?", root)
            assert address is not None
            http |= {"base_url": address[1], "api_version": address[2]}
        return sdk.Client(api_key=key, http_options=http)

    def _answer(self, client: Any, request: ModelRequest) -> Generator[ModelEvent]:
        form: dict[str, Any] = {}
        if request.tools or "tools" in self.options:  # many of its models refuse both together
            request = told_in_words(request)
        elif request.output is not None:
            form["response_mime_type"] = "application/json"
            form["response_json_schema"] = request.output.schema
        system, contents = gemini_contents(request, self.model)
        http: dict[str, Any] = {"headers": {"X-Server-Timeout": _SERVER_TIMEOUT}}
        if request.longest_wait:
            http["timeout"] = max(1, round(request.longest_wait * 1000))
        config: dict[str, Any] = {
            "http_options": http,
            "automatic_function_calling": {"disable": True},
            **form,
        }
        if system:
            config["system_instruction"] = system
        if request.tools:
            declarations = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters_json_schema": tool.parameters,
                }
                for tool in request.tools
            ]
            config["tools"] = [{"function_declarations": declarations}]
        options = parameters(self.options, config.get("tools") or [])
        names = {"max_tokens": "max_output_tokens"}
        config |= {names.get(name, name): value for name, value in request.params.items()}
        if (choice := gemini_choice(config.pop("tool_choice", None))) is not None:
            config["tool_config"] = choice
        try:
            checked = self._import().types.GenerateContentConfig(**encodable(config | options))
        except ValueError as exc:  # of pydantic, for an option that there is not
            raise TypeError(str(exc)) from None
        if not checked.tools:  # without any, no word of them is taken
            checked.tool_config = None
        elif _is_forced(forced := checked.tool_config) and has_acted(request.messages):
            forced.function_calling_config = None
        stream = client.models.generate_content_stream
        sent = {"model": self.model, "contents": encodable(contents), "config": checked}
        for tries in range(self._max_retries or 0, -1, -1):
            is_begun = False
            try:
                with closing(stream(**sent)) as chunks:
                    for event in _events(chunks):
                        is_begun = True
                        yield event
                return
            except Exception as exc:  # the SDK repeats the rest
                if is_begun or not tries or not is_lost(exc):
                    raise


def _is_forced(choice: Any) -> bool:
    calling = choice and choice.function_calling_config
    return bool(calling) and calling.mode == "ANY"


def gemini_contents(request: ModelRequest, model: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the system instruction and the contents: roles in turn, the user's first."""
    system = [request.system] if request.system else []
    contents: list[dict[str, Any]] = []
    given: set[str | None] = set()  # ids that are Google's own
    messages = sendable(request.messages, PROVIDER, ANY_ID)
    asked = max((n for n, message in enumerate(messages) if message.role == "user"), default=-1)
    for number, message in enumerate(messages):
        if message.role == "system":
            system.append(content_text(message.content))
            continue
        role = "model" if message.role == "assistant" else "user"
        if not contents or contents[-1]["role"] != role:
            contents.append({"role": role, "parts": []})
        is_foreign = number > asked and not _WITHOUT_SIGNATURES.match(model)
        contents[-1]["parts"] += _parts(message, given, needs_signature=is_foreign)
        if message.role == "tool" and _is_last_result(messages, number):
            contents[-1]["parts"] += map(_part, _shown(messages[: number + 1]))
    if contents and contents[0]["role"] == "model":
        contents.insert(0, {"role": "user", "parts": [{"text": START}]})
    return "\n\n".join(system), contents


def _is_last_result(messages: Sequence[Message], number: int) -> bool:
    return all(message.role != "tool" for message in messages[number + 1 : number + 2])


def _shown(messages: Sequence[Message]) -> list[Media]:
    """Return what is no text in the results that these messages end with: it comes behind them."""
    results = takewhile(lambda message: message.role == "tool", reversed(messages))
    return shown_parts(list(results)[::-1])


def _parts(
    message: Message, given: set[str | None], *, needs_signature: bool
) -> list[dict[str, Any]]:
    if message.role == "user":
        return [_part(part) for part in content_parts(message.content)]
    if message.role == "tool":
        kind = "error" if message.metadata.get("is_error") else "output"
        response = {"name": message.name, "response": {kind: result_text(message)}}
        if message.tool_call_id in given:
            response["id"] = message.tool_call_id
        return [{"function_response": response}]
    parts = [_restored(piece) for piece in pieces(message, PROVIDER)]
    calls = [part for part in parts if "function_call" in part]
    given |= {call["function_call"].get("id") for call in calls} - {None}
    if needs_signature and calls:
        calls[0].setdefault(_SIGNATURE, _FOREIGN)
    return parts


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    if not _TAKEN.fullmatch(part.mime_type):
        return {"text": part.left_out()}
    if part.url:
        return {"file_data": {"file_uri": part.url, "mime_type": part.mime_type}}
    return {"inline_data": {"data": part.decoded(), "mime_type": part.mime_type}}


def _restored(piece: Piece) -> dict[str, Any]:
    part = dict(piece.own or ())
    if piece.call is not None:
        part["function_call"] = {"name": piece.call.name, "args": piece.call.arguments}
        if piece.extra.get("has_id"):
            part["function_call"]["id"] = piece.call.id
    elif piece.media is not None:
        part = _part(piece.media)
    elif piece.own is None:
        part["text"] = piece.text
    if signature := piece.extra.get(_SIGNATURE) or part.get(_SIGNATURE):
        part[_SIGNATURE] = base64.urlsafe_b64decode(signature)
    if piece.own is not None and (blob := part.get("inline_data")):
        part["inline_data"] = blob | {"data": base64.urlsafe_b64decode(blob["data"])}
    return part


def _events(chunks: Iterable[Any]) -> Iterator[ModelEvent]:
    layout = Layout(PROVIDER)
    has_calls = False
    usage = Usage()
    finish: Finish | None = None
    for chunk in chunks:
        if chunk.usage_metadata and (counted := _usage(chunk.usage_metadata)) != usage:
            yield counted - usage  # each tells of all so far
            usage = counted
        if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
            blocked = chunk.prompt_feedback
            said = f"{blocked.block_reason.value} {blocked.block_reason_message or ''}".strip()
            finish = Finish("content_filter", said)
        for candidate in (chunk.candidates or ())[:1]:
            if candidate.finish_reason:
                said = candidate.finish_message or finish_message()
                finish = finish_of(candidate.finish_reason.value, said)
            for part in (candidate.content and candidate.content.parts) or ():
                for event in _read(part, layout):
                    has_calls = has_calls or isinstance(event, ToolCall)
                    yield event
        yield TextDelta("")
    yield from layout.blocks()
    if finish is not None:
        yield Finish("tool_calls") if has_calls and finish.reason == "stop" else finish


def _usage(metadata: Any) -> Usage:
    counts = metadata.model_dump()
    return Usage(
        _sum(counts, "prompt_token_count", "tool_use_prompt_token_count"),
        _sum(counts, "candidates_token_count", "thoughts_token_count"),  # thoughts come on top
        cached_tokens=_sum(counts, "cached_content_token_count"),
        reasoning_tokens=_sum(counts, "thoughts_token_count"),
    )


def _read(part: Any, layout: Layout) -> Iterator[ModelEvent]:
    extra: dict[str, Any] = {}
    if part.thought_signature:
        extra[_SIGNATURE] = base64.urlsafe_b64encode(part.thought_signature).decode()
    if (call := part.function_call) is not None:
        call_id = call.id or new_id()
        layout.call(call_id, **extra, **({"has_id": True} if call.id else {}))
        yield ToolCall(call_id, call.name or "", dict(call.args or {}))
    elif part.text is not None and not part.thought:
        if part.text or extra:
            layout.text(part.text, **extra)
        if part.text:
            yield TextDelta(part.text)
    elif (blob := part.inline_data) is not None and not part.thought and _is_image(blob):
        layout.part(**extra)
        data = base64.b64encode(blob.data).decode()
        yield ContentPart({"type": "image", "mime_type": blob.mime_type, "data": data})
    else:
        layout.own(part.model_dump(mode="json", exclude_none=True))
        if part.thought and part.text:
            yield ReasoningDelta(part.text)


def _is_image(blob: Any) -> bool:
    return bool(blob.data) and str(blob.mime_type).startswith("image/")


def _sum(counts: dict[str, Any], *names: str) -> int:
    return sum(counts.get(name) or 0 for name in names)
