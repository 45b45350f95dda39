"""A model can be given by name, as an object, or as a function."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput, ModelError
from miniagent_redis.llm import (
    Answer,
    DemoModel,
    Finish,
    FunctionModel,
    ModelEvent,
    ModelRequest,
    ScriptedModel,
    TextDelta,
    fold,
    resolve_model,
)

PLUGIN = """
from miniagent_redis.llm import ScriptedModel
def echo(rest): return ScriptedModel([f"<{rest}>"])
def broken(rest): raise OSError("no account")
def empty(rest): return None
"""
ENTRY_POINTS = """[miniagent_redis.models]
echo = parrot_for_tests:echo
broken = parrot_for_tests:broken
empty = parrot_for_tests:empty
gone = parrot_for_tests:gone
"""


@pytest.fixture
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package that offers models, the way pip would."""
    (tmp_path / "parrot_for_tests.py").write_text(PLUGIN)
    info = tmp_path / "parrot_for_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot-for-tests\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("parrot_for_tests", None)


def test_demo_is_known_by_name() -> None:
    assert isinstance(resolve_model("demo"), DemoModel)


def test_a_model_is_itself_and_a_function_becomes_one() -> None:
    model = ScriptedModel([])
    assert resolve_model(model) is model
    assert isinstance(resolve_model(lambda messages: "Hi"), FunctionModel)


@pytest.mark.usefixtures("_plugin")
@pytest.mark.parametrize(("name", "rest"), [("echo", ""), ("echo:a:b", "a:b")])
def test_other_packages_offer_models_by_entry_point(name: str, rest: str) -> None:
    assert fold(resolve_model(name).stream(ModelRequest(()))).text == f"<{rest}>"


@pytest.mark.usefixtures("_plugin")
def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidInput, match=r"no model 'nope:1'.*known here: anthropic, broken, demo"
    ):
        resolve_model("nope:1")


@pytest.mark.usefixtures("_plugin")
@pytest.mark.parametrize(
    ("name", "why"),
    [("broken", "OSError: no account"), ("empty", "NoneType"), ("gone", "AttributeError")],
)
def test_a_model_that_cannot_be_set_up_says_why(name: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        resolve_model(name)


@pytest.mark.parametrize("model", [None, 5, ScriptedModel, object()])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(InvalidInput, match="model"):
        resolve_model(model)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpt-4o", "openai:gpt-4o"),
        ("o3-mini", "openai:o3-mini"),
        ("claude-sonnet-4", "anthropic:claude-sonnet-4"),
        ("gemini-2.5-pro", "gemini:gemini-2.5-pro"),
        ("openai/gpt-4o", "openai:gpt-4o"),
    ],
)
def test_a_models_name_without_who_offers_it_is_told_how_it_is_written(
    name: str, meant: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve_model(name)
    assert caught.value.hint == f"did you mean {meant}?"


def test_an_object_whose_stream_is_an_async_generator_is_a_model() -> None:
    class Streams:
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            yield TextDelta("Hi")
            yield Finish()

    assert fold(resolve_model(Streams()).stream(ModelRequest(()))).text == "Hi"


def test_an_object_whose_stream_is_a_coroutine_is_no_model() -> None:
    class Awaits:
        async def stream(self, request: Any) -> Any:
            return []

    with pytest.raises(InvalidInput, match=r"\.stream is an async function without a yield"):
        resolve_model(Awaits())  # type: ignore[arg-type]


def test_a_model_function_that_raises_is_named() -> None:
    def weather_bot(messages: list[dict[str, Any]]) -> str:
        raise KeyError("sky")

    with pytest.raises(ModelError, match=r"weather_bot failed to answer. KeyError: 'sky'"):
        Answer(resolve_model(weather_bot), ModelRequest(())).next()
