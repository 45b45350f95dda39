"""What redis-py is given for each connection, by the configuration."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from typing import Any

import redis
import redis.asyncio

from ..config.options import TLS
from ..config.redis import RedisConfig
from ..errors import StoreMisconfigured
from .credentials import AskedCredentials
from .naming import naming_for_asyncio

_PACKAGE = "miniagent-redis"


def connection_options(config: RedisConfig) -> dict[str, Any]:
    """Return all but where the server is, and for how long to wait for a reply."""
    address = config.address
    options: dict[str, Any] = {
        "db": address.db,
        "protocol": config.protocol,
        "socket_connect_timeout": config.socket_connect_timeout,
        **_who(),
    }
    if config.client_name is not None:
        options["client_name"] = config.client_name
    if config.credential_provider is not None:
        options["credential_provider"] = AskedCredentials(config.credential_provider)
    else:
        options |= {"username": address.username, "password": address.password}
    if address.is_tls:
        options |= tls_options(config)
    return options


@cache
def _who() -> dict[str, Any]:
    """Return what a server is told of its client, and shows in CLIENT LIST.

    It is found out once: by itself redis-py looks for its version in the files of its package,
    at each connect.
    """
    try:
        from redis import DriverInfo
    except ImportError:  # an older one looks once
        return {}
    info = DriverInfo(lib_version=redis.__version__)
    with suppress(PackageNotFoundError):  # a checkout on the path
        info.add_upstream_driver(_PACKAGE, version(_PACKAGE))
    return {"driver_info": info}


def tls_options(config: RedisConfig) -> dict[str, Any]:
    """Return those for a server to which TLS is spoken."""
    options = {name: getattr(config, name) for name in TLS if getattr(config, name) is not None}
    if config.ssl_certfile is not None:
        # Not None: OpenSSL would ask for it on the terminal, and wait.
        options["ssl_password"] = config.ssl_password or ""
    if config.ssl_cert_reqs == "none":
        options["ssl_check_hostname"] = False
    return options


def for_asyncio(options: dict[str, Any]) -> dict[str, Any]:
    """Return those that the asyncio half of redis-py knows; an older one lacks some of TLS.

    In place of a name they have what names a connection.

    Raises StoreMisconfigured if one of these is set.
    """
    known = signature(redis.asyncio.SSLConnection.__init__).parameters
    lacking = [name for name in options if name in TLS and name not in known]
    for name in lacking:
        if options[name]:
            raise StoreMisconfigured(
                f"the asyncio client cannot be given {name}",
                cause=f"redis-py {redis.__version__} has it for other clients only",
                hint="install a newer one: pip install -U redis",
            )
    given = {name: value for name, value in options.items() if name not in lacking}
    if (name := given.pop("client_name", None)) is not None:
        given["redis_connect_func"] = naming_for_asyncio(name)
    return given
