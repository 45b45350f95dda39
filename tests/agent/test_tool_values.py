"""What tools give beside text: data of pydantic, bytes, pictures; and names that models refuse."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import attrs
import pytest

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import ToolCall
from miniagent_redis.tools import ToolRegistry, call_tool

pydantic: Any = pytest.importorskip("pydantic")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
IMAGE = {"type": "image", "mime_type": "image/png", "data": base64.b64encode(PNG).decode()}


class Weather(pydantic.BaseModel):
    city: str
    degrees: float


@attrs.frozen
class Report:
    day: str
    weather: Weather


class Shown:
    def _repr_png_(self) -> bytes:
        return PNG


OSLO = Weather(city="Oslo", degrees=9.5)
TEXT = '{"city": "Oslo", "degrees": 9.5}'


def given(value: Any, longest: int = 100_000) -> Any:
    tools = ToolRegistry()
    tools.tool(name="give")(lambda: value)
    return call_tool(tools, ToolCall("1", "give"), longest=longest).content


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (OSLO, TEXT),
        ([OSLO], f"[{TEXT}]"),
        ({"there": OSLO}, f'{{"there": {TEXT}}}'),
        (Report("today", OSLO), f'{{"day": "today", "weather": {TEXT}}}'),
        ({"deep": [{"er": OSLO}]}, f'{{"deep": [{{"er": {TEXT}}}]}}'),
        (b"plain", "plain"),
        ({"raw": b"plain"}, '{"raw": "plain"}'),
        (b"\xff\xfe\x00", "[3 bytes that are no text]"),
        ([b"\xff\x00"], '["[2 bytes that are no text]"]'),
    ],
)
def test_data_becomes_json_and_bytes_no_literal(value: Any, text: str) -> None:
    assert given(value) == text


@pytest.mark.parametrize("value", [PNG, Shown(), IMAGE, bytearray(PNG), IMAGE | {"data": PNG}])
def test_a_picture_is_a_part(value: Any) -> None:
    assert given(value) == [IMAGE]


def test_text_beside_a_picture_is_cut_and_the_picture_is_not() -> None:
    text, image = given(["x" * 50, PNG], longest=10)
    assert text["text"].startswith("xxxxxxxxxx\n[cut here")
    assert image == IMAGE


@attrs.frozen
class Order:
    stückzahl: int


class Basket(TypedDict):
    größe: int


class Model(pydantic.BaseModel):
    straße: str


def _one(größe: int) -> str:
    return ""


def _two(orders: list[Order]) -> str:
    return ""


def _three(basket: Annotated[Basket, "what is in it"]) -> str:
    return ""


def _four(model: Model | None = None) -> str:
    return ""


@pytest.mark.parametrize("function", [_one, _two, _three, _four])
def test_a_name_that_a_vendor_refuses_is_told_at_registration(function: Callable[..., str]) -> None:
    with pytest.raises(InvalidInput, match=r"an argument or a field named '\w+'"):
        ToolRegistry().add(function)


def test_names_in_a_schema_of_its_own_are_looked_at_too() -> None:
    inner = {"type": "object", "properties": {"x" * 65: {}}}
    schema = {"type": "object", "properties": {"all": {"type": "array", "items": inner}}}
    with pytest.raises(InvalidInput, match="xxx"):
        ToolRegistry().add_schema("t", "T.", schema, lambda **arguments: "")
    fine = {"type": "object", "properties": {"enum": {"enum": ["größe"]}, "a.b-c_1": {}}}
    ToolRegistry().add_schema("t", "T.", fine, lambda **arguments: "")
