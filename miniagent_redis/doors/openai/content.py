"""Parts of content as clients send them, made parts of messages of ours."""

from __future__ import annotations

import re
from typing import Any

from .checks import Json, list_of, object_of, refuse, text_in

_DATA = re.compile(r"data:([^;,]*)[^,]*;base64,(.*)", re.DOTALL)
_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


def content_of(value: object, param: str) -> str | list[Json]:
    """Return the content of a message: text, or parts if there is more than text."""
    if isinstance(value, str):
        return value
    parts = [
        _part(object_of(part, f"{param}[{place}]"), f"{param}[{place}]")
        for place, part in enumerate(list_of(value, param))
    ]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def text_of(value: object, param: str) -> str:
    """Return content that has to be text; what is not is told by its kind."""
    content = content_of(value, param)
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or f"[{part['type']}]" for part in content)


def _part(part: Json, param: str) -> Json:
    kind = text_in(part, "type", param, required=True)
    if kind in _TEXTS:
        return {"type": "text", "text": text_in(part, "text", param)}
    if kind == "refusal":
        return {"type": "text", "text": text_in(part, "refusal", param)}
    if kind == "input_image":
        _no_file_ids(part, param)
        return media("image", text_in(part, "image_url", param, required=True))
    if kind == "image_url":
        image: Any = part.get("image_url")
        url = image if isinstance(image, str) else object_of(image, param).get("url")
        return media("image", text_in({"url": url}, "url", f"{param}.image_url", required=True))
    if kind in ("input_file", "file"):
        file = object_of(part.get("file"), f"{param}.file") if kind == "file" else part
        _no_file_ids(file, param)
        given = text_in(file, "file_data", param) or text_in(file, "file_url", param)
        if not given:
            refuse(f"Missing required parameter: '{param}.file_data'.", f"{param}.file_data")
        return media("file", given, text_in(file, "filename", param))
    if kind == "input_audio":
        audio = object_of(part.get("input_audio"), f"{param}.input_audio")
        data = text_in(audio, "data", f"{param}.input_audio", required=True)
        form = text_in(audio, "format", f"{param}.input_audio") or "wav"
        return {"type": "audio", "mime_type": f"audio/{form}", "data": data}
    return refuse(
        f"Invalid value: '{kind:.60}'. Text, images, audio and files are understood here.",
        f"{param}.type",
        "invalid_value",
    )


def media(kind: str, given: str, name: str = "") -> Json:
    """Return a part that is no text: what was given is a data URL, an address, or base64."""
    found = _DATA.fullmatch(given)
    named = {"name": name} if name else {}
    if found:
        usual = "image/png" if kind == "image" else "application/octet-stream"
        return {"type": kind, "mime_type": found[1] or usual, "data": found[2], **named}
    if given.startswith(("http://", "https://")):
        return {"type": kind, "url": given, **named}
    return {"type": kind, "mime_type": "application/octet-stream", "data": given, **named}


def _no_file_ids(part: Json, param: str) -> None:
    if part.get("file_id"):
        refuse("There are no uploaded files here: send the data.", f"{param}.file_id",
               "unsupported_parameter")  # fmt: skip
