"""What becomes of a provider's client: keys, addresses, threads, forks, and who stops listening."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import ModelError
from miniagent_redis.llm import Block, Finish, TextDelta, ask, fold, resolve_model
from miniagent_redis.llm.anthropic import AnthropicModel
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, PROVIDERS, begun, name, said, thought

LIMIT = 20.0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_closing_the_stream_ends_the_request(provider: str, canned: CannedServer) -> None:
    canned.is_endless = True
    canned.add(*begun(provider, "word "))
    stream = ask(resolve_model(name(provider, canned)), HI)
    assert TextDelta("word ") in (next(stream) for _ in range(9))
    stream.close()
    assert canned.was_left.wait(LIMIT)


@pytest.mark.parametrize("first", [begun, thought])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_cancelling_a_turn_ends_the_request_also_while_the_model_thinks(
    provider: str, first: Any, canned: CannedServer, redis_url: str
) -> None:
    canned.is_endless = True
    canned.add(*(first(provider, "word ") if first is begun else first(provider)))
    config = AgentConfig(model=name(provider, canned))
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        future = agent.submit(session_id, "Count!")
        assert canned.was_asked.wait(LIMIT)
        assert manager.cancel(session_id)
        result = future.result(LIMIT)
        assert canned.was_left.wait(LIMIT)
        assert result.interrupted
        assert set(result.text.split()) <= {"word"}
        answer = manager.get_history(session_id)[-1]
    assert (answer["role"], answer["metadata"]["interrupted"]) == ("assistant", "cancelled")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_a_server_repeats_is_in_no_message(
    provider: str, canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"key-of-{provider}"
    error = {"error": {"message": f"Wrong key: {key}", "code": 401}, "type": "error"}
    canned.add(error, status=401)
    with pytest.raises(ModelError, match=r"refused the key.*401: Wrong key: \*\*\*") as caught:
        fold(resolve_model(name(provider, canned)).stream(HI))
    assert caught.value.__cause__ is None
    assert any(key in value for value in canned.headers[0].values())  # it was sent, after all


@pytest.mark.parametrize("key", [None, "", " \n"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_missing_key_is_told_by_its_variable(
    provider: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")  # where some keep their login
    if key is None:
        monkeypatch.delenv(f"{provider.upper()}_API_KEY")
    else:
        monkeypatch.setenv(f"{provider.upper()}_API_KEY", key)
    with pytest.raises(ModelError, match=f"needs a key.*{provider.upper()}_API_KEY"):
        fold(resolve_model(f"{provider}:some-model").stream(HI))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_server_of_ones_own_needs_no_key(
    provider: str, canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{provider.upper()}_API_KEY")
    canned.add(*said(provider, "Hello"))
    assert fold(resolve_model(name(provider, canned)).stream(HI)).text == "Hello"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_there_is_told_as_a_failed_connection(provider: str) -> None:
    model = resolve_model(f"{provider}:some-model@http://127.0.0.1:9/v1")
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"the connection to .* failed"):
        fold(model.stream(HI))
    assert time.monotonic() - started < 60


def test_a_server_that_the_environment_names_needs_no_key(
    canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", canned.url)
    canned.add(*said("openai", "Hello"))
    assert fold(resolve_model("openai:some-model").stream(HI)).text == "Hello"


def test_a_gateway_to_anthropic_is_sent_the_token(
    canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-of-ada")
    canned.add({"error": {"message": "No token-of-ada here"}}, status=401)
    with pytest.raises(ModelError, match=r"No \*\*\* here"):
        fold(resolve_model(name("anthropic", canned)).stream(HI))
    assert canned.headers[0]["authorization"] == "Bearer token-of-ada"


def test_a_key_that_is_just_a_word_is_left_in_messages(
    canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    canned.add({"error": {"message": "none such"}}, status=404)
    with pytest.raises(ModelError, match="404: none such"):
        fold(resolve_model(name("openai", canned)).stream(HI))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_threads_share_a_model(provider: str, canned: CannedServer) -> None:
    threads, times = 8, 5
    for number in range(threads * times):
        canned.add(*said(provider, f"{number} ", "and ", f"{number}"))
    model: Any = resolve_model(name(provider, canned))
    together = threading.Barrier(threads)
    clients: set[int] = set()

    def talk() -> list[str]:
        together.wait(LIMIT)
        texts = [fold(model.stream(HI)).text for _ in range(times)]
        clients.add(id(model._client()))
        return texts

    with ThreadPoolExecutor(threads) as pool:
        answers = [future.result(LIMIT) for future in [pool.submit(talk) for _ in range(threads)]]
    texts = sorted(text for some in answers for text in some)
    assert texts == sorted(f"{number} and {number}" for number in range(threads * times))
    assert len(clients) == 1


FORK = """
import os, sys
from miniagent_redis.llm import ModelRequest, fold, resolve_model
from miniagent_redis.models import Message
model = resolve_model(sys.argv[1])
def ask():
    return fold(model.stream(ModelRequest((Message("user", "Hi"),), timeout=10))).text == "Hello"
assert ask()
pid = os.fork()
if pid == 0:
    os._exit(0 if ask() and ask() else 1)
assert ask()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_forked_child_connects_anew(provider: str, canned: CannedServer) -> None:
    for _ in range(4):
        canned.add(*said(provider, "Hello"))
    program = [sys.executable, "-W", "ignore", "-c", FORK, name(provider, canned)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_options_are_sent_with_each_request(canned: CannedServer) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    model = AnthropicModel("m", base_url=canned.url, api_key="k", thinking=thinking)
    canned.add(*said("anthropic", "Hello"))
    events = list(model.stream(HI))
    assert events[-1] == Finish("stop")
    assert not any(isinstance(event, Block) for event in events)
    assert canned.bodies[0]["thinking"] == thinking


def test_an_old_server_can_be_spared_what_it_does_not_know(canned: CannedServer) -> None:
    canned.add(*said("openai", "Hello"))
    fold(OpenAIModel("m", base_url=canned.url, stream_options=None).stream(HI))
    assert canned.bodies[0]["stream_options"] is None
    assert canned.bodies[0]["model"] == "m"


@pytest.mark.parametrize("kind", [OpenAIModel, AnthropicModel, GeminiModel])
def test_an_option_that_there_is_not_is_told(kind: Any, canned: CannedServer) -> None:
    with pytest.raises(ModelError, match=r"cannot be asked like this.*nonsense.*check the options"):
        fold(kind("m", base_url=canned.url, nonsense=1).stream(HI))
    assert canned.bodies == []
