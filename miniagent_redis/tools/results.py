"""What a tool gives, as models take it: text, or parts where it gives pictures and files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, cast

from .schema.plain import converter

Content = str | list[dict[str, Any]]

_MEDIA = ("image", "audio", "file")
_BYTES = (bytes, bytearray, memoryview)
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image", "image/png"),
    (b"\xff\xd8\xff", "image", "image/jpeg"),
    (b"GIF87a", "image", "image/gif"),
    (b"GIF89a", "image", "image/gif"),
    (b"%PDF-", "file", "application/pdf"),
)


def result_content(value: object) -> Content:
    """Return a tool's value as text, or as parts of content if something in it is no text.

    That is a part as messages have it (``{"type": "image", …}``), bytes of a picture or a PDF, or
    an object that shows itself as a picture in notebooks; alone or in a list.
    """
    if isinstance(value, Iterator):
        value = list(cast(Iterator[object], value))
    if (media := _media(value)) is not None:
        return [media]
    if isinstance(value, (list, tuple)):
        items = cast(list[object], value)
        found = [_media(item) for item in items]
        if any(part is not None for part in found):
            pairs = zip(items, found, strict=True)
            return [_text_part(item) if part is None else part for item, part in pairs]
    return result_text(value)


def result_text(value: object) -> str:
    """Return a tool's value as the model reads it.

    Text stays as it is, None is empty, data (attrs classes, dataclasses and pydantic models too,
    and what an iterator gives) becomes JSON, and anything else is what ``str`` makes of it. Bytes
    are text if they are UTF-8.
    """
    if isinstance(value, Enum):  # before text: some are both
        value = value.value
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, _BYTES):
        return _of_bytes(bytes(value))
    if isinstance(value, Iterator):
        value = list(value)
    try:
        plain = converter.unstructure(value)
        if isinstance(plain, str):
            return plain
        if isinstance(plain, (bool, int, float, list, tuple, dict, set, frozenset)):
            return json.dumps(plain, ensure_ascii=False, default=_inner)
    except (TypeError, ValueError, RecursionError):
        pass  # keys that are no text, or a circle
    return str(value)


def cut(content: Content, longest: int) -> Content:
    """Cut text of more than ``longest`` characters, with a note that it was."""
    if isinstance(content, str):
        return _cut(content, longest)
    parts: list[dict[str, Any]] = []
    for part in content:
        if isinstance(text := part.get("text"), str):
            part = {**part, "text": _cut(text, max(longest, 0))}
            longest -= len(text)
        parts.append(part)
    return parts


def _media(value: object) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return _part(cast(Mapping[str, Any], value))
    if isinstance(value, _BYTES):
        return _of_signature(bytes(value))
    show = getattr(value, "_repr_png_", None)  # of pictures and charts, for notebooks
    if callable(show) and not isinstance(value, type):
        shown = show()
        return _of_signature(shown) if isinstance(shown, bytes) else None
    return None


def _part(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a part that is no text, if it is one; MCP has ``mimeType`` in it."""
    kind, data, url = given.get("type"), given.get("data"), given.get("url")
    if kind not in _MEDIA or not (data or url):
        return None
    if isinstance(data, _BYTES):
        data = base64.b64encode(data).decode()
    if not isinstance(data or url, str):
        return None
    part = {key: given[key] for key in ("type", "url", "name") if given.get(key)}
    told = given.get("mime_type") or given.get("mimeType")
    return part | ({"mime_type": told} if told else {}) | ({"data": data} if data else {})


def _of_signature(value: bytes) -> dict[str, Any] | None:
    found = [(kind, mime) for start, kind, mime in _SIGNATURES if value.startswith(start)]
    if value[:4] == b"RIFF" and value[8:12] in (b"WEBP", b"WAVE"):
        is_image = value[8:12] == b"WEBP"
        found = [("image", "image/webp") if is_image else ("audio", "audio/wav")]
    if not found:
        return None
    data = base64.b64encode(value).decode()
    return {"type": found[0][0], "mime_type": found[0][1], "data": data}


def _text_part(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        part = cast(Mapping[str, Any], value)
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            return dict(part)
    return {"type": "text", "text": result_text(value)}


def _of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"[{len(value):,} bytes that are no text]"


def _inner(value: object) -> object:
    if isinstance(value, _BYTES):
        return _of_bytes(bytes(value))
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else str(value)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return (
        f"{text[:longest]}\n"
        f"[cut here: the result has {len(text):,} characters, only the first "
        f"{longest:,} are shown]"
    )
