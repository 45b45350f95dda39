"""What a body is, is told by how it begins: content types are often others than they should be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from miniagent_redis.errors import IncompleteResponse, ModelError
from miniagent_redis.llm import Reply, fold
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from miniagent_redis.llm.providers.sse import EventStream
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, begun, openai_chunk, said

DONE = b"data: [DONE]\n\n"
CHUNKS = [openai_chunk({"content": "Hel"}), openai_chunk({"content": "lo"}, "stop")]
WHOLE = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
KINDS = ["text/event-stream", "application/json", "text/plain", "text/html", ""]


def sse(*events: Any, end: str = "\n") -> bytes:
    return "".join(f"data: {json.dumps(event)}{end}{end}" for event in events).encode()


def answer(canned: CannedServer, body: bytes, kind: str = "text/event-stream") -> Reply:
    canned.kind = kind
    canned.add(body)
    return fold(OpenAIModel("m", base_url=canned.url).stream(HI))


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_read_whatever_its_content_type(kind: str, canned: CannedServer) -> None:
    lines = b"".join(json.dumps(chunk).encode() + b"\n" for chunk in CHUNKS)
    for body in (sse(*CHUNKS) + DONE, json.dumps(WHOLE, indent=1).encode(), lines):
        assert answer(canned, body, kind).text == "Hello"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_answer_is_told_whatever_its_content_type(
    kind: str, canned: CannedServer
) -> None:
    error = json.dumps({"error": {"message": "no such model here"}}).encode()
    for body in (error, b"<html>no such model here</html>", b"no such model here"):
        with pytest.raises(ModelError, match="no such model here") as caught:
            answer(canned, body, kind)
        assert caught.value.kind == "not_found"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_any_end_of_a_line_cost_no_word(
    end: str, canned: CannedServer
) -> None:
    assert answer(canned, b"\xef\xbb\xbf" + sse(*CHUNKS, end=end) + DONE).text == "Hello"
    assert answer(canned, b"\n\n\n" + json.dumps(WHOLE).encode()).text == "Hello"


WORDS = [
    b"event: ping\ndata: 2026-01-01\n\n",
    b"data: null\n\n",
    b"data: \n\n",
    b": processing\n\n",
    b'data: {"choices": [null]}\n\n',
    b'data: {"choices": null, "error": null}\n\n',
    b'data: {"choices": [{"delta": {"tool_calls": [null], "content": [null]}}]}\n\n',
]


@pytest.mark.parametrize("word", WORDS)
def test_what_says_nothing_costs_no_answer(word: bytes, canned: CannedServer) -> None:
    assert answer(canned, word + sse(*CHUNKS) + word + DONE).text == "Hello"


@pytest.mark.parametrize(
    "failure",
    [
        b"event: error\ndata: out of memory\n\n",
        b'{"error": {"message": "out of memory"}}\n',
        b'error: {"message": "out of memory"}\n\n',
    ],
)
def test_a_failure_in_the_middle_is_told_in_any_form(failure: bytes, canned: CannedServer) -> None:
    with pytest.raises(IncompleteResponse, match="out of memory") as caught:
        answer(canned, sse(CHUNKS[0]) + failure)
    assert caught.value.text == "Hel"


def test_words_of_gateways_cost_no_answer_of_googles(canned: CannedServer) -> None:
    last = f"data:{json.dumps(said('gemini', 'lo')[0])}\n\n".encode()
    words = (b"\xef\xbb\xbf: processing\n\n", b"event: ping\nid: 3\n\n")
    canned.add(words[0], *begun("gemini", "Hel"), words[1], last)
    assert fold(GeminiModel("m", base_url=canned.url).stream(HI)).text == "Hello"


def test_why_google_could_not_read_a_call_is_told_in_its_words(canned: CannedServer) -> None:
    model = GeminiModel("m", base_url=canned.url)
    told = {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "print(api.now())"}
    canned.add({"candidates": [told]})
    assert fold(model.stream(HI)).finish_detail == "MALFORMED_FUNCTION_CALL: print(api.now())"
    canned.add({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]})
    assert fold(model.stream(HI)).finish_detail == "MALFORMED_FUNCTION_CALL"


class Pieces:
    """A response whose body comes in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.headers: dict[str, str] = {}
        self._pieces = pieces

    def iter_bytes(self) -> Any:
        return iter(self._pieces)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_be_cut_anywhere(end: str) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"choices": ["ü🎉"]}, ensure_ascii=False).encode().join(
        [b"data: ", (end * 2).encode()]
    )
    for size in (1, 2, 3, 7):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert list(EventStream(Pieces(*pieces))) == [{"choices": ["ü🎉"]}]


class Costly(bytes):
    """Bytes that count how many are copied when they are added to others."""

    copied = 0

    def __radd__(self, other: bytes) -> bytes:
        Costly.copied += len(other)
        return bytes(other) + bytes(self)


def test_a_line_as_long_as_a_picture_is_put_together_once() -> None:
    body = sse({"choices": ["x" * 400_000]})
    pieces = [Costly(body[at : at + 100]) for at in range(0, len(body), 100)]
    Costly.copied = 0
    assert len(list(EventStream(Pieces(*pieces)))) == 1
    assert Costly.copied < 2 * len(body)
