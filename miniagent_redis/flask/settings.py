"""The settings of an app: what its configuration says, and the environment, in the names of both.

``app.config`` stands over what ``MiniAgent(…)`` was given, and that over the environment.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Attribute, evolve, field, fields, frozen

from ..agent import AgentConfig
from ..config import RedisConfig
from ..config.given import converted, from_mapping
from ..errors import InvalidInput
from ..models import new_id
from ..runtime.checks import checked, some_text, whole_number
from ..runtime.durations import duration, seconds

_PREFIX = re.compile("[A-Z][A-Z0-9_]*_")
_PLACE = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_SSL")
"""What says where Redis is: all of it is said in one place."""


def _origins(value: object) -> tuple[str, ...]:
    """Take a list, or a text with commas."""
    several = value.split(",") if isinstance(value, str) else value
    if not isinstance(several, Iterable):
        raise InvalidInput(f"trusted_origins must be a list of origins, not {value!r:.100}")
    found = [some_text(one, "each of trusted_origins").strip().rstrip("/") for one in several]
    for one in found:
        if one != "*" and "://" not in one:
            hint = "write it as browsers do: https://app.example.org"
            raise InvalidInput(f"{one!r:.100} in trusted_origins is no origin", hint=hint)
    return tuple(found)


@frozen(kw_only=True)
class WebConfig:
    """The settings of what is served. Times in seconds, sizes in bytes."""

    max_streams: int = field(
        default=64, validator=checked(whole_number, 1),
        metadata={"env": "MINIAGENT_MAX_STREAMS", "help": "open streams of one process"},
    )  # fmt: skip
    ping_interval: float = field(
        default=15.0, converter=seconds, validator=checked(duration, above=True),
        metadata={"env": "MINIAGENT_PING_INTERVAL", "help": "a sign of life on a silent stream"},
    )  # fmt: skip
    max_message_size: int = field(
        default=64 * 1024, validator=checked(whole_number, 1),
        metadata={"env": "MINIAGENT_MAX_MESSAGE_SIZE", "help": "largest message of a user"},
    )  # fmt: skip
    trusted_origins: tuple[str, ...] = field(
        default=(), converter=_origins,
        metadata={"env": "MINIAGENT_TRUSTED_ORIGINS", "help": "other sites whose pages may write"},
    )  # fmt: skip


@frozen
class Settings:
    """All settings of one extension in one app."""

    agent: AgentConfig
    redis: RedisConfig
    web: WebConfig
    is_testing: bool


def settings_of(
    config: Mapping[str, Any], prefix: str, agent: AgentConfig, redis: RedisConfig | None
) -> Settings:
    """Read an app's configuration: names with the prefix first, then those without.

    Raises InvalidInput for what does not fit, contradicts itself, or has a name nobody knows.
    """
    own = {
        name.removeprefix(prefix): value
        for name, value in config.items()
        if name.startswith(prefix)
    }
    _refuse_unknown(own, prefix)
    layers: list[Mapping[str, Any]] = [own, config] if prefix else [own]
    is_testing = bool(config.get("TESTING"))
    return Settings(
        _agent_of(agent, _merged(layers, [_agent_key(one) for one in fields(AgentConfig)]), prefix),
        _redis_of(redis, layers, is_testing=is_testing),
        WebConfig(**_web_of(_merged([*layers, os.environ], _names(WebConfig)))),
        is_testing,
    )


def _names(kind: type[Any]) -> list[str]:
    return [one.metadata["env"] for one in fields(kind) if one.metadata["env"]]


def _agent_key(setting: Attribute[Any]) -> str:
    return f"MINIAGENT_{setting.name.upper()}"


def _merged(layers: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """Return what the layers have of the names, the first one that has it; None is nothing.

    Once a layer says where Redis is, nothing of that is taken from those below it.
    """
    names = list(names)
    found: dict[str, Any] = {}
    for layer in layers:
        is_placed = "REDIS_URL" in found or "REDIS_HOST" in found
        for name in names:
            value = layer.get(name)
            if value is not None and name not in found and not (is_placed and name in _PLACE):
                found[name] = value
    return found


def _redis_of(
    given: RedisConfig | None, layers: list[Mapping[str, Any]], *, is_testing: bool
) -> RedisConfig:
    names = _names(RedisConfig)
    found = _merged(layers, names)
    if given is not None:
        if found:
            raise InvalidInput(
                f"redis_config stands beside {', '.join(sorted(found))} of the app's configuration",
                hint="leave one of the two out",
            )
        return given
    if not is_testing:
        return RedisConfig.from_env(_merged([*layers, os.environ], names))
    if "REDIS_URL" not in found and "REDIS_HOST" not in found:
        found["REDIS_URL"] = f"memory://{new_id()}"
    return RedisConfig.from_env(found)


def _agent_of(given: AgentConfig, found: Mapping[str, Any], prefix: str) -> AgentConfig:
    changes: dict[str, Any] = {}
    if prefix and given.name == AgentConfig().name:
        changes["name"] = prefix.strip("_").lower()  # so that it takes over its own turns only
    for setting in fields(AgentConfig):
        key = _agent_key(setting)
        if (value := found.get(key)) is not None:
            kind = str(setting.type)
            is_number = isinstance(value, str) and ("int" in kind or "float" in kind)
            changes[setting.name] = converted(setting, value, key) if is_number else value
    return evolve(given, **changes)


def _web_of(found: Mapping[str, Any]) -> dict[str, Any]:
    origins = fields(WebConfig).trusted_origins
    values = from_mapping([one for one in fields(WebConfig) if one is not origins], found)
    key = origins.metadata["env"]
    return {**values, origins.name: found[key]} if found.get(key) else values


def _refuse_unknown(own: Mapping[str, Any], prefix: str) -> None:
    known = {
        *(_agent_key(one) for one in fields(AgentConfig)), *_names(RedisConfig), *_names(WebConfig),
    }  # fmt: skip
    for name in own:
        if name.startswith("MINIAGENT_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"is {prefix}{near[0]} meant?" if near else "docs/configuration.md has all"
            raise InvalidInput(f"{prefix}{name} is no setting", hint=hint)


def check_prefix(prefix: str) -> str:
    """Return a prefix of names; raise InvalidInput for anything else."""
    if prefix == "" or (isinstance(prefix, str) and _PREFIX.fullmatch(prefix)):
        return prefix
    problem = f"prefix must be capital letters with an underscore behind, not {prefix!r:.100}"
    raise InvalidInput(problem, hint='write MiniAgent(prefix="SUPPORT_")')
