"""The models of providers by their names: what a name may hold, and what is missing if it fails."""

from __future__ import annotations

import sys
from unittest.mock import MagicMock

import pytest

from miniagent_redis.errors import InvalidInput, ModelError
from miniagent_redis.llm import ModelRequest, resolve_model
from miniagent_redis.llm.openai import OpenAIModel
from miniagent_redis.llm.provider import ProviderModel

PROVIDERS = ["openai", "anthropic", "gemini"]


@pytest.fixture
def _sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it look as if each SDK were installed; none is imported."""
    monkeypatch.setattr("miniagent_redis.llm.provider._is_installed", lambda module: True)


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
    ("host", "limit"), [("api.openai.com", "max_completion_tokens"), ("localhost", "max_tokens")]
)
def test_openai_itself_is_told_the_limit_by_its_newer_name(
    host: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MagicMock()
    client.base_url.host = host
    monkeypatch.setattr(OpenAIModel, "_client", lambda model: client)
    list(OpenAIModel("m").stream(ModelRequest((), params={"max_tokens": 50})))
    sent = client.chat.completions.create.call_args.kwargs
    assert {name for name in sent if name.startswith("max_")} == {limit}
    assert sent[limit] == 50


@pytest.mark.usefixtures("_no_sdks")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_missing_package_is_told_with_the_command_that_installs_it(provider: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model(f"{provider}:some-model")
    assert f"pip install 'miniagent-redis[{provider}]'" in str(caught.value)
