"""Everything the documentation shows is run: README.md, docs/*.md and examples/*.py.

The ``python`` blocks of one file run in order, as one program. A comment on the line before a
block changes that; readers of the rendered page do not see it:

    <!-- own program -->            a python block that shares nothing with the others
    <!-- not run: why -->           a python block that is shown only
    <!-- run -->                    a console block: each line "$ command" is run by bash, and must
                                    print what follows it, where "..." stands for any text

A page that says ``<!-- needs: package -->`` is left out where that package is not installed.

Each page and each example has an empty store, at REDIS_URL, and an empty home folder.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("README.md"), *sorted(ROOT.glob("docs/**/*.md"))]
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>python|console)[^\n]*\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
LIMIT = 60  # seconds for one program or command
WITHOUT_PYTEST = """
import runpy, sys
sys.modules["pytest"] = None  # which users need not have
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocks(text: str, language: str) -> Iterator[tuple[str, int, str]]:
    """Yield mark, line number and text of each block in ``language``."""
    for found in BLOCK.finditer(text):
        if found["language"] == language:
            body = re.sub(f"^{found['indent']}", "", found["body"], flags=re.MULTILINE)
            yield found["mark"] or "", text.count("\n", 0, found.start("body")), body


def programs(text: str) -> list[str]:
    """Return the Python programs in a page, their code on the lines where the page has it."""
    shared = ""
    alone = []
    for mark, line, body in blocks(text, "python"):
        if mark == "own program":
            alone.append("\n" * line + body)
        elif not mark.startswith("not run: "):
            shared += "\n" * (line - shared.count("\n")) + body
    return [program for program in (shared, *alone) if program]


def commands(text: str) -> list[tuple[str, str]]:
    """Return the command lines in a page that are to be run, each with its expected output."""
    marked = "".join(body for mark, _, body in blocks(text, "console") if mark == "run")
    parts = re.split(r"^\$ (.*)\n", marked, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def run(command: list[str], folder: Path, redis_url: str, typed: str = "") -> str:
    """Run the command in ``folder``, check that it succeeds, and return what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    place = {"HOME": str(folder), "PATH": path, "REDIS_URL": redis_url}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **place},
        input=typed,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def minutes_later(redis_url: str) -> None:
    """Forget what is counted for rate limits, as goes by itself when a minute has passed."""
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("*rate_limit:*"):
            client.delete(key)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_documentation_runs(page: Path, tmp_path: Path, redis_url: str) -> None:
    file, text = tmp_path / page.name, page.read_text(encoding="utf-8")
    for package in re.findall(r"^<!-- needs: (\S+) -->$", text, re.MULTILINE):
        pytest.importorskip(package)
    for _ in range(2):  # a reader's server is no new one the second time
        for program in programs(text):
            file.write_text(program, encoding="utf-8")
            run([sys.executable, str(file)], tmp_path, redis_url)
        minutes_later(redis_url)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documentation_print_what_it_says(
    page: Path, tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    for command, expected in commands(page.read_text(encoding="utf-8")):
        printed = run(["bash", "-c", command], tmp_path, redis_url)
        same = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
        assert same, f"$ {command}\n{printed}\n{page.name} says\n{expected}"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_runs(file: Path, tmp_path: Path, redis_url: str) -> None:
    run([sys.executable, "-c", WITHOUT_PYTEST, str(file)], tmp_path, redis_url)


def test_sessions_of_the_interactive_demo_survive_it(tmp_path: Path, redis_url: str) -> None:
    demo = [sys.executable, str(ROOT / "examples" / "demo_redis_session.py")]
    first = run(demo, tmp_path, redis_url, "My name is Ada.\nnew\nHello\nlist\nquit\n")
    assert "Hello, Ada!" in first
    assert first.count(" messages ") == 2
    typed = "resume 2\nWhat is my name?\nclear\nhistory\nend\nlist\n"
    second = run(demo, tmp_path, redis_url, typed)
    assert "you  > My name is Ada." in second, "the history is shown"
    assert "agent> Your name is Ada." in second
    _, forgotten = second.split("Forgotten.")
    assert "Ada" not in forgotten
    assert forgotten.count(" messages ") == 1
    assert "no such session" in run(demo, tmp_path, redis_url, "resume 9\nhelp\n")
    for sentence in ("new ideas, please", "list them", "resume it"):
        assert "agent> " in run(demo, tmp_path, redis_url, f"{sentence}\n")


@pytest.mark.parametrize("script", ["demo", "chat", "serve"])
def test_a_script_makes_its_environment_and_runs_what_is_there(script: str) -> None:
    text = (ROOT / "scripts" / script).read_text("utf-8")
    assert os.access(ROOT / "scripts" / script, os.X_OK)
    assert re.search(r'^"\$root/scripts/venv" \.venv\S* -e ', text, re.MULTILINE)
    for file in re.findall(r'"\$root/((?:examples|scripts)/\S+)"', text):
        assert (ROOT / file).is_file(), file


def test_blocks_of_a_page_are_one_program_unless_marked() -> None:
    page = """
```python
x = 1
```
<!-- not run: needs a key -->
```python
call_a_model()
```
   ```python
   print(x)
   ```
<!-- own program -->
```python
print("alone")
```
<!-- run -->
```console
$ echo one; echo two
one
...
$ true
```
"""
    together, alone = programs(page)
    assert together.splitlines()[2] == "x = 1"
    assert together.splitlines()[9] == "print(x)"
    assert alone.splitlines()[13] == 'print("alone")'
    assert "call_a_model" not in together + alone
    assert commands(page) == [("echo one; echo two", "one\n...\n"), ("true", "")]
