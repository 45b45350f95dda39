"""The Lua files: each says what it takes and returns, is short, and keeps to its keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import miniagent_redis
from miniagent_redis.store.scripts import sharded, source

FOLDER = Path(miniagent_redis.__path__[0]) / "lua"
FILES = sorted(FOLDER.glob("*.lua"))
OPERATIONS = [path for path in FILES if not path.name.startswith("_")]
SHARED = [path for path in FILES if path.name.startswith("_")]
# Those that free memory must work when there is none left.
FREEING = {
    *("abort_turn", "clear_thread", "delete_session", "forget_session", "trim_thread"),
    "truncate_thread",
}
FLAGS = {"#!lua", "#!lua flags=no-writes", "#!lua flags=allow-oom"}
WRITES = re.compile(
    r"redis\.p?call\('(SET|DEL|UNLINK|[HLRXZ](SET|DEL|REM|ADD|PUSH|POP|TRIM)|HINCRBY|P?EXPIRE(AT)?"
    r"|PUBLISH)'|\b(slide|expire|emit|emit_record|remember|append|end_session)\("
)
STATUS = re.compile(r"\{\s*(?:nonce|ARGV\[1\]), (?:\w+ and )?'(\w+)'(?: or '(\w+)')?")
# They run in every turn: their own commands meet a foreign type, see store/test_all_or_nothing.py.
UNCHECKED = {"begin_turn", "commit_turn"}

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
each_operation = pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.name)


def header(path: Path) -> str:
    """Return the comments with which the file begins."""
    lines = path.read_text("utf-8").splitlines()
    if lines[0].startswith("#!"):
        lines = lines[1:]
    comments = []
    for line in lines:
        if not line.startswith("--"):
            break
        comments.append(line)
    return "\n".join(comments)


def test_there_is_one_file_for_each_operation() -> None:
    assert len(OPERATIONS) >= 14
    assert [path.stem for path in SHARED] == [
        "_begun", "_budget", "_checked", "_doubt", "_ended", "_epoch", "_events", "_forget",
        "_hashes", "_head", "_lease", "_mark", "_messages", "_open", "_ops", "_queue", "_records",
        "_room", "_seal", "_session", "_slide", "_sound", "_spend", "_turns",
    ]  # fmt: skip


@each_operation
def test_an_operation_declares_to_the_server_whether_it_writes(path: Path) -> None:
    first, _, body = path.read_text("utf-8").partition("\n")
    assert first in FLAGS
    assert ("no-writes" in first) == (WRITES.search(body) is None)
    assert "allow-oom" in first or path.stem not in FREEING
    assert source(path.stem).startswith(first + "\n")


@each_operation
def test_an_operation_says_what_it_takes_and_returns(path: Path) -> None:
    text = header(path)
    included = "-- include: _open" in text
    assert included or "-- KEYS  1 " in text
    assert re.search(r"^-- Returns  ", text, re.MULTILINE)
    body = path.read_text("utf-8")
    first_own = 5 if included else 1
    used = {int(n) for n in re.findall(r"ARGV\[(\d+)\]", body)} | {
        int(n) for n in re.findall(r"unpack\(ARGV, (\d+)\)", body)
    }
    described = {int(n) for n in re.findall(r"(?:ARGV |  )(\d+)…? ", text)}
    assert used <= described | {1}
    assert not used & set(range(2, first_own))


@each_operation
def test_each_possible_status_is_in_the_header(path: Path) -> None:
    told = "".join(header(part) for part in [path, *SHARED])
    found = {status for pair in STATUS.findall(source(path.stem)) for status in pair} - {""}
    assert found
    for status in found:
        assert f"nonce '{status}'" in told, status


@each_file
def test_a_script_is_short(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 70
    assert max(map(len, lines)) <= 110


@each_file
def test_no_script_scans_builds_keys_or_interprets_records(path: Path) -> None:
    text = path.read_text("utf-8")
    commands = set(re.findall(r"redis\.p?call\('(\w+)'", text))
    assert not commands & {"KEYS", "SCAN", "RANDOMKEY", "FLUSHDB", "FLUSHALL", "EVAL", "CONFIG"}
    assert len(re.findall(r"redis\.p?call\(", text)) == len(re.findall(r"redis\.p?call\('", text))
    assert "cjson" not in text
    assert not re.search(r"KEYS\[[^\]]+\]\s*\.\.", text)


@each_operation
def test_in_a_cluster_only_notes_are_published_to_all_nodes(path: Path) -> None:
    channels = re.findall(r"'PUBLISH', (\w+)", sharded(source(path.stem)))
    assert set(channels) <= {"ARGV"}


@each_operation
def test_a_script_asks_for_the_types_of_its_keys_before_anything_else(path: Path) -> None:
    text = path.read_text("utf-8")
    if "-- include: _open" in text:
        assert ("-- include: _open _checked" in text) == (path.stem not in UNCHECKED)
    elif (first_write := WRITES.search(text)) and "-- include: _hashes" not in text:
        assert text.index("'TYPE'") < first_write.start()


def test_every_operation_of_a_session_that_exists_compares_the_owner() -> None:
    without = {path.stem for path in OPERATIONS if "'notfound'" not in source(path.stem)}
    assert {"create_session", "rate_limit"} <= without
    for path in OPERATIONS:
        if re.search(r"-- include: .*\b_session\b", path.read_text("utf-8")):
            assert path.stem not in without
