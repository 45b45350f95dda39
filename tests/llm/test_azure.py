"""Azure's addresses, keys and versions."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis.llm import ModelRequest, fold, resolve_model
from miniagent_redis.llm.openai import OpenAIModel
from miniagent_redis.llm.providers.hosts import azure_address, is_azure
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, said

HOST = "http://res.openai.azure.com"


@pytest.fixture
def azure(canned: CannedServer, monkeypatch: pytest.MonkeyPatch) -> CannedServer:
    """Play that host as its proxy."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, canned.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key-of-azure")
    canned.add(*said("openai", "Hello"))
    return canned


def ask(azure: CannedServer, model: Any) -> dict[str, Any]:
    request = ModelRequest(HI.messages, params={"max_tokens": 50}, timeout=10)
    assert fold(model.stream(request)).text == "Hello"
    assert "max_tokens" not in azure.bodies[0]
    assert azure.bodies[0]["max_completion_tokens"] == 50
    return {"path": azure.paths[0].removeprefix(HOST), **azure.headers[0]}


def test_the_address_of_a_resource_is_enough(azure: CannedServer) -> None:
    told = ask(azure, resolve_model(f"openai:gpt@{HOST}"))
    assert told["path"] == "/openai/v1/chat/completions"
    assert told["authorization"] == "Bearer key-of-azure"


def test_a_dated_version_has_its_own_path_and_header(azure: CannedServer) -> None:
    told = ask(azure, OpenAIModel("gpt", base_url=HOST, api_version="2024-10-21"))
    path = "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert (told["path"], told["api-key"]) == (path, "key-of-azure")


def test_a_function_gives_the_tokens_of_entra_id(azure: CannedServer) -> None:
    model = OpenAIModel(
        "gpt", base_url=HOST, api_version="2024-10-21", api_key=lambda: "token-of-entra"
    )
    assert ask(azure, model)["authorization"] == "Bearer token-of-entra"


@pytest.mark.parametrize("version", ["2024-10-21", None])
def test_a_function_is_asked_once_for_each_request(
    version: str | None, azure: CannedServer
) -> None:
    tokens = iter(["token-one", "token-two"])
    model = OpenAIModel("gpt", base_url=HOST, api_version=version, api_key=lambda: next(tokens))
    for token in ("token-one", "token-two"):
        azure.add(*said("openai", "Hello"))
        fold(model.stream(HI))
        assert azure.headers[-1]["authorization"] == f"Bearer {token}"


def test_a_gateway_in_front_of_it_is_asked_like_it_where_a_version_is_named(
    azure: CannedServer,
) -> None:
    gateway = HOST.replace("res.openai.azure.com", "corp.example.org/llm/openai")
    told = ask(azure, OpenAIModel("gpt", base_url=gateway, api_version="2024-10-21"))
    path = "/llm/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert told["path"].endswith(path)
    assert told["api-key"] == "key-of-azure"


@pytest.mark.parametrize("cloud", ["us", "cn"])
def test_its_clouds_in_other_countries_are_known(cloud: str) -> None:
    assert is_azure(f"res.openai.azure.{cloud}")
    assert not is_azure(f"res.openai.azure.{cloud}.example.org")


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://r.openai.azure.com/", ("https://r.openai.azure.com/openai/v1", None)),
        ("https://r.openai.azure.com/openai/v1/", ("https://r.openai.azure.com/openai/v1", None)),
        (
            "https://r.openai.azure.com/openai/deployments/g?api-version=2024-10-21",
            ("https://r.openai.azure.com/openai/deployments/g", "2024-10-21"),
        ),
        (
            "https://r.openai.azure.com/openai/deployments/g/chat/completions?api-version=2025-01-01",
            ("https://r.openai.azure.com/openai/deployments/g", "2025-01-01"),
        ),
    ],
)
def test_an_address_may_be_copied_from_the_portal(address: str, found: Any) -> None:
    assert azure_address(address, None) == found
