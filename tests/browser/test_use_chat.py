"""examples/use_chat in a browser: an approval, and an answer that goes on behind a reload."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from miniagent_redis.flask import agents_of
from miniagent_redis.llm import DemoModel, Finish, ModelRequest, TextDelta
from tests.browser.conftest import Browse
from tests.support.waiting import LIMIT, until

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "use_chat"


class Model(DemoModel):
    """The demo model, which stops half-way in an answer if it is to speak slowly."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def stream(self, request: ModelRequest) -> Iterator[Any]:
        if "slowly" not in request.messages[-1].text:
            yield from super().stream(request)
            return
        yield TextDelta("first half, ")
        self.go_on.wait(LIMIT)
        yield TextDelta("second half")
        yield Finish()


@pytest.fixture
def script(npm_folder: Path) -> Path:
    """Return the folder with the page's script, built as the example says."""
    place = npm_folder / "use_chat"  # the packages are looked for in the folders above
    shutil.copytree(EXAMPLE, place, dirs_exist_ok=True)
    build = ["npm", "run", "--silent", "build"]
    subprocess.run(build, cwd=place, check=True, timeout=2 * LIMIT)
    return place


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def url(redis_url: str, model: Any, script: Path) -> Iterator[str]:
    create_app = runpy.run_path(str(EXAMPLE / "app.py"))["create_app"]
    settings: dict[str, Any] = {"MINIAGENT_MODEL": model, "MINIAGENT_DELTA_INTERVAL": 0}
    app: Flask = create_app(REDIS_URL=redis_url, FOLDER=script, **settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/#chat"
    model.go_on.set()
    server.shutdown()
    server.server_close()
    with app.app_context():
        agents_of(app).close()


def test_a_page_with_use_chat(url: str, model: Model, browse: Browse) -> None:
    driver = browse()
    driver.get(url)

    def text() -> str:
        return str(driver.execute_script("return document.body.innerText"))

    def say(message: str) -> None:
        driver.find_element("css selector", "input").send_keys(message)
        driver.find_element("css selector", "form button").click()

    until(lambda: "ready" in text())
    say("What is 6 * 7?")
    until(lambda: "Approve" in text())
    driver.find_element("css selector", "article button").click()
    until(lambda: "6 * 7 = 42" in text() and "ready" in text())
    assert "Approve" not in text()
    say("Speak slowly")
    until(lambda: "first half" in text())
    driver.refresh()
    until(lambda: "first half" in text() and "streaming" in text())
    model.go_on.set()
    until(lambda: "second half" in text() and "ready" in text())
    assert text().count("first half, second half") == 1
    assert text().count("6 * 7 = 42") == 1
    driver.refresh()
    until(lambda: "second half" in text() and "ready" in text())
    assert text().count("first half, second half") == 1


def test_it_is_short() -> None:
    lines = [line for file in ("page.jsx", "app.py") for line in _lines(EXAMPLE / file)]
    assert len(lines) < 80
    assert len(_lines(EXAMPLE / "page.jsx")) < 60


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines()
