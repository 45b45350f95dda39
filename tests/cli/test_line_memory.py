"""What was typed is remembered, and only for the one who typed it."""

from __future__ import annotations

from pathlib import Path

from miniagent_redis.cli.line_memory import LineMemory


def test_lines_come_back_whatever_is_in_them(tmp_path: Path) -> None:
    lines = ["hello", "two\nlines", "caf\u00e9 \ufffd \ud800"]
    for line in lines:
        LineMemory(tmp_path / "new" / "folder").add(line)
    assert LineMemory(tmp_path / "new" / "folder").load() == lines


def test_others_cannot_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    (folder / "chat_history").touch(mode=0o644)
    LineMemory(folder).add("secret")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "chat_history").stat().st_mode & 0o777 == 0o600


def test_empty_repeated_and_very_long_lines_are_left_out(tmp_path: Path) -> None:
    memory = LineMemory(tmp_path)
    for line in ("a", "a", " ", "x" * 100_000, "b", "a"):
        memory.add(line)
    assert memory.load() == ["a", "b", "a"]


def test_a_damaged_file_or_none_at_all_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "chat_history").write_bytes(b'"a"\n\xff{\n')
    assert LineMemory(tmp_path).load() == ["a"]
    in_the_way = LineMemory(tmp_path / "chat_history")
    in_the_way.add("b")
    assert in_the_way.load() == []


def test_without_a_folder_nothing_is_remembered() -> None:
    memory = LineMemory(None)
    memory.add("a")
    assert memory.load() == []
