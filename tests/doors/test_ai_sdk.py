"""Vercel's AI SDK for JavaScript, pointed at an agent of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.doors.conftest import KEY
from tests.support.waiting import LIMIT

PACKAGES = ("ai@6", "@ai-sdk/openai@3", "@ai-sdk/openai-compatible@2", "zod@4")
PROGRAM = Path(__file__).with_name("ai_sdk.mjs")
WEATHER = "The tool get_weather says: sunny in Paris"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages: that of MINIAGENT_TEST_NPM, or one made for this."""
    if os.environ.get("MINIAGENT_TEST_NPM"):
        return Path(os.environ["MINIAGENT_TEST_NPM"])
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("there is no npm, or no node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0] or 0) < 20:
        pytest.skip(f"node is {version}, and 20 is needed")
    place = tmp_path_factory.mktemp("npm")
    (place / "package.json").write_text('{"private": true}')
    done = subprocess.run([npm, "install", "--silent", *PACKAGES], cwd=place, timeout=10 * LIMIT)
    if done.returncode:
        pytest.skip("npm could not install the packages")
    return place


@pytest.mark.skipif(not os.environ.get("MINIAGENT_TEST_DOORS"), reason="it installs from npm")
def test_ai_sdk(base_url: str, folder: Path) -> None:
    done = subprocess.run(
        ["node", str(PROGRAM), base_url, KEY],
        cwd=folder,
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
