"""Images and other parts of a message become each provider's own, or a note that they cannot."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message
from tests.support.provider_requests import anthropic, gemini, openai, text

PIXEL = base64.b64encode(b"\x89PNG").decode()
NOTE = base64.b64encode("Grüße".encode()).decode()
PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "image", "mime_type": "image/png", "data": PIXEL},
    {"type": "image", "url": "https://example.org/cat.jpg?size=1"},
    {"type": "audio", "mime_type": "audio/wav", "data": PIXEL},
    {"type": "file", "mime_type": "application/pdf", "data": PIXEL, "name": "a.pdf"},
    {"type": "file", "mime_type": "text/plain", "data": NOTE},
    {"type": "hologram", "data": PIXEL},
]
UNKNOWN = "[a part of type 'hologram' left out: it is not known here]"


def test_parts_become_each_providers_own() -> None:
    message = Message("user", PARTS)
    assert openai(message)[0]["content"] == [
        text("What is this?"),
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.jpg?size=1"}},
        {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"},
        },
        {
            "type": "file",
            "file": {"filename": "file", "file_data": f"data:text/plain;base64,{NOTE}"},
        },
        text(UNKNOWN),
    ]
    assert anthropic(message)[1][0]["content"] == [
        text("What is this?"),
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
        },
        {
            "type": "image",
            "source": {"type": "url", "url": "https://example.org/cat.jpg?size=1"},
        },
        text("[audio (audio/wav) left out: it cannot be sent to this model]"),
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL},
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
        },
        text(UNKNOWN),
    ]
    png = {"data": b"\x89PNG"}
    assert gemini(message)[1][0]["parts"] == [
        {"text": "What is this?"},
        {"inline_data": png | {"mime_type": "image/png"}},
        {
            "file_data": {
                "file_uri": "https://example.org/cat.jpg?size=1",
                "mime_type": "image/jpeg",
            }
        },
        {"inline_data": png | {"mime_type": "audio/wav"}},
        {"inline_data": png | {"mime_type": "application/pdf"}},
        {"inline_data": {"data": "Grüße".encode(), "mime_type": "text/plain"}},
        {"text": UNKNOWN},
    ]


def test_a_url_that_holds_the_data_is_as_good_as_the_data() -> None:
    inside = Message("user", [{"type": "image", "url": f"data:image/webp;base64,{PIXEL}"}])
    plain = Message("user", [{"type": "image", "mime_type": "image/webp", "data": PIXEL}])
    assert openai(inside) == openai(plain)
    assert anthropic(inside) == anthropic(plain)
    assert gemini(inside) == gemini(plain)


@pytest.mark.parametrize(
    ("mime_type", "takers"),
    [
        ("image/heic", [gemini]),
        ("image/gif", [openai, anthropic]),
        ("image/tiff", []),
    ],
)
def test_a_part_that_a_vendor_would_refuse_does_not_end_the_session_with_it(
    mime_type: str, takers: list[Any]
) -> None:
    kind = "image" if mime_type.startswith("image") else "file"
    message = Message("user", [{"type": kind, "mime_type": mime_type, "data": PIXEL}])
    note = f"[{kind} ({mime_type}) left out: it cannot be sent to this model]"
    found = [sends for sends in (openai, anthropic, gemini) if note not in str(sends(message))]
    assert found == takers


def test_a_picture_in_a_reply_goes_back_where_it_can_and_is_told_as_such_elsewhere() -> None:
    reply = Message("assistant", [{"type": "image", "mime_type": "image/png", "data": PIXEL}])
    note = "[image (image/png) left out: it cannot be sent to this model]"
    assert openai(Message("user", "Draw"), reply)[1]["content"] == note
    assert anthropic(Message("user", "Draw"), reply)[1][1]["content"] == [text(note)]
    picture = {"data": base64.b64decode(PIXEL), "mime_type": "image/png"}
    assert gemini(Message("user", "Draw"), reply)[1][1]["parts"] == [{"inline_data": picture}]


def test_data_that_is_no_base64_is_told_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="'image' is not base64"):
        gemini(Message("user", [{"type": "image", "data": "é"}]))
