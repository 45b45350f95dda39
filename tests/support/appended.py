"""What a server of version 7 or later wrote to its append-only file: each change, in order.

Leaves out what the changes mean (lives.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

Command = list[bytes]
KEPT = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
"""The arguments of a server whose file holds all that was ever written to it."""


def changes(folder: Path) -> Iterator[list[Command]]:
    """Yield what changed at once: a command, or all those of a script or a transaction.

    ``folder`` is the server's own. What the server itself left out at its last start is not there.
    """
    files = folder / "appendonlydir"
    (manifest,) = files.glob("*.manifest")
    for line in manifest.read_text().splitlines():
        _, name, *_, kind = line.split()
        if kind == "i":
            yield from _grouped(_commands((files / name).read_bytes()))


def _grouped(commands: Iterator[Command]) -> Iterator[list[Command]]:
    open_group: list[Command] | None = None
    for command in commands:
        match command[0].upper():
            case b"MULTI":
                open_group = []
            case b"EXEC":
                yield open_group or []
                open_group = None
            case _ if open_group is not None:
                open_group.append(command)
            case _:
                yield [command]


def _commands(data: bytes) -> Iterator[Command]:
    at = 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        if data[at : at + 1] == b"#":  # a time
            at = end + 2
            continue
        count = int(data[at + 1 : end])
        at = end + 2
        words = []
        for _ in range(count):
            end = data.index(b"\r\n", at)
            start = end + 2
            at = start + int(data[at + 1 : end]) + 2
            words.append(data[start : at - 2])
        yield words
