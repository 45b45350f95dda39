"""Packages from npm, for tests with the clients of others."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .waiting import LIMIT

PACKAGES = (
    "ai@6", "@ai-sdk/openai@3", "@ai-sdk/openai-compatible@2", "@ai-sdk/react@3", "zod@4",
    "@ag-ui/client@1", "react@19", "react-dom@19", "esbuild@0.28",
)  # fmt: skip


def install(place: Path) -> Path:
    """Return a folder with the packages: that of MINIAGENT_TEST_NPM, or ``place``; or skip."""
    if not os.environ.get("MINIAGENT_TEST_DOORS"):
        pytest.skip("it installs from npm: tox -e doors")
    if os.environ.get("MINIAGENT_TEST_NPM"):
        return Path(os.environ["MINIAGENT_TEST_NPM"])
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("there is no npm, or no node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0] or 0) < 20:
        pytest.skip(f"node is {version}, and 20 is needed")
    (place / "package.json").write_text('{"private": true}')
    done = subprocess.run([npm, "install", "--silent", *PACKAGES], cwd=place, timeout=10 * LIMIT)
    if done.returncode:
        pytest.skip("npm could not install the packages")
    return place
