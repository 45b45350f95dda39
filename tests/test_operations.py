"""Each Lua operation has one typed function, which gives it what its header names, in order."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from attrs import frozen

import miniagent_redis
from tests.support.scripts import OPERATIONS

PACKAGE = Path(miniagent_redis.__path__[0])
FUNCTIONS = sorted((PACKAGE / "store" / "operations").glob("*.py"))
MAY_NAME_SCRIPTS = {*FUNCTIONS, PACKAGE / "store" / "core.py", PACKAGE / "store" / "scripts.py"}
OF_ALL = {"notfound", "toolarge", "damaged", "miscounted", "wrongtype"}
"""Statuses that the core and the scripts' runner turn into errors, for all operations."""

each_operation = pytest.mark.parametrize("name", OPERATIONS)


def header(name: str) -> str:
    """Return the comments that a Lua file begins with."""
    text = (PACKAGE / "lua" / f"{name}.lua").read_text("utf-8")
    lines = text.splitlines()
    begin = 1 if lines[0].startswith("#!") else 0
    end = next(i for i, line in enumerate(lines) if i >= begin and not line.startswith("--"))
    return "\n".join(lines[begin:end])


def block(text: str, title: str) -> str:
    """Return what a header says under a title, as one line."""
    found = re.search(rf"(?ms)^-- {title} (.*?)(?=^-- [A-Z][A-Za-z]+  |\Z)", text)
    return "" if found is None else re.sub(r"\n-- *", "  ", " " + found[1])


def told_arguments(text: str) -> list[str]:
    """Return the names of the ARGV that a header tells, "*" in front of all the rest."""
    found = re.findall(r"  (\d+)(…?) (\w+)", block(text, "ARGV"))
    numbers = [int(number) for number, _, _ in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(found))) if numbers else True
    assert all(not rest for _, rest, _ in found[:-1]), "only the last one may be many"
    return ["*" * bool(rest) + name for _, rest, name in found]


def told_statuses(text: str) -> set[str]:
    return set(re.findall(r"nonce '(\w+)'", block(text, "Returns")))


@frozen
class Typed:
    """A function that runs an operation: what it gives, and which answers it tells apart."""

    name: str
    runs: str
    arguments: list[str]
    keywords: list[str]
    statuses: set[str]


HEAD = ["now", "GRACE_MS", "user"]
"""What scripts on a session begin with, where a function has to give it itself."""


def runs_in(function: ast.FunctionDef) -> Iterator[tuple[str, list[ast.expr]]]:
    """Yield name and arguments of each ``on("name", …)``, and of those methods of the core."""
    for node in ast.walk(function):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and called in ("on", "core.run", "core.read_each"):
            name, *rest = node.args
            assert isinstance(name, ast.Constant), "an operation is named where it is run"
            yield str(name.value), rest if called == "on" else rest[1:]  # without the keys


def name_in(argument: ast.expr) -> str:
    """Return what an argument is made of: the one name in it, with its "*"."""
    star = isinstance(argument, ast.Starred)
    inner = argument.value if isinstance(argument, ast.Starred) else argument
    if ast.unparse(inner) == "core.script_now()":
        return "now"
    called = {id(node.func) for node in ast.walk(inner) if isinstance(node, ast.Call)}
    names = {
        node.id for node in ast.walk(inner) if isinstance(node, ast.Name) and id(node) not in called
    }
    assert len(names) == 1, f"{ast.unparse(argument)} is not made of one name"
    return "*" * star + names.pop()


def texts(nodes: Iterable[ast.expr | None]) -> set[str]:
    """Return the texts that are written out among some expressions."""
    found = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {value for value in found if isinstance(value, str)}


def statuses_in(function: ast.FunctionDef, tables: Mapping[str, set[str]]) -> set[str]:
    """Return the texts that a function compares its answer with, also by a table of the module."""
    found: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.Compare():
                found |= texts(node.comparators)
            case ast.MatchValue():
                found |= texts([node.value])
            case ast.Name():
                found |= tables.get(node.id, set())
    return found


@cache
def typed_functions() -> list[Typed]:
    found = []
    for path in FUNCTIONS:
        body = ast.parse(path.read_text("utf-8")).body
        tables = {
            node.target.id: texts(node.value.keys)
            for node in body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(node.value, ast.Dict)
        }
        for function in body:
            if isinstance(function, ast.FunctionDef):
                found += [
                    Typed(
                        function.name,
                        runs,
                        [name_in(argument) for argument in arguments],
                        [argument.arg for argument in function.args.kwonlyargs],
                        statuses_in(function, tables),
                    )
                    for runs, arguments in runs_in(function)
                ]
    return found


def typed_function(runs: str) -> Typed:
    return next(typed for typed in typed_functions() if typed.runs == runs)


@each_operation
def test_one_typed_function_runs_it(name: str) -> None:
    assert len([typed for typed in typed_functions() if typed.runs == name]) == 1


def test_every_typed_function_runs_an_operation_that_there_is() -> None:
    assert {typed.runs for typed in typed_functions()} == set(OPERATIONS)
    assert all(typed.name == typed.runs for typed in typed_functions())


@each_operation
def test_it_is_given_what_its_header_names_in_that_order(name: str) -> None:
    typed = typed_function(name)
    told = told_arguments(header(name))
    if told[:1] == ["nonce"]:  # which the runner adds; a session's operation says what it adds
        told = told[1:]
    given = typed.arguments
    assert (given[len(HEAD) :] if given[: len(HEAD)] == HEAD else given) == told


@each_operation
def test_its_keyword_arguments_have_the_same_names_in_the_same_order(name: str) -> None:
    typed = typed_function(name)
    given = [argument.lstrip("*") for argument in typed.arguments]
    assert typed.keywords == [argument for argument in given if argument in typed.keywords]


@each_operation
def test_the_statuses_that_it_tells_apart_are_those_of_the_header(name: str) -> None:
    typed = typed_function(name)
    told = told_statuses(header(name)) - OF_ALL
    assert typed.statuses <= told
    # One answer is what is left when it is none of the others.
    assert len(told - typed.statuses) <= 1


def test_what_all_scripts_on_a_session_begin_with_is_what_the_core_gives() -> None:
    module = ast.parse((PACKAGE / "store" / "core.py").read_text("utf-8"))
    heads = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "head"
    ]
    assert len(heads) == 1
    assert isinstance(heads[0], ast.Tuple)
    given = [ast.unparse(each).rpartition(".")[2].lower() for each in heads[0].elts]
    assert ["nonce", *given] == ["nonce", "script_now()", "grace_ms", "user"]
    assert told_arguments(header("_open")) == ["nonce", "now", "grace_ms", "user"]


WORDS = {"rate_limit"}
"""Operations whose name says something else too: here a kind of error of a model."""


def test_no_other_module_names_an_operation_in_a_string() -> None:
    naming = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path in MAY_NAME_SCRIPTS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and node.value in {*OPERATIONS} - WORDS:
                naming.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}")
    assert not naming
