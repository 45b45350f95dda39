"""Commands for a server, as lines that can be pasted into a shell. A password is never in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config.redis import RedisConfig
from ..connection.topology import NotThere
from ..connection.topology.asking_databases import Databases
from ..connection.topology.sentinel import SentinelMaster
from ..embedded.attach import default_dir
from ..embedded.home import prepare_home
from ..errors import MiniAgentError


def redis_cli(
    config: RedisConfig, *words: str, as_admin: bool = False, at: tuple[str, int] | None = None
) -> str:
    """Return the line that sends a command to the server of the settings, or to the one ``at``.

    As our user, whose password it takes from the variable REDIS_PASSWORD if there is one. Or
    ``as_admin``, as what our user may not do himself: then as the server's default user.
    """
    address = config.address
    user = address.username or config.username or "default"
    login: list[str] = []
    prefix = ""
    if not as_admin or user == "default":
        login = [] if user == "default" else ["--user", user]
        if address.password or config.password or config.credential_provider:
            prefix = 'REDISCLI_AUTH="$REDIS_PASSWORD" '
    return prefix + shlex.join(["redis-cli", *_where(config, at), *login, *words])


def without_password(url: str) -> str:
    """Return a url that says all it said but the password."""
    where, sign, options = url.partition("?")
    where = re.sub(r"(://[^:/]*):[^/]*@", r"\1@", where).replace("://@", "://")
    kept = [each for each in options.split("&") if not each.startswith("password=")]
    return where + (sign + "&".join(kept) if options and kept else "")


def key_command(config: RedisConfig) -> str:
    """Return how a line begins that does something with keys: where they are, then its words."""
    kind = config.address.kind
    if kind == "memory":
        return "in this process:"
    database = ("-n", str(config.address.db)) if config.address.db else ()
    return redis_cli(config, *(("-c",) if kind == "redis+cluster" else database))


def _where(config: RedisConfig, at: tuple[str, int] | None) -> Iterator[str]:
    address = config.address
    if address.kind == "embedded":
        yield from ("-s", prepare_home(Path(address.path or default_dir())).socket_path)
    elif address.kind == "unix":
        yield from ("-s", address.path)
    else:
        host, port = at or _place(config)
        yield from ("-h", host, "-p", str(port))
    if address.is_tls:
        yield "--tls"
        if config.ssl_cert_reqs == "none":
            yield "--insecure"
        files = {
            "--cacert": config.ssl_ca_certs,
            "--cacertdir": config.ssl_ca_path,
            "--cert": config.ssl_certfile,
            "--key": config.ssl_keyfile,
        }
        for option, path in files.items():
            if path:
                yield from (option, path)


def _place(config: RedisConfig) -> tuple[str, int]:
    """Return where the server is that is used now: the master that Sentinels name, for one."""
    nodes = config.address.nodes
    if config.address.kind == "redis+multidb":
        databases = Databases(config)
        try:
            return next((place for place in nodes if not databases.ask(place, 1)), nodes[0])
        finally:
            databases.close()
    if not config.address.service:
        return nodes[0]
    try:
        endpoint = SentinelMaster(config).endpoint("")
    except (NotThere, MiniAgentError):
        return "MASTER", 6379
    return endpoint.host, endpoint.port


def setting(
    config: RedisConfig,
    info: Any,
    name: str,
    value: str,
    *,
    as_admin: bool,
    at: tuple[str, int] | None = None,
) -> str:
    """Return the line that changes a setting of the server, also in its file, if it has one."""
    line = redis_cli(config, "CONFIG", "SET", name, value, as_admin=as_admin, at=at)
    if info.get("config_file"):
        line += " && " + redis_cli(config, "CONFIG", "REWRITE", as_admin=as_admin, at=at)
    return line
