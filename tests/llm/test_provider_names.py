"""The models of providers by their names: what a name may hold, and what is missing if it fails."""

from __future__ import annotations

import re
import runpy
import sys
import time
from email.utils import formatdate
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from miniagent_redis.errors import InvalidInput, ModelError
from miniagent_redis.llm import ModelRequest, resolve_model
from miniagent_redis.llm.openai import OpenAIModel
from miniagent_redis.llm.providers.base import ProviderModel
from miniagent_redis.llm.providers.faults import told_to_wait

EXAMPLE = Path(__file__).parents[2] / "examples" / "vendors.py"
PROVIDERS = ["openai", "anthropic", "gemini"]


@pytest.fixture
def _sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it look as if each SDK were installed; none is imported."""
    monkeypatch.setattr("miniagent_redis.llm.providers.base._is_installed", lambda module: True)


@pytest.fixture
def _no_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("openai", "anthropic", "google", "google.genai"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.usefixtures("_sdks")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_name_holds_a_model_and_an_address(provider: str) -> None:
    model = resolve_model(f"{provider}:a/model@2@https://ada:secret@example.org/v1?key=secret")
    assert isinstance(model, ProviderModel)
    assert model.model == "a/model@2"
    assert model.name == f"{provider}:a/model@2@https://example.org/v1"
    assert "secret" not in repr(model)


@pytest.mark.usefixtures("_sdks")
def test_options_and_key_do_not_show_in_the_name() -> None:
    plain, careful = OpenAIModel("m"), OpenAIModel("m", api_key="secret", reasoning="secret")
    assert plain.name == "openai:m"
    assert careful.name != plain.name
    assert "secret" not in repr(careful)


@pytest.mark.usefixtures("_sdks")
@pytest.mark.parametrize("name", ["openai", "openai:", "gemini:@https://example.org"])
def test_a_name_without_a_model_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="lacks a model"):
        resolve_model(name)


@pytest.mark.usefixtures("_sdks")
@pytest.mark.parametrize(
    ("host", "limit"),
    [
        ("api.openai.com", "max_completion_tokens"),
        ("eu.api.openai.com", "max_completion_tokens"),
        ("res.openai.azure.com", "max_completion_tokens"),
        ("res.services.ai.azure.com", "max_completion_tokens"),
        ("localhost", "max_tokens"),
    ],
)
def test_openai_and_azure_are_told_the_limit_by_its_newer_name(
    host: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MagicMock()
    client.base_url.host = host
    monkeypatch.setattr(OpenAIModel, "_client", lambda model: client)
    with pytest.raises(ModelError, match="sent no answer"):
        list(OpenAIModel("m").stream(ModelRequest((), params={"max_tokens": 50})))
    sent = client.chat.completions.with_streaming_response.create.call_args.kwargs
    assert {name for name in sent if name.startswith("max_")} == {limit}
    assert sent[limit] == 50


@pytest.mark.usefixtures("_no_sdks")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_missing_package_is_told_with_the_command_that_installs_it(provider: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model(f"{provider}:some-model")
    assert f"-m pip install 'miniagent-redis[{provider}]'" in str(caught.value)


@pytest.mark.usefixtures("_no_sdks")
def test_the_example_of_all_vendors_tells_the_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "memory://")
    monkeypatch.setattr(sys, "argv", ["vendors.py", "gemini:some-model"])
    with pytest.raises(SystemExit, match=re.escape("pip install 'miniagent-redis[gemini]'")):
        runpy.run_path(str(EXAMPLE), run_name="__main__")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e999"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_told_in_several_ways(headers: dict[str, str], seconds: float | None) -> None:
    assert told_to_wait(headers) == seconds


def test_a_wait_may_be_told_as_a_date() -> None:
    wait = told_to_wait({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert wait is not None
    assert 90 < wait <= 100
