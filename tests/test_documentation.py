"""What the documentation lists is what there is."""

import re
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from miniagent_redis import AgentConfig
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.flask.settings import WebConfig

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]


def configuration_table(kind: type[Any] = RedisConfig) -> str:
    rows = ["| attribute | environment, Flask key | default | what |", "|---|---|---|---|"]
    for setting in fields(kind):
        default = "" if setting.default in (None, "") else f"`{setting.default!r}`"
        env, text = setting.metadata["env"], setting.metadata["help"]
        variable = f"`{env}`" if env else ""
        rows.append(f"| `{setting.name}` | {variable} | {default} | {text} |")
    return "\n".join(rows)


def test_the_configuration_table_is_complete_and_true() -> None:
    assert configuration_table() in (ROOT / "docs" / "configuration.md").read_text("utf-8")


def test_the_table_of_what_is_served_is_complete_and_true() -> None:
    assert configuration_table(WebConfig) in (ROOT / "docs" / "flask.md").read_text("utf-8")


def test_every_setting_of_an_agent_has_a_row() -> None:
    document = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    rows = document.partition("The agent:")[2].splitlines()[4:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named == [setting.name for setting in fields(AgentConfig)]


def test_every_key_of_the_code_is_in_the_architecture_document() -> None:
    document = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    code = (ROOT / "miniagent_redis" / "store" / "keys.py").read_text("utf-8")
    rows = [line for line in code.splitlines() if line.startswith("| ns ")]
    assert len(rows) >= 10
    for row in rows:
        key = row.split()[2].partition(":")[0]
        assert f"`{key}:" in document, key


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page: its headings, as forges write them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!\w+:)([^)\s]*)\)", page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
