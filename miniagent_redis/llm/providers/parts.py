"""The parts of a message's content, the same for all models: text, images, audio and files.

    {"type": "text", "text": "What is this?"}
    {"type": "image", "mime_type": "image/png", "data": "<base64>"}
    {"type": "image", "url": "https://…"}
    {"type": "audio", "mime_type": "audio/wav", "data": "<base64>"}
    {"type": "file", "mime_type": "application/pdf", "data": "<base64>", "name": "report.pdf"}

Each but the text has ``data``, or a ``url`` from which the provider can fetch it. What a provider
cannot take is replaced by a note to its model, so that a session can go on with any of them.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from ...errors import InvalidInput
from ...models import Message

WEB_IMAGES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
_DATA_URL = re.compile(r"data:([^;,]*)[^,]*;base64,(.*)", re.DOTALL)
_KINDS = {"image": "image/png", "audio": "audio/wav", "file": "application/octet-stream"}


@frozen
class Media:
    """A part that is no text; either ``data``, in base64, or ``url`` is set."""

    kind: str
    mime_type: str
    data: str = ""
    url: str = ""
    name: str = ""

    @property
    def data_url(self) -> str:
        return self.url or f"data:{self.mime_type};base64,{self.data}"

    def decoded(self) -> bytes:
        try:
            return base64.b64decode(self.data, validate=True)
        except ValueError as exc:
            raise InvalidInput(
                f"the data of a part of type {self.kind!r} is not base64", cause=str(exc)
            ) from exc

    def as_part(self) -> dict[str, Any]:
        """Return it as it stands in a message's content."""
        part = {"type": self.kind, "mime_type": self.mime_type, "data": self.data, "url": self.url}
        return {key: value for key, value in part.items() if value}

    def left_out(self) -> str:
        """Say to a model that the part is not here, because it could not be sent to it."""
        name = f" {self.name}" if self.name else ""
        return f"[{self.kind}{name} ({self.mime_type}) left out: it cannot be sent to this model]"


def content_parts(content: str | list[dict[str, Any]]) -> list[str | Media]:
    """Return the parts of a message's content; texts that say nothing are left out."""
    if isinstance(content, str):
        return [content] if content.strip() else []
    parts = [_part(part) for part in content]
    return [part for part in parts if not isinstance(part, str) or part.strip()]


def shown_parts(messages: Sequence[Message]) -> list[Media]:
    """Return what is no text in the results of tools, where these can only be text."""
    contents = (message.content for message in messages if not isinstance(message.content, str))
    return [part for each in contents for part in content_parts(each) if isinstance(part, Media)]


def result_text(message: Message) -> str:
    """Return a tool's result as text; what is none is shown behind it."""
    if isinstance(message.content, str):
        return message.content if message.content.strip() else ""
    parts = content_parts(message.content)
    return "\n".join(f"[{part.kind}: below]" if isinstance(part, Media) else part for part in parts)


def content_text(content: str | list[dict[str, Any]]) -> str:
    """Return the content as text, with notes for what is none."""
    parts = content_parts(content)
    return "\n".join(part.left_out() if isinstance(part, Media) else part for part in parts)


def media_part(part: dict[str, Any]) -> dict[str, Any] | None:
    """Return a picture in an answer as a part of content, None for what is none.

    It may be in any vendor's form of it, or in ours.
    """
    kind = part.get("type")
    url = part.get("image_url") or part.get("url") or ""
    source = part.get("source")
    if isinstance(url, dict):
        url = url.get("url") or ""
    if kind not in ("image", "image_url", "input_image", "output_image"):
        return None
    data = part.get("data") or (source.get("data") if isinstance(source, dict) else "") or ""
    told = part.get("mime_type") or (source.get("media_type") if isinstance(source, dict) else "")
    read = _part({"type": "image", "mime_type": told, "data": data, "url": url})
    return read.as_part() if isinstance(read, Media) else None


def _part(part: dict[str, Any]) -> str | Media:
    if "text" in part:
        return str(part["text"])
    if part.keys() & {"image_url", "source"}:  # a picture as OpenAI or Anthropic writes it
        part = media_part(part) or part
    kind = part.get("type")
    data, url, name = (str(part.get(key) or "") for key in ("data", "url", "name"))
    if kind not in _KINDS or not (data or url):
        return f"[a part of type {kind!r} left out: it is not known here]"
    guessed = mimetypes.guess_type(name or url.partition("?")[0])[0]
    if inside := _DATA_URL.fullmatch(url):
        guessed, data, url = inside[1], inside[2], ""
    return Media(kind, part.get("mime_type") or guessed or _KINDS[kind], data, url, name)
