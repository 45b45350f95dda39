"""Vercel's AI SDK for JavaScript, pointed at an agent of ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.doors.conftest import KEY
from tests.support.waiting import LIMIT

PROGRAM = Path(__file__).with_name("ai_sdk.mjs")
WEATHER = "The tool get_weather says: sunny in Paris"


def test_ai_sdk(base_url: str, npm_folder: Path) -> None:
    done = subprocess.run(
        ["node", str(PROGRAM), base_url, KEY],
        cwd=npm_folder,
        capture_output=True,
        text=True,
        timeout=4 * LIMIT,
    )
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert heard.pop("behind") == "Your name is Bo."
    for name, found in heard.items():
        assert found["named"] == "Your name is Ada.", name
        assert found["called"] == WEATHER, name
        assert found["streamed"] == {"text": WEATHER, "failures": [], "counted": True}, name
        assert found["summed"] == {"text": "6 * 7 = 42", "failures": [], "counted": True}, name
        assert found["object"]["name"].startswith("Hello!"), name
