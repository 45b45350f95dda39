"""The settings of an environment, and what is given in code beside them: which address counts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Attribute

from . import agreement
from .address import parse_url
from .given import from_mapping, is_of_kubernetes

log: logging.Logger = logging.getLogger("miniagent_redis")


def from_environment(
    settings: Iterable[Attribute[Any]], given: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of the settings, by name: those of a mapping, and ``overrides`` over them.

    An address in ``overrides`` wins over every other; without any it is the embedded server.
    """
    values = from_mapping(settings, given)
    if "url" in values and is_of_kubernetes(given.get("REDIS_PORT")):
        _drop(values, "port")  # of another server, perhaps
    if "url" in overrides:
        _drop(values, "url", "host", "port", "db", "ssl")
        named = parse_url(overrides["url"])
        if named.username or named.password or "credential_provider" in overrides:
            _drop(values, "username", "password")
    elif "host" in overrides:
        _drop(values, "url", "host")
    elif "url" not in values and "host" not in values:
        is_kubernetes = is_of_kubernetes(given.get("REDIS_PORT"))
        if not is_kubernetes and (unused := sorted(values.keys() & agreement.OF_A_HOST)):
            names = ", ".join(f"REDIS_{name.upper()}" for name in unused)
            log.warning(
                "%s: of no use without REDIS_HOST or REDIS_URL; the embedded server is taken", names
            )
        _drop(values, "port", "db", "ssl")  # they speak of a host, and there is none
        values["url"] = "embedded://"
    return {**values, **overrides}


def _drop(values: dict[str, Any], *names: str) -> None:
    for name in names:
        values.pop(name, None)
