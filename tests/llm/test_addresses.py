"""Addresses of models: what can be none is told at once, and who is sent elsewhere takes no key."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput, ModelError
from miniagent_redis.llm import fold, resolve_model
from miniagent_redis.llm.anthropic import AnthropicModel
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, said

MODELS = {"openai": OpenAIModel, "anthropic": AnthropicModel, "gemini": GeminiModel}
KEYS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
by_each = pytest.mark.parametrize("provider", MODELS)


@pytest.mark.parametrize(
    "address",
    ["localhost:8000/v1", "unix:///tmp/x", "http://", " ", 5, "http://[::1", "http://h:99999"],
)
@by_each
def test_what_is_no_address_is_told_at_once(provider: str, address: Any) -> None:
    with pytest.raises(InvalidInput, match="is no address of a model"):
        MODELS[provider]("m", base_url=address)


def test_an_address_that_cannot_be_is_told_without_its_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        OpenAIModel("m", base_url="http://ada:secret@host:99999/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("place", ["localhost:8000/v1", "[::1]:8000", "10.0.0.1:80"])
def test_a_name_that_forgot_how_its_address_begins_is_not_sent_to_the_vendor(place: str) -> None:
    with pytest.raises(InvalidInput, match=r"did you mean m@http://"):
        resolve_model(f"openai:m@{place}")
    assert resolve_model("openai:claude@20240620")


@by_each
def test_the_query_of_an_address_goes_with_each_request(
    provider: str, canned: CannedServer
) -> None:
    canned.add(*said(provider, "Hello"))
    model = MODELS[provider]("m", base_url=f"{canned.url}/v1?team=a%20b#top")
    assert fold(model.stream(HI)).text == "Hello"
    path, _, query = canned.paths[0].partition("?")
    assert path.startswith("/v1/")
    assert query.removeprefix("alt=sse&") in ("team=a%20b", "team=a+b")
    assert "team" not in model.name


@pytest.mark.parametrize("api_key", ["a-secret-key", lambda: "a-secret-key"])
@by_each
def test_who_is_sent_to_another_server_takes_no_key_there(
    provider: str, api_key: Any, canned: CannedServer
) -> None:
    there = canned.url.replace("127.0.0.1", "localhost")
    canned.add({}, status=307, told={"location": f"{canned.url}/here"})
    canned.add({}, status=307, told={"location": f"{there}/there"})
    canned.add(*said(provider, "Hello"))
    model = MODELS[provider]("m", base_url=canned.url, api_key=api_key)
    assert fold(model.stream(HI)).text == "Hello"
    told = [[headers[key] for key in KEYS if key in headers] for headers in canned.headers]
    assert [len(each) for each in told] == [1, 1, 0]


@by_each
def test_a_connection_that_failed_says_why(provider: str) -> None:
    with pytest.raises(ModelError, match="refused") as caught:
        fold(MODELS[provider]("m", base_url="http://127.0.0.1:1").stream(HI))
    assert caught.value.kind == "connection"


@by_each
def test_an_answer_that_was_lost_may_be_paid_for_and_is_repeated_if_told_to(
    provider: str, canned: CannedServer
) -> None:
    canned.breaks_off = 1
    with pytest.raises(ModelError, match="may be paid for"):
        fold(MODELS[provider]("m", base_url=canned.url).stream(HI))
    canned.breaks_off = 1
    canned.add(*said(provider, "Hello"))
    model = MODELS[provider]("m", base_url=canned.url, max_retries=1)
    assert fold(model.stream(HI)).text == "Hello"
    assert len(canned.bodies) == 3


@pytest.mark.parametrize("status", [408, 502, 504, 520, 524])
@by_each
def test_a_gateway_that_gave_up_is_not_asked_twice(
    status: int, provider: str, canned: CannedServer
) -> None:
    canned.add({"error": {"message": "No.", "code": status}}, status=status)
    with pytest.raises(ModelError) as caught:
        fold(MODELS[provider]("m", base_url=canned.url).stream(HI))
    assert (caught.value.status, len(canned.bodies)) == (status, 1)
