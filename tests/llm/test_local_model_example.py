"""examples/local_model.py against servers of several kinds: thoughts and answer are told apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.canned_server import CannedServer
from tests.support.dialects import DIALECTS, Said

EXAMPLE = Path(__file__).parents[2] / "examples" / "local_model.py"


@pytest.mark.parametrize("server", ["llama.cpp", "vllm", "lm studio", "ollama"])
def test_it_prints_the_answer_and_beside_it_the_thoughts(
    server: str, canned: CannedServer, redis_url: str
) -> None:
    canned.add(*DIALECTS[server].pieces(Said("Hello, Ada!", "She says hello.")))
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), canned.url, "a-model", "Hello!"],
        env={**os.environ, "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (
        0,
        "Hello, Ada!\n",
        "She says hello.",
    )
    (body,) = canned.bodies
    assert (body["model"], body["seed"], body["max_tokens"]) == ("a-model", 7, 500)
