"""What the documentation lists is what there is."""

import re
from pathlib import Path

from attrs import fields

from miniagent_redis import AgentConfig
from miniagent_redis.config import RedisConfig

ROOT = Path(__file__).parent.parent


def configuration_table() -> str:
    rows = ["| attribute | environment, Flask key | default | what |", "|---|---|---|---|"]
    for setting in fields(RedisConfig):
        default = "" if setting.default in (None, "") else f"`{setting.default!r}`"
        env, text = setting.metadata["env"], setting.metadata["help"]
        rows.append(f"| `{setting.name}` | `{env}` | {default} | {text} |")
    return "\n".join(rows)


def test_the_configuration_table_is_complete_and_true() -> None:
    assert configuration_table() in (ROOT / "docs" / "configuration.md").read_text("utf-8")


def test_every_setting_of_an_agent_has_a_row() -> None:
    document = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    rows = document.partition("The agent:")[2].splitlines()[4:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named == [setting.name for setting in fields(AgentConfig)]


def test_every_key_of_the_code_is_in_the_architecture_document() -> None:
    document = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    code = (ROOT / "miniagent_redis" / "keys.py").read_text("utf-8")
    rows = [line for line in code.splitlines() if line.startswith("| ns ")]
    assert len(rows) >= 10
    for row in rows:
        key = row.split()[2].partition(":")[0]
        assert f"`{key}:" in document, key
