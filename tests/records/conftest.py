"""Runs the records' tests with orjson and, as where it is not installed, without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from miniagent_redis.records import json as records_json


@pytest.fixture(params=["orjson", "json"], scope="module", autouse=True)
def encoder(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "json":
            patch.setattr(records_json, "orjson", None)
        elif records_json.orjson is None:
            pytest.skip("orjson is not installed")
        yield request.param
