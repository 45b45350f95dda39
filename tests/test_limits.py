"""What a RateLimit and a Price refuse, by the name of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import InvalidInput, Price, RateLimit

LIMIT: dict[str, Any] = {"per": "user", "window": 60, "requests": 5}
PRICE: dict[str, Any] = {"input": 1.0, "output": 2.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("per", value) for value in ("day", "", None, 5)),
        *(("window", value) for value in (0, -1, 1e10, float("nan"), "60", True, None)),
        *((name, value) for name in ("requests", "tokens") for value in (0, -1, 1.0, "5", True)),
    ],
)
def test_a_rate_limit_that_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} must be "):
        RateLimit(**{**LIMIT, name: value})


def test_a_rate_limit_without_an_amount_is_refused() -> None:
    with pytest.raises(InvalidInput, match="needs a number of requests, of tokens, or both"):
        RateLimit(per="user", window=60)


@pytest.mark.parametrize("name", ["input", "output", "cached"])
@pytest.mark.parametrize("value", [-1, 1e7, float("nan"), "1", True])
def test_a_price_that_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} must be USD"):
        Price(**{**PRICE, name: value})


@pytest.mark.parametrize("name", ["input", "output"])
def test_a_price_says_what_each_token_costs(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} must be USD"):
        Price(**{**PRICE, name: None})
    assert Price(**PRICE).cached is None
