"""The command line: measure all, print one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from . import (
    chat,
    concurrent,
    durability,
    facade,
    listing,
    loading,
    startup,
    streaming,
    streams,
    threads,
    topologies,
    turns,
    upkeep,
    wire,
)
from .bench import Bench, open_bench
from .table import PAGE, Row, markdown, write

_PARTS: tuple[tuple[str, Callable[[Bench], Iterator[Row]]], ...] = (
    ("turns", turns.rows),
    ("turns on the wire", wire.rows),
    ("chat", chat.rows),
    ("streaming", streaming.rows),
    ("durability", durability.rows),
    ("loading", loading.rows),
    ("listing", listing.rows),
    ("threads", threads.rows),
    ("upkeep", upkeep.rows),
    ("asyncio", facade.rows),
    ("turns at once", concurrent.rows),
    ("starting", startup.rows),
)


def main() -> None:
    """Measure and print; the table on stdout, what is going on on stderr."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="see that it works; no good numbers")
    kind.add_argument("--write", action="store_true", help=f"put the table into docs/{PAGE.name}")
    parser.add_argument(
        "--topologies", action="store_true", help="the tables of docs/topologies.md instead"
    )
    parser.add_argument(
        "--streams", action="store_true", help="open streams under gunicorn: a table of its own"
    )
    arguments = parser.parse_args()
    if arguments.streams:
        return print(streams.table(arguments.quick))
    with open_bench(arguments.quick) as bench:
        if arguments.topologies:
            return print(topologies.table(bench), topologies.masters(bench), sep="\n\n")
        rows: list[Row] = []
        for name, measure in _PARTS:
            print(f"{name} ...", file=sys.stderr)
            rows.extend(measure(bench))
        table = markdown(rows, bench)
    print(table)
    if arguments.write:
        write(table)


main()
