"""The package's shape: imports run downhill, modules are small and say what they are.

The rows are those of docs/architecture.md. Every import statement counts, those inside functions
and under TYPE_CHECKING too, and so does ``import_module`` with a literal name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import miniagent_redis

TOP = "miniagent_redis"
FOLDER = Path(miniagent_redis.__path__[0])  # in tox it is not that of the checkout
ROOT = Path(__file__).parent.parent

# Highest first. An entry is a file, a folder, or the files whose names begin alike. What is inside
# one entry may import each other without a circle.
ROWS = (
    ("__init__", "__main__"),
    ("cli", "acl", "fsck", "redis_client"),
    ("flask", "integrations"),
    ("doors",),
    ("aio", "testing"),
    ("session", "doctor"),
    ("agent", "maintenance"),
    ("store", "mcp"),
    ("llm", "tools"),
    ("connection", "crypto"),
    ("embedded", "records", "config", "telemetry"),
    ("models",),
    ("runtime",),
    ("errors",),
    ("agent_errors",),
    ("error_base",),
)
LONGEST = {".py": 300, ".lua": 70}  # lines

Modules = Mapping[str, ast.Module]  # name such as miniagent_redis.store.__init__ -> syntax tree


def read_package() -> Modules:
    return {
        ".".join((TOP, *path.relative_to(FOLDER).with_suffix("").parts)): parse(path)
        for path in sorted(FOLDER.rglob("*.py"))
    }


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(name: str, modules: Modules) -> Iterator[tuple[int, str]]:
    """Yield line and name of each module of the package that the text of ``name`` imports."""
    for node in ast.walk(modules[name]):
        if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Call)):
            continue
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")[: -node.level] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            # "from package import module" is about that module, not about the package.
            targets = [
                one if {one, f"{one}.__init__"} & modules.keys() else source
                for one in (f"{source}.{alias.name}" for alias in node.names)
            ]
        elif ast.unparse(node.func).endswith("import_module"):
            targets = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
        for one in targets:
            if one.split(".")[0] == TOP:
                yield node.lineno, f"{one}.__init__" if f"{one}.__init__" in modules else one


def place(module: str) -> tuple[int, str] | None:
    """Return the module's row and its entry there, or None if it has no entry."""
    for number, entries in enumerate(ROWS):
        for entry in entries:
            if fnmatch(module.split(".")[1], entry):
                return number, entry
    return None


def violations(modules: Modules) -> list[str]:
    """Return a sentence for each import that does not run downhill, and for each circle."""
    found = []
    graph: dict[str, set[str]] = {}
    for name in modules:
        here = place(name)
        if here is None:
            found.append(f"{name} has no row in the table of layers")
            continue
        for line, target in sorted(set(imported(name, modules))):
            graph.setdefault(name, set()).add(target)
            there = place(target)
            if there != here and (there is None or there[0] <= here[0]):
                found.append(f"{name}:{line} imports {target}, which is not below it")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        found.append("a circle: " + " -> ".join(reversed(circle.args[1])))
    return found


def test_imports_run_downhill_and_never_in_a_circle() -> None:
    assert violations(read_package()) == []


@pytest.mark.parametrize(
    "path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER))
)
def test_a_module_says_in_its_first_line_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(parse(path)) or ""
    assert docstring.partition("\n")[0].strip()


def test_the_rows_are_those_of_the_documentation() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.partition("## Layers")[2].split("```")[1].strip()
    told = [
        tuple(name.strip().removesuffix("/") for name in re.split("  +", line)[0].split(" · "))
        for line in table.splitlines()
    ]
    there = {path.stem for path in FOLDER.iterdir()}
    rows = [tuple(entry for entry in row if entry in there) for row in ROWS[1:]]
    assert told == rows


def test_files_stay_small() -> None:
    lines = {
        str(path.relative_to(FOLDER)): len(path.read_text(encoding="utf-8").splitlines())
        for suffix in LONGEST
        for path in FOLDER.rglob(f"*{suffix}")
    }
    too_long = {name: n for name, n in lines.items() if n > LONGEST[Path(name).suffix]}
    assert too_long == {}


@pytest.mark.parametrize(
    ("module", "source", "what"),
    [
        ("llm", "from miniagent_redis.store import x", "store.__init__, which is not below"),
        ("llm", "from .store.sessions import x", "store.sessions, which is not below"),
        ("llm", "from . import store", "store.__init__, which is not below"),
        ("llm", "import miniagent_redis.tools", "tools, which is not below"),
        ("llm", "from miniagent_redis import Message", "redis.__init__, which is not below"),
        ("llm", "def f():\n    from .store import x", "llm:2 imports miniagent_redis.store"),
        ("llm", "if TYPE_CHECKING:\n    from .store import x", "llm:2 imports"),
        ("llm", "importlib.import_module('miniagent_redis.store')", "store.__init__, which is"),
        ("embedded.home", "from ..connection import x", "connection, which is not below"),
        ("embedded.home", "from .attach import x", "circle"),
        ("models.__init__", "from ..connection import x", "connection, which is not below"),
        ("store.turns", "from ..session import x", "session.__init__, which is not below"),
        ("store.turns", "from .sessions import x", "circle"),
        ("store.turns", "from . import sessions", "circle"),
        ("store.turns", "from . import x", "circle"),
        ("store.turns", "from .turns import x", "circle"),
        ("helpers", "", "has no row"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, what: str) -> None:
    sources = {
        "__init__": "from .session import x",
        "session.__init__": "from ..store import turns, sessions",
        "store.__init__": "from .sessions import x\nfrom .turns import y",
        "store.sessions": "from . import turns\nfrom ..connection import z",
        "store.turns": "from miniagent_redis.errors import InvalidInput",
        "tools": "import miniagent_redis.errors",
        "llm": "import miniagent_redis.errors\nfrom .models import Message",
        "connection": "from .embedded import attach",
        "embedded.attach": "from .home import x",
        "embedded.home": "",
        "errors": "",
        "models.__init__": "",
    }

    def parsed(texts: dict[str, str]) -> Modules:
        return {f"{TOP}.{name}": ast.parse(text) for name, text in texts.items()}

    assert violations(parsed(sources)) == []
    assert what in "\n".join(violations(parsed(sources | {module: source})))
