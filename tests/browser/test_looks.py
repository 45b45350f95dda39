"""Every page at three widths, in dark and light: nothing sticks out, and axe finds nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import AgentConfig, Message, RateLimit, ToolCall, UsageTotals
from miniagent_redis.flask.console.words import to_link
from miniagent_redis.store.usage_kinds import ToolTotals
from tests.browser.conftest import Browse
from tests.support.console_apps import Model
from tests.support.reading import Reader
from tests.support.sites import Site

WIDTHS = (360, 768, 1280)
LARGEST = 100_000  # bytes of an image
LONG = "unbreakable" * 30
WIDE = "indivisible" * 30  # what the model does not know as a word of ours

SAID = [
    ("ada", "Where is my order 1042?", "It left our warehouse in Graz this morning."),
    ("bob", "Can you recommend a book about octopuses?", "Yes: Other Minds, by Godfrey-Smith."),
    ("carla", "Summarise the minutes of yesterday, please.", "Three decisions, one open question."),
    ("ada", "What is 12 * (3 + 4)?", "84."),
    ("dmitri", "Translate 'good morning' into Finnish.", "Hyvää huomenta."),
]


def fill(site: Site, model: Model) -> str:
    """Store a few weeks of a small service; return a session in which a turn waits."""
    now = datetime.now(UTC)
    model.answers = {question: answer for _, question, answer in SAID}
    model.answers["Sunny in Paris."] = "It is sunny, and will stay so: no umbrella needed."
    with site.app.app_context():
        agents = site.agents
        last = ""
        for user, question, _ in SAID:
            own = agents.for_user(user)
            last = own.create_or_resume_session()
            own.run(last, question)
        for back in range(30):
            at = (now - timedelta(days=back)).timestamp()
            amount = 40_000 + (back * 7919) % 23_000 - (18_000 if back % 7 in (2, 3) else 0)
            for user, share in (("ada", 3), ("bob", 2), ("carla", 1), ("dmitri", 1)):
                spent = UsageTotals(
                    input_tokens=amount * share // 7, output_tokens=amount * share // 40,
                    turns=share * 9, cost=amount * share / 2e6, seconds=share * 31.0,
                )  # fmt: skip
                agents.store.parts.usage.note(
                    spent,
                    user_id=user,
                    at=at,
                    model=("small", "large")[share > 2],
                    tools={
                        "weather": ToolTotals(share * 7),
                        "refund": ToolTotals(share, share // 2),
                    },
                )
        own = agents.for_user("ada")
        waiting = own.create_or_resume_session()
        own.run(waiting, "How is the weather in Paris? I arrive tomorrow.")
        own.run(waiting, "Then I want a refund for order 7, it came broken.")
        agents.store.set_title(waiting, "Paris, and a refund")
        agents.unbound.rewind(last, 0)
    return waiting


def fill_wide(site: Site) -> str:
    """Store what is long and has no spaces; return its session."""
    with site.app.app_context():
        own = site.agents.for_user("ada")
        session_id = own.create_or_resume_session(session_id=LONG, data={LONG: [LONG]})
        call = ToolCall("c1", LONG, {LONG: LONG})
        site.agents.store.append_to_thread(
            session_id,
            [
                Message("user", LONG),
                Message("assistant", LONG, (call,)),
                Message("tool", LONG, tool_call_id="c1", name=LONG),
            ],
        )
    return session_id


def pages(session_id: str) -> list[str]:
    name = to_link(session_id)
    return [
        f"/?id={name}",
        *(
            "/",
            "/sessions",
            "/sessions?user=ada",
            "/waiting",
            "/usage",
            "/usage?user=ada",
            "/health",
        ),
        *(f"/session?id={name}", f"/session/keys?id={name}", f"/confirm?what=end&id={name}"),
        *("/confirm?what=forget&id=ada", "/session?id=none", "/search?q=order", "/search"),
    ]


def check(reader: Reader, path: str, axe: str, *widths: int) -> list[str]:
    """Return what is wrong with a page, at each width in both schemes."""
    found: list[str] = []
    for width in widths:
        for is_dark in (False, True):
            reader.look(width, is_dark=is_dark)
            reader.open(path)
            where = f"{path} {width} {'dark' if is_dark else 'light'}"
            found += [f"{where}: {fault}" for fault in faults(reader, axe)]
    return found


def faults(reader: Reader, axe: str) -> list[str]:
    """Return what is wrong with what is shown now, all folds open."""
    run = reader.driver.execute_script
    run("for (const one of document.querySelectorAll('details')) one.open = true;")
    found: list[str] = []
    if (over := run("return document.documentElement.scrollWidth - innerWidth")) > 0:
        found.append(f"sticks out by {over}")
    run(axe)
    told: dict[str, Any] = reader.driver.execute_async_script(
        "axe.run({resultTypes: ['violations']}).then(arguments[0])"
    )
    return found + [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in told["violations"]]


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_axe_finds_nothing(
    site: Site, model: Model, browse: Browse, axe: str, width: int
) -> None:
    waiting = fill(site, model)
    wide = fill_wide(site)
    reader = Reader(browse(), site.url)
    reader.open("/sessions")
    branch = reader.find("tr:has(.tag:not(.open)) a").get_attribute("href")
    found = check(reader, str(branch).removeprefix(site.url), axe, width)
    found += [one for path in pages(waiting) for one in check(reader, path, axe, width)]
    found += [
        one for path in pages(wide) if LONG in path for one in check(reader, path, axe, width)
    ]
    assert found == [], "\n".join(found)
    assert [one for one in reader.complaints if "404" not in one] == []


def test_what_is_open_branched_or_damaged_fits_too(
    redis_url: str, model: Model, browse: Browse, axe: str
) -> None:
    limited = AgentConfig(model=model, rate_limits=[RateLimit(per="user", window=60, requests=99)])
    with Site(redis_url, model, config=limited, others={"butler": Model()}) as site:
        with site.app.app_context():
            own, client = site.agents.for_user("ada"), site.agents.store.client
            first, runs, broken = (own.create_or_resume_session() for _ in range(3))
            for message in ("one", WIDE, "How is the weather?"):
                own.run(first, message)
            branch = own.fork_session(first, 2)
            own.run(branch, WIDE)
            own.rewind(first, 2)
            client.lset(f"thread:{{{first}}}", 1, f"<{WIDE}")
            client.set(f"session:{{{broken}}}", WIDE)
            own.start(runs, "Tell it slowly")
        reader = Reader(browse(), site.url)
        paths = [f"/session?id={one}" for one in (first, branch, runs, broken)]
        paths += ["/", f"/?id={first}", "/usage"]
        found = [one for path in paths for one in check(reader, path, axe, WIDTHS[0], WIDTHS[2])]
        model.go_on.set()
    assert found == [], "\n".join(found)


def test_what_the_doctor_says_can_be_read(site: Site, browse: Browse, axe: str) -> None:
    reader = Reader(browse(), site.url).open("/health")
    reader.find("main form button").click()
    reader.wait_for("The doctor:")
    for width in WIDTHS:
        reader.look(width)
        assert faults(reader, axe) == []
        rows = reader.driver.find_elements("css selector", ".checks td")
        assert all(0 <= one.rect["x"] < width for one in rows)


def test_pages_that_have_nothing_to_show_fit_too(site: Site, browse: Browse, axe: str) -> None:
    reader = Reader(browse(), site.url)
    paths = ("/", "/sessions", "/waiting", "/usage")
    assert [one for path in paths for one in check(reader, path, axe, *WIDTHS)] == []


@pytest.mark.parametrize(
    ("name", "path", "width", "is_dark"),
    [
        ("console-talk", "/?id={}#end", 1100, False),
        ("console-session", "/session?id={}", 1100, True),
        ("console-usage", "/usage", 1100, False),
        ("console-phone", "/?id={}#end", 390, True),
    ],
)
def test_screenshots(
    site: Site,
    model: Model,
    browse: Browse,
    images: Path,
    name: str,
    path: str,
    width: int,
    is_dark: bool,
) -> None:
    waiting = fill(site, model)
    reader = Reader(browse(), site.url)
    reader.look(width, 720, is_dark=is_dark)
    reader.open(path.format(waiting))
    file = images / f"{name}.png"
    reader.driver.save_screenshot(str(file))
    assert file.stat().st_size < LARGEST
