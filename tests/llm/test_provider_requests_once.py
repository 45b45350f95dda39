"""How often a request is sent, with which key, and how long its answer may take."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from miniagent_redis.errors import IncompleteResponse, InvalidInput, ModelError
from miniagent_redis.llm import fold
from miniagent_redis.llm.anthropic import AnthropicModel
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, PROVIDERS, begun, said

KINDS: dict[str, Any] = {"openai": OpenAIModel, "anthropic": AnthropicModel, "gemini": GeminiModel}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_was_sent_and_may_have_been_done_is_not_sent_again(
    provider: str, canned: CannedServer
) -> None:
    canned.breaks_off = 1
    canned.add(*said(provider, "Hello"))
    note = "failed" if provider == "gemini" else "not sent again, as it may be paid for"
    with pytest.raises(ModelError, match=note) as caught:
        fold(KINDS[provider]("m", base_url=canned.url).stream(HI))
    assert caught.value.kind == "connection"
    assert len(canned.bodies) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_silence_is_not_answered_by_another_request(provider: str, canned: CannedServer) -> None:
    canned.is_silent = True
    canned.add()
    with pytest.raises(ModelError, match=r"did not answer within 0\.3 s") as caught:
        fold(KINDS[provider]("m", base_url=canned.url).stream(evolve(HI, timeout=0.3)))
    assert caught.value.kind == "timeout"
    assert len(canned.bodies) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_gateway_that_gave_up_is_not_asked_again(provider: str, canned: CannedServer) -> None:
    canned.add({"error": {"message": "upstream timed out"}}, status=504)
    with pytest.raises(ModelError, match="upstream timed out"):
        fold(KINDS[provider]("m", base_url=canned.url).stream(HI))
    assert len(canned.bodies) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_was_refused_is_sent_again(provider: str, canned: CannedServer) -> None:
    canned.add({"error": {"message": "overloaded"}}, status=503)
    canned.add(*said(provider, "Hello"))
    assert fold(KINDS[provider]("m", base_url=canned.url).stream(HI)).text == "Hello"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_who_says_max_retries_has_it_sent_again(provider: str, canned: CannedServer) -> None:
    if provider == "gemini":  # whose SDK repeats by status
        canned.add({"error": {"message": "upstream timed out"}}, status=504)
    else:
        canned.breaks_off = 1
    canned.add(*said(provider, "Hello"))
    model = KINDS[provider]("m", base_url=canned.url, max_retries=1)
    assert fold(model.stream(HI)).text == "Hello"
    canned.add({"error": {"message": "overloaded"}}, status=503)
    with pytest.raises(ModelError, match="overloaded"):
        fold(KINDS[provider]("m", base_url=canned.url, max_retries=0).stream(HI))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_function_is_asked_for_the_key_before_each_request(
    provider: str, canned: CannedServer
) -> None:
    keys = iter(["first-key-of-all", "second-key-of-all", "third-key-of-all"])
    model = KINDS[provider]("m", base_url=canned.url, api_key=lambda: next(keys))
    for _ in range(2):
        canned.add(*said(provider, "Hello"))
        fold(model.stream(HI))
    for headers, key in zip(canned.headers, ["first-key-of-all", "second-key-of-all"], strict=True):
        told = [value.removeprefix("Bearer ") for value in headers.values() if "key-of" in value]
        assert told == [key]
    canned.add({"error": {"message": "Wrong: third-key-of-all"}}, status=401)
    with pytest.raises(ModelError, match=r"Wrong: \*\*\*"):
        fold(model.stream(HI))


@pytest.mark.parametrize("key", [5, b"key"])
def test_a_key_of_another_type_is_told_at_once(key: Any) -> None:
    with pytest.raises(InvalidInput, match="api_key must be text, or a function"):
        OpenAIModel("m", api_key=key)


async def _later() -> str:
    return "key"


def test_an_async_function_is_no_key() -> None:
    with pytest.raises(InvalidInput, match="a plain function"):
        OpenAIModel("m", api_key=_later)  # type: ignore[arg-type]


def test_a_function_that_gives_no_key_is_told(canned: CannedServer) -> None:
    for give in (lambda: "", lambda: 1 / 0):
        model = OpenAIModel("m", base_url=canned.url, api_key=give)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="the function that gives the key") as caught:
            fold(model.stream(HI))
        assert caught.value.kind == "auth"
    assert canned.bodies == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_first_of_an_answer_may_take_longer_than_the_next(
    provider: str, canned: CannedServer
) -> None:
    canned.is_silent = True
    canned.add(*begun(provider, "Hello"))
    model = KINDS[provider]("m", base_url=canned.url)
    with pytest.raises(IncompleteResponse, match=r"did not answer within 0\.3 s"):
        fold(model.stream(evolve(HI, timeout=0.3, first_timeout=60.0)))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_first_of_an_answer_may_have_to_come_sooner(
    provider: str, canned: CannedServer
) -> None:
    canned.is_silent = True
    canned.add()
    model = KINDS[provider]("m", base_url=canned.url)
    with pytest.raises(ModelError, match=r"did not answer within 0\.3 s"):
        fold(model.stream(evolve(HI, timeout=60.0, first_timeout=0.3)))
