"""Starting: what the import costs a program, and how long the command line takes to say a word."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from .bench import Bench
from .measure import Trial, alternate, difference, ready
from .table import Row, duration

_ROOT = Path(__file__).parent.parent
_CODE = {
    "nothing": "pass",
    "package": "import miniagent_redis",
    # The package loads a name when it is first used: this is what a program comes to pay.
    "names": "from miniagent_redis import RedisConfig, SessionAgent, SessionManager",
    "redis": "import redis",
    # What the installed program does.
    "help": "from miniagent_redis.cli import main; main(['--help'])",
}


def rows(bench: Bench) -> Iterator[Row]:
    """Measure fresh processes that find everything compiled, as they do after an installation."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bench.server.folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    trials: dict[str, Trial] = {
        name: ready(partial(_start, code, environment)) for name, code in _CODE.items()
    }
    taken = alternate(trials, bench.times(10, 1))
    package, names, redis = (
        difference(taken[name], taken["nothing"]) for name in ("package", "names", "redis")
    )
    yield Row("import miniagent_redis, no name used", duration(package), target="150 ms")
    yield Row(
        "from miniagent_redis import SessionAgent, ...; raw: import redis",
        duration(names),
        duration(redis),
        names / redis,
    )
    yield Row("miniagent-redis --help", duration(median(taken["help"])), target="250 ms")


def _start(code: str, environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
