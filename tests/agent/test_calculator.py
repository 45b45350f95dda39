"""The calculator does sums and nothing else, however it is asked."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.errors import ToolError
from miniagent_redis.tools import calculator


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12 * (3 + 4)", 84),
        ("7 / 2", 3.5),
        ("6 / 2", 3),
        ("0.1 + 0.2", 0.3),
        ("-2 ** 2", -4),
        ("2^10", 1024),
        ("7 // 2 + 7 % 2", 4),
        (" 6 \u00d7 7 \u00f7 2 \u2212 1", 20),
        ("1e3", 1000),
        ("+5 - -5", 10),
        ("2 ** -1", 0.5),
        ("10 ** 100", 10**100),
    ],
)
def test_it_does_sums(expression: str, value: float) -> None:
    result = calculator(expression)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("1 / 0", "divides by zero"),
        ("5 % 0", "divides by zero"),
        ("0 ** -1", "divides by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("9.0 ** 9 ** 9", "too large"),
        ("10**2000 * 10**2000 / 3", "too large"),
        ("1e999", "too large"),
        ("(-8) ** 0.5", "not a real number"),
        ("", "not arithmetic"),
        ("1 +", "not arithmetic"),
        ("e", "not arithmetic"),
        ("5 (3)", "not arithmetic"),
        ("(1, 2)", "not arithmetic"),
        ("__import__('os').system('true')", "not arithmetic"),
        ("1 if 1 else 2", "not arithmetic"),
        ("1\x00", "not arithmetic"),
        ("\ud800", "not arithmetic"),
        ("(" * 400 + "1" + ")" * 50, "not arithmetic"),
        ("1+" * 400 + "1", "longer than 500"),
    ],
)
def test_it_refuses_what_is_no_sum(expression: str, complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        calculator(expression)


@given(st.text(alphabet="0123456789+-*/%(). eE_", max_size=40))
def test_it_always_comes_back_with_a_number_or_a_tool_error(expression: str) -> None:
    with suppress(ToolError):
        assert isinstance(calculator(expression), int | float)
