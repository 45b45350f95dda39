"""What a server's tool gave, as a tool result here: text, or parts where it gave pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock, EmbeddedResource, ResourceLink

Content = str | list[dict[str, Any]]
_KINDS = ("image", "audio")
_FILES = ("application/pdf",)
_BARE = "result"  # the one member that SDKs put around a value that is no object


def content_of(result: CallToolResult) -> Content:
    """Return the content of a result for the model: one text, or parts in their order.

    Resources are told by their address with what is in them: text, a picture, sound or a PDF; other
    bytes are only named. Structured content comes as JSON, unless the text says the same.
    """
    parts = [part for block in result.content for part in _parts(block)]
    if (structured := result.structured_content) is not None and not _says(parts, structured):
        parts.append(_text(json.dumps(structured, ensure_ascii=False)))
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _parts(block: ContentBlock) -> Iterator[dict[str, Any]]:
    match block.type:
        case "text":
            yield _text(block.text)
        case "image" | "audio":
            yield _media(block.type, block.mime_type, block.data)
        case "resource_link":
            yield _text(_link(block))
        case "resource":
            yield from _resource(block)


def _link(link: ResourceLink) -> str:
    about = ", ".join(filter(None, [link.mime_type, link.description]))
    return f"[{link.title or link.name}: {link.uri}{f' ({about})' if about else ''}]"


def _resource(block: EmbeddedResource) -> Iterator[dict[str, Any]]:
    found = block.resource
    text: str | None = getattr(found, "text", None)
    if text is not None:
        yield _text(f"[{found.uri}]\n{text}")
        return
    data: str = getattr(found, "blob", "")
    mime = found.mime_type or "application/octet-stream"
    kind = mime.partition("/")[0]
    if kind in _KINDS or mime in _FILES:
        yield _text(f"[{found.uri}]")
        yield _media(kind if kind in _KINDS else "file", mime, data)
    else:
        yield _text(f"[{found.uri}: {len(data) * 3 // 4:,} bytes of {mime}]")


def _says(parts: Sequence[dict[str, Any]], structured: object) -> bool:
    """Whether the parts say already what the structured content says."""
    if isinstance(structured, dict) and list(structured) == [_BARE]:
        return bool(parts)
    for part in parts:
        try:
            if part["type"] == "text" and json.loads(part["text"]) == structured:
                return True
        except ValueError:
            continue
    return False


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _media(kind: str, mime: str, data: str) -> dict[str, Any]:
    return {"type": kind, "mime_type": mime, "data": data}
