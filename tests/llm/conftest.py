"""Fixtures for models of providers. What needs their SDKs is collected only where those are."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pytest

from tests.support.canned_server import CannedServer

if TYPE_CHECKING:
    from llmock.pytest_plugin import LLMock
    from llmock.testing import LLMockServer


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


_SDKS = ("openai", "anthropic", "google-genai", "llmock")
_NEEDS = {
    "test_llm_library.py": ("llm",),
    "test_azure.py": _SDKS,
    "test_chaos.py": _SDKS,
    "test_compatible_servers.py": _SDKS,
    "test_kinds_of_errors.py": _SDKS,
    "test_llmock.py": _SDKS,
    "test_local_model_example.py": _SDKS,
    "test_provider_clients.py": _SDKS,
    "test_provider_faults.py": _SDKS,
    "test_provider_output.py": _SDKS,
    "test_provider_streams.py": _SDKS,
    "test_provider_pictures.py": _SDKS,
    "test_provider_requests_once.py": _SDKS,
    "test_reasoning_shown.py": _SDKS,
    "test_responses_api.py": _SDKS,
    "test_same_conversation.py": _SDKS,
    "test_silent_providers.py": _SDKS,
    "test_small_model.py": _SDKS,
    "test_tool_choice.py": _SDKS,
    "test_vendors_example.py": _SDKS,
    "test_ways_of_servers.py": _SDKS,
}
collect_ignore = [file for file, needed in _NEEDS.items() if not all(map(_is_installed, needed))]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set keys that are none, and nothing else that the SDKs read."""
    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", f"key-of-{name.lower()}")
        monkeypatch.delenv(f"{name}_BASE_URL", raising=False)
    for name in ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def canned() -> Iterator[CannedServer]:
    """Yield a server that answers what it is told to."""
    with CannedServer() as server:
        yield server


@pytest.fixture(scope="session")
def llmock_server() -> Iterator[LLMockServer]:
    from llmock.testing import LLMockServer

    with LLMockServer() as server:
        yield server


@pytest.fixture
def mock(llmock_server: LLMockServer) -> LLMock:
    """Return a server that plays all three vendors, with nothing asked yet."""
    from llmock.pytest_plugin import LLMock

    return LLMock(llmock_server).reset()
