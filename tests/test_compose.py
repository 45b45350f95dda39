"""docker-compose.yml and Dockerfile: what they name is there, and their commands are really run.

Without containers: each command line with its environment, on ports of its own.
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from miniagent_redis import AgentConfig, RedisConfig
from miniagent_redis.cli.serve import serve
from tests.support.program import environment
from tests.support.servers import Leash, RedisServer, free_port
from tests.support.waiting import LIMIT, until

yaml: Any = pytest.importorskip("yaml")
pytest.importorskip("waitress")

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
OF_OTHERS = {
    "redis": {"REDISCLI_AUTH"},
    "commander": {"REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"},
}
"""Variables of programs that are not ours."""


def composed(**given: str) -> dict[str, Any]:
    """Return the file as it is read where these variables are set."""
    text = COMPOSE.read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(
        VARIABLE.sub(lambda one: given.get(one[1]) or one[2], text)
    )
    return found


def services(**given: str) -> dict[str, Any]:
    found: dict[str, Any] = composed(**given)["services"]
    return found


def test_it_has_redis_an_api_with_console_an_app_and_on_demand_redis_commander() -> None:
    found = composed()
    assert list(found["services"]) == ["redis", "serve", "app", "commander"]
    assert [name for name, one in found["services"].items() if "profiles" in one] == ["commander"]
    for name, one in found["services"].items():
        for volume in one.get("volumes", ()):
            assert volume.partition(":")[0] in found["volumes"], name
        for other, how in one.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in found["services"][other]
        if "build" in one:
            assert (ROOT / one["build"] / "Dockerfile").is_file()


def test_only_this_machine_reaches_it_and_nobody_reaches_redis() -> None:
    found = services()
    assert "ports" not in found["redis"]
    published = {name: one["ports"] for name, one in found.items() if "ports" in one}
    assert published == {
        "serve": ["127.0.0.1:8081:8081"],
        "app": ["127.0.0.1:8000:8000"],
        "commander": ["127.0.0.1:8082:8081"],
    }
    assert found["serve"]["command"][found["serve"]["command"].index("--port") + 1] == "8081"
    assert "--bind=0.0.0.0:8000" in found["app"]["command"]
    for address in re.findall(r"http://127\.0\.0\.1:(\d+)", COMPOSE.read_text("utf-8")):
        assert any(f":{address}:" in each for ports in published.values() for each in ports)


def test_every_variable_is_one_that_somebody_reads() -> None:
    settings = {one.metadata["env"] for one in fields(RedisConfig)}
    options = {str(each) for one in serve.params for each in [one.envvar] if each}
    agent = {f"FLASK_MINIAGENT_{one.name.upper()}" for one in fields(AgentConfig)}
    ours = settings | options | agent | {"FLASK_SECRET_KEY", "OPENAI_API_KEY"}
    for name, one in services().items():
        assert one.get("environment", {}).keys() <= OF_OTHERS.get(name, ours), name
    text = COMPOSE.read_text("utf-8")
    asked_for = {found[1] for found in VARIABLE.finditer(text)}
    head = text.partition("services:")[0]
    assert {name for name in asked_for if name not in head} == set()
    assert all(found.get("REDIS_PASSWORD") == "p" for found in environments(REDIS_PASSWORD="p"))


def environments(**given: str) -> Iterator[Mapping[str, str]]:
    for name, one in services(**given).items():
        if name != "redis":
            yield one["environment"]


@pytest.mark.usefixtures("redis_server")
def test_redis_keeps_everything_evicts_nothing_and_asks_for_a_password() -> None:
    program, *arguments = services(REDIS_PASSWORD="p4ss")["redis"]["command"]
    assert program == "redis-server"
    with RedisServer(*arguments, tcp=True) as server:
        client = server.client(password="p4ss")
        for name, value in (
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("maxmemory-policy", "noeviction"),
        ):
            assert client.config_get(name) in ({name: value}, {name.encode(): value.encode()})
        tool = shutil.which("redis-cli")
        if tool is not None:
            kind, name, *rest = services()["redis"]["healthcheck"]["test"]
            assert (kind, name) == ("CMD", "redis-cli")
            said = subprocess.run(
                [tool, "-p", str(server.port), *rest],
                env={**os.environ, "REDISCLI_AUTH": "p4ss"},
                capture_output=True,
                text=True,
                timeout=LIMIT,
            ).stdout
            assert said.strip() == "PONG"


@contextmanager
def running(name: str, folder: Path, **given: str) -> Iterator[int]:
    """Yield the port of a service that is run by its command, with its Redis beside it."""
    found = services(REDIS_PASSWORD="p4ss", **given)
    inside = {"serve": "8081", "app": "8000"}[name]
    port = str(free_port())
    words = [each.replace(inside, port) for each in found[name]["command"]]
    modules = {"miniagent-redis": "miniagent_redis", "gunicorn": "gunicorn"}
    command = [sys.executable, "-m", modules[words[0]], *words[1:]]
    with RedisServer(*found["redis"]["command"][1:], tcp=True) as server:
        variables = {**found[name]["environment"], "REDIS_HOST": "127.0.0.1"}
        surroundings = environment(REDIS_PORT=server.port, **variables)
        surroundings.pop("REDIS_URL", None)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=surroundings, stdout=log, stderr=log, start_new_session=True
            )
        leash = Leash(-process.pid)
        try:

            def answers() -> bool:
                assert process.poll() is None, (folder / "log").read_text("utf-8")
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT).close()
                except urllib.error.HTTPError as error:
                    error.close()  # it asks who comes
                except OSError:
                    return False
                return True

            until(answers)
            yield int(port)
        finally:
            process.terminate()
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            leash.release()


@pytest.mark.usefixtures("redis_server")
def test_what_is_served_answers_to_the_key_and_shows_the_console(tmp_path: Path) -> None:
    with running("serve", tmp_path) as port:
        place = f"http://127.0.0.1:{port}"
        body = json.dumps({"model": "demo", "input": "My name is Ada"}).encode()
        headers = {"Authorization": "Bearer change-me", "Content-Type": "application/json"}
        sent = urllib.request.Request(f"{place}/v1/responses", body, headers)
        with urllib.request.urlopen(sent, timeout=LIMIT) as reply:
            assert "Hello, Ada!" in reply.read().decode()
        visitor = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        link = re.search(r"127\.0\.0\.1:8081(/\?token=\S+)", COMPOSE.read_text("utf-8"))
        assert link is not None
        visitor.open(f"{place}{link[1]}", timeout=LIMIT).close()
        with visitor.open(f"{place}/sessions", timeout=LIMIT) as reply:
            assert "My name is Ada" in reply.read().decode()

        check = services()["serve"]["healthcheck"]["test"]
        assert check[:3] == ["CMD", "python", "-c"]
        code = check[3].replace("8081", str(port))
        subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT)


@pytest.mark.usefixtures("redis_server")
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn is for POSIX")
def test_the_app_is_started_and_people_log_in(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    with running("app", tmp_path) as port:
        place = f"http://127.0.0.1:{port}"
        visitor = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        with visitor.open(f"{place}/login", b"name=ada", timeout=LIMIT) as reply:
            assert "<main>" in reply.read().decode()
        body = json.dumps({"text": "My name is Ada"}).encode()
        sent = urllib.request.Request(f"{place}/chat", body, {"Content-Type": "application/json"})
        with visitor.open(sent, timeout=LIMIT) as reply:
            turn = json.load(reply)["turn_id"]
        with visitor.open(f"{place}/events?turn={turn}", timeout=LIMIT) as reply:
            assert "Hello, Ada!" in reply.read().decode()


def copied() -> list[str]:
    """Return what the Dockerfile takes from the checkout."""
    lines = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [each for line in lines for each in line.split()]


def test_the_image_is_made_of_what_is_there_and_what_is_let_in() -> None:
    rules = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_in == set(copied())
    assert all((ROOT / each).exists() for each in copied())
    assert not any(fnmatch("miniagent_redis/py.typed", rule) for rule in rules[1:])
    user = re.search(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert f"useradd --create-home {user[1]}" in DOCKERFILE
    extras = re.search(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    assert extras is not None
    known = re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)
    assert set(extras[1].split(",")) <= set(known)


def test_each_line_of_the_image_is_an_instruction() -> None:
    """Nobody builds it here, so the little that Docker's grammar asks is looked at."""
    text = re.sub(r"\\\n", " ", DOCKERFILE)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    names = [line.partition(" ")[0] for line in lines]
    assert (names[0], names[-1]) == ("FROM", "CMD")
    assert set(names) <= {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "CMD"}
    assert all(line.partition(" ")[2].strip() for line in lines)
    for line in lines:
        if line.startswith("COPY ") and len(line.split()) > 3:
            assert line.endswith("/"), "several files go into a folder"
        if line.startswith("RUN "):
            subprocess.run(["sh", "-n", "-c", line.partition(" ")[2]], check=True, timeout=LIMIT)
    version = re.fullmatch(r"FROM python:(\d+\.\d+)-slim", lines[0])
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in (ROOT / "setup.cfg").read_text()


def test_the_images_own_command_can_be_used() -> None:
    command = json.loads(DOCKERFILE.rpartition("CMD ")[2])
    assert command[:2] == ["miniagent-redis", "serve"]
    context = serve.make_context("serve", [*command[2:], "--api-key", "a=b"])
    assert context.params["port"] == 8081
    assert f"EXPOSE {context.params['port']}" in DOCKERFILE


def test_a_wheel_can_be_built_of_what_the_image_has(tmp_path: Path) -> None:
    source, target = tmp_path / "srv", tmp_path / "wheel"
    source.mkdir()
    target.mkdir()
    for each in copied():
        if each == "miniagent_redis":
            leftovers = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / each, source / each, ignore=leftovers)
        elif (ROOT / each).is_file():
            shutil.copy(ROOT / each, source / each)
    code = "import sys, setuptools.build_meta as m; m.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = target.iterdir()
    with zipfile.ZipFile(wheel) as built:
        names = built.namelist()
    for kind in (".lua", ".html", ".css", "py.typed"):
        assert any(name.endswith(kind) for name in names), kind
