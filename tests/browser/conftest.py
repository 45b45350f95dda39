"""Headless Chromium, by Selenium. Without the two these tests are skipped.

MINIAGENT_TEST_AXE is a file of axe-core in the place of that of ``axe-core-python``;
MINIAGENT_TEST_IMAGES is the folder for screenshots.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.console_apps import Model
from tests.support.npm import install
from tests.support.sites import Site

Browse = Callable[..., Any]


def _reason() -> str:
    if find_spec("selenium") is None:
        return "no selenium: tox -e browser has it"
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        return "no chromium and chromedriver on PATH: apt install chromium chromium-driver"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if why := _reason():
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(why))


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def site(redis_url: str, model: Model) -> Iterator[Site]:
    with Site(redis_url, model) as opened:
        yield opened
        model.go_on.set()


@pytest.fixture(scope="session")
def npm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with packages from npm."""
    return install(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Yield a function that opens one more browser; each is a person of their own."""
    opened: list[Any] = []

    def open_it(**more: Any) -> Any:
        opened.append(open_browser(**more))
        return opened[-1]

    yield open_it
    for one in opened:
        one.quit()


def open_browser(*, javascript: bool = True) -> Any:
    """Return a driver of a browser."""
    webdriver: Any = import_module("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.add_argument("--hide-scrollbars")
    if not javascript:
        blocked = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", blocked)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium") or ""
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the source of axe-core."""
    path = os.environ.get("MINIAGENT_TEST_AXE")
    if path is None:
        package = pytest.importorskip("axe_core_python")
        path = str(Path(package.__file__).parent / "axe.min.js")
    return Path(path).read_text("utf-8")


@pytest.fixture
def images() -> Path:
    """Return the folder for screenshots."""
    if (folder := os.environ.get("MINIAGENT_TEST_IMAGES")) is None:
        pytest.skip("MINIAGENT_TEST_IMAGES is not set")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
