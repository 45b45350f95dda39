"""The three SDKs over real HTTP against llmock: the same conversation, and every way to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.errors import IncompleteResponse, ModelError
from miniagent_redis.llm import ModelRequest, fold, resolve_model
from miniagent_redis.models import Message
from tests.support.llmock_models import PROVIDERS, name, neutral

TEXT = "one two three four five six seven eight"
REQUEST = ModelRequest((Message("user", "Count."),), timeout=10)


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def tools() -> ToolRegistry:
    registry = ToolRegistry()

    @registry.tool
    def weather(city: str) -> str:
        """Tell the weather in a city."""
        return f"Sunny in {city}."

    @registry.tool
    def clock() -> str:
        """Tell the time."""
        return "Ten past ten."

    return registry


def talk(models: list[str], mock: LLMock, redis_url: str) -> list[dict[str, Any]]:
    """Hold one session, each turn with the next model; return its history."""
    history: list[dict[str, Any]] = []
    session_id = None
    for number, model in enumerate(models):
        calls = (ToolCall("weather", {"city": "Oslo"}), ToolCall("clock"))
        mock.add(Reply("Let me see.", tool_calls=calls), Reply(f"Sunny, at ten ({number})."))
        config = AgentConfig(model=model, system_prompt="Be brief.", max_tokens=100)
        with SessionAgent(config, tools(), redis_config=RedisConfig(url=redis_url)) as agent:
            manager = SessionManager(agent)
            session_id = manager.create_or_resume_session(session_id=session_id)
            result = manager.run(session_id, f"Weather and time, please ({number}).")
            assert result.text == f"Sunny, at ten ({number})."
            assert result.usage.input_tokens > 0
            assert result.usage.output_tokens > 0
            history = manager.get_history(session_id)
    return history


def sent_openai(body: dict[str, Any]) -> list[Any]:
    out: list[Any] = []
    for message in body["messages"]:
        if message["role"] != "system":
            kind = "tool" if message["role"] == "tool" else "text"
            if message.get("content"):
                out.append((message["role"].replace("tool", "user"), kind, message["content"]))
            for call in message.get("tool_calls", ()):
                out.append(("assistant", "call", call["function"]["name"]))
    return out


def sent_anthropic(body: dict[str, Any]) -> list[Any]:
    what: dict[str, Callable[[dict[str, Any]], Any]] = {
        "text": lambda block: ("text", block["text"]),
        "tool_use": lambda block: ("call", block["name"]),
        "tool_result": lambda block: ("tool", block["content"]),
    }
    return [
        (message["role"], *what[block["type"]](block))
        for message in body["messages"]
        for block in message["content"]
    ]


def sent_gemini(body: dict[str, Any]) -> list[Any]:
    out: list[Any] = []
    for content in body["contents"]:
        role = content["role"].replace("model", "assistant")
        for part in content["parts"]:
            if "text" in part:
                out.append((role, "text", part["text"]))
            elif "functionCall" in part:
                out.append((role, "call", part["functionCall"]["name"]))
            else:
                out.append((role, "tool", part["functionResponse"]["response"]["output"]))
    return out


SENT = {"openai": sent_openai, "anthropic": sent_anthropic, "gemini": sent_gemini}


def test_the_same_conversation_is_stored_and_sent_through_each(
    mock: LLMock, redis_url: str
) -> None:
    stored, sent = {}, {}
    for provider in PROVIDERS:
        mock.reset()
        stored[provider] = neutral(talk([name(provider, mock)] * 2, mock, redis_url))
        sent[provider] = [SENT[provider](record.body) for record in mock.requests]
        mock.assert_resilient(strict=True)
    assert len(stored["openai"]) == 10
    assert stored["openai"] == stored["anthropic"] == stored["gemini"]
    assert [len(request) for request in sent["openai"]] == [1, 6, 8, 13]
    assert sent["openai"] == sent["anthropic"] == sent["gemini"]


@pytest.mark.parametrize(
    "order", [PROVIDERS, PROVIDERS[::-1], ["anthropic", "openai", "gemini", "anthropic"]]
)
def test_a_session_goes_on_with_the_next_provider(
    order: list[str], mock: LLMock, redis_url: str
) -> None:
    history = neutral(talk([name(provider, mock) for provider in order], mock, redis_url))
    assert len(history) == 5 * len(order)
    mock.assert_resilient(strict=True)
    one = mock.requests[-1].body
    mock.reset()
    same = [name(order[-1], mock)] * len(order)
    assert neutral(talk(same, mock, redis_url)) == history
    assert SENT[order[-1]](mock.requests[-1].body) == SENT[order[-1]](one)


@pytest.mark.parametrize("fault", ["truncate", "disconnect"])
def test_half_an_answer_is_stored_as_such_and_another_provider_goes_on(
    fault: str, provider: str, mock: LLMock, redis_url: str
) -> None:
    mock.reply(TEXT).reply("Five.")
    getattr(mock, fault)(after_chunks=5)
    second = PROVIDERS[PROVIDERS.index(provider) - 1]
    config = AgentConfig(model=name(provider, mock))
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        session_id = SessionManager(agent).create_or_resume_session()
        with pytest.raises(IncompleteResponse) as caught:
            SessionManager(agent).chat(session_id, "Count.")
    config = AgentConfig(model=name(second, mock))
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        assert SessionManager(agent).chat(session_id, "What comes next?") == "Five."
        history = SessionManager(agent).get_history(session_id)
    half = caught.value.text
    assert TEXT.startswith(half)
    said = [message["content"] for message in history]
    assert said == ["Count.", half, "What comes next?", "Five."]
    assert history[1]["metadata"]["interrupted"] == "incomplete"
    sent = [text for _, _, text in SENT[second](mock.requests[-1].body)]
    assert sent == ["Count.", f"{half}\n[interrupted]", "What comes next?"]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (400, "refused the request"),
        (401, "refused the key"),
        (403, "refused the key"),
        (404, "was not found"),
    ],
)
def test_what_no_retry_can_mend_is_told_at_once(
    status: int, problem: str, provider: str, mock: LLMock
) -> None:
    mock.fail(status, times=None)
    with pytest.raises(ModelError, match=f"{problem}.*{status}: ") as caught:
        fold(resolve_model(name(provider, mock)).stream(REQUEST))
    assert caught.value.hint
    assert len(mock.requests) == 1
    mock.assert_resilient(strict=True)


def test_a_full_provider_is_told_with_the_wait(provider: str, mock: LLMock) -> None:
    mock.rate_limit(times=None, retry_after=1)
    with pytest.raises(ModelError, match=r"takes no more requests.*429.* in 1 s") as caught:
        fold(resolve_model(name(provider, mock)).stream(REQUEST))
    assert caught.value.retry_after == 1
    mock.assert_resilient()


def test_a_longer_wait_than_the_model_may_be_silent_is_not_waited(
    provider: str, mock: LLMock
) -> None:
    mock.rate_limit(times=None, retry_after=3600)
    with pytest.raises(ModelError, match="again in 3600 s") as caught:
        fold(resolve_model(name(provider, mock)).stream(REQUEST))
    assert caught.value.retry_after == 3600
    assert len(mock.requests) == 1
    mock.assert_resilient()


def test_a_passing_failure_is_ridden_out_by_the_sdk(provider: str, mock: LLMock) -> None:
    mock.fail(503).reply(TEXT)
    assert fold(resolve_model(name(provider, mock)).stream(REQUEST)).text == TEXT
    assert [record.status for record in mock.requests] == [503, 200]
    mock.assert_resilient(strict=True)


def test_a_lasting_failure_is_told(provider: str, mock: LLMock) -> None:
    mock.outage(status=500)
    with pytest.raises(ModelError, match=r"failed\. 500: ") as caught:
        fold(resolve_model(name(provider, mock)).stream(REQUEST))
    assert not isinstance(caught.value, IncompleteResponse)
    assert len(mock.requests) == 3
    mock.assert_resilient()


def test_a_silence_before_the_answer_is_a_timeout(provider: str, mock: LLMock) -> None:
    mock.delay(5, times=None)
    with pytest.raises(ModelError, match=r"did not answer within 0\.2 s"):
        fold(resolve_model(name(provider, mock)).stream(evolve(REQUEST, timeout=0.2)))
    mock.assert_resilient()


@pytest.mark.parametrize("fault", ["truncate", "disconnect", "corrupt"])
def test_half_an_answer_is_told_as_such_and_can_be_asked_again(
    fault: str, provider: str, mock: LLMock
) -> None:
    mock.reply(TEXT, times=2)
    getattr(mock, fault)(after_chunks=5)
    model = resolve_model(name(provider, mock))
    with pytest.raises(IncompleteResponse, match="broke off") as caught:
        fold(model.stream(REQUEST))
    assert caught.value.text
    assert TEXT.startswith(caught.value.text)
    assert fold(model.stream(REQUEST)).text == TEXT
    mock.assert_resilient()


def test_a_silence_in_the_middle_is_half_an_answer(provider: str, mock: LLMock) -> None:
    mock.reply(TEXT).stall(after_chunks=4, seconds=5)
    model = resolve_model(name(provider, mock))
    with pytest.raises(IncompleteResponse, match=r"broke off.*within 0\.5 s") as caught:
        fold(model.stream(evolve(REQUEST, timeout=0.5)))
    assert TEXT.startswith(caught.value.text)
    assert fold(model.stream(evolve(REQUEST, timeout=0.5))).text
    mock.assert_resilient()


def test_arguments_that_are_no_json_are_told(mock: LLMock) -> None:
    from miniagent_redis.llm import ToolSpec

    city = {"type": "object", "properties": {"city": {"type": "string"}}}
    request = evolve(REQUEST, tools=(ToolSpec("weather", "The weather", city),))
    for provider in ("openai", "anthropic"):  # Google sends them as an object
        mock.reset().break_tool_call()
        (call,) = fold(resolve_model(name(provider, mock)).stream(request)).unread
        assert call.name == "weather"
        assert call.sent
        assert call.why
        mock.assert_resilient()
