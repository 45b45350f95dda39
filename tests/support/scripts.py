"""The scripts of the store, by name, and a server that knows them all."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import redis

from miniagent_redis.store.scripts import source

OPERATIONS = sorted(
    path.name.removesuffix(".lua")
    for path in (files("miniagent_redis") / "lua").iterdir()
    if path.name.endswith(".lua") and not path.name.startswith("_")
)


def load_scripts(socket: Path) -> None:
    """Let the server know every script, so that each EVALSHA is executed at once."""
    with redis.Redis(unix_socket_path=str(socket)) as client:
        for name in OPERATIONS:
            client.script_load(source(name))
