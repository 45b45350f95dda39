"""What people and models wrote is text on every page, whatever it looks like."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from miniagent_redis import Message, ToolCall, UsageTotals
from miniagent_redis.errors import InvalidInput
from miniagent_redis.flask.console import words
from miniagent_redis.flask.console.conversation import turns_of
from miniagent_redis.store.usage_kinds import ToolTotals
from tests.flask.conftest import OpenConsole
from tests.flask.test_console_look import PAGES
from tests.support.console_apps import standalone
from tests.support.pages import Page

CORPUS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</textarea></title></style><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% for x in y %}",
    "&lt;b&gt; &amp; <!-- --> ]]>",
    "\x1b[31mred\x1b]0;title\x07\x9b2J",
    "abc\u202egnp.exe \u2066hidden\u2069",
    "half \ud800 a character",
    "nul\x00 bell\x07 return\rfeed",
    "über/../../etc?x=1&y=2#z%41",
]
HIDDEN = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd]")


@pytest.mark.parametrize("evil", CORPUS)
def test_it_is_shown_as_text_on_every_page(open_console: OpenConsole, evil: str) -> None:
    app, agents = open_console(standalone)
    client = app.test_client()
    with app.app_context():
        own = agents.for_user(evil)
        session_id = own.create_or_resume_session(session_id=evil, data={evil: evil})
        own.start(session_id, f"{evil} I want a refund")
        for _ in own.watch(session_id, "", timeout=1):
            pass
        other = agents.for_user("ada").create_or_resume_session(session_id=f"ada {evil}")
        call = ToolCall("c1", evil, {evil: [evil]})
        agents.store.append_to_thread(
            other,
            [
                Message("user", evil),
                Message("assistant", evil, (call,), metadata={"finish_reason": evil}),
                Message("tool", evil, tool_call_id="c1", name=evil),
                Message("system", evil),
            ],
        )
        with suppress(InvalidInput):  # what is no title
            agents.store.set_title(other, evil)
        branch = agents.store.fork_session(other)
        spent = UsageTotals(turns=1, input_tokens=7)
        agents.store.parts.usage.note(spent, model=evil, tools={evil: ToolTotals(1)})
        damaged = agents.for_user("ada").create_or_resume_session()
        agents.for_user("ada").run(damaged, "Hello")
        raw = evil.encode("utf-8", "surrogatepass")
        client_of_redis: Any = agents.store.client
        client_of_redis.lset(f"thread:{{{damaged}}}", 1, raw)
    seen = ""
    for path in PAGES:
        links = check(client, path)
        seen += " ".join(links)
        for link in links:
            check(client, link)
    assert "/session?" in seen
    links = check(client, f"/session?id={quote(words.to_link(other), safe='')}")
    (keys,) = (link for link in links if link.startswith("/session/keys?"))
    check(client, keys)
    links = check(client, f"/session?id={branch}")
    (origin,) = {link for link in links if "/session?" in link and branch not in link}
    check(client, origin)
    for path in (f"/?id={damaged}", f"/session?id={damaged}", f"/session/keys?id={damaged}"):
        check(client, path)
    found = check(client, f"/search?q={quote(evil, errors='replace')}")
    assert evil not in CORPUS[:3] or any("/session?" in link for link in found)


def check(client: Any, path: str) -> list[str]:
    """Open a page; see that nothing of it is anything but ours; return where it leads."""
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 200, path
    if answer.mimetype != "text/html":
        return []
    html = answer.get_data().decode("utf-8")
    assert not HIDDEN.search(html), path
    page = Page(html)
    scripts = page.all("script")
    assert [one["src"] for one in scripts] == ["/static/console.js"]
    for tag, attributes in page.elements:
        assert tag not in ("style", "iframe", "object", "img", "base"), path
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    links = [link for link in page.links.values() if not link.startswith("#")]
    assert all(link.startswith("/") for link in links), links
    return links


@pytest.mark.parametrize("evil", [*CORPUS, "plain", "Zoë", "~tilde", "a b+c%20", "x" * 500])
def test_any_id_can_be_an_address_and_back(open_console: OpenConsole, evil: str) -> None:
    app, agents = open_console(standalone)
    assert words.from_link(words.to_link(evil)) == evil
    with app.app_context():
        agents.for_user("ada").create_or_resume_session(session_id=evil)
    page = Page(app.test_client().get("/sessions").text)
    link = page.links["(nothing said yet)"]
    page = Page(app.test_client().get(link).text)
    shown = str(words.visible(evil))
    assert " ".join(shown.split())[:40] in page.text
    removal = Page(app.test_client().get(page.links["Remove…"]).text).form("/confirm")
    assert "is removed" in app.test_client().post("/confirm", data=removal.fields).text


def test_an_id_that_no_page_gave_is_refused() -> None:
    with pytest.raises(InvalidInput):
        words.from_link("~\u1234")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 ms"), (0.042, "42 ms"), (3.21, "3.2 s"), (45, "45 s"), (60, "1 min"),
        (95, "1 min 35 s"), (3600 * 3 + 1200, "3 h 20 min"), (86400 * 6 + 7200, "6 d 2 h"),
        (86400 * 12 + 7200, "12 d"),
    ],
)  # fmt: skip
def test_lengths_of_time(seconds: float, told: str) -> None:
    assert words.span(seconds) == told


def test_numbers() -> None:
    assert words.number(1234567) == "1,234,567"
    assert [words.money(usd) for usd in (0, 0.0042, 12.3)] == ["\u2013", "$0.0042", "$12.30"]
    assert [words.size(n) for n in (312, 4200, 1_300_000)] == ["312 B", "4.2 kB", "1.3 MB"]
    assert [words.ago(n) for n in (3, 61, 7300)] == ["just now", "1 min ago", "2 h ago"]


def test_an_id_of_a_call_that_is_used_again_belongs_to_its_reply() -> None:
    def said(index: int, role: str, **more: Any) -> dict[str, Any]:
        at = f"2026-01-01T00:00:0{index}.000+00:00"
        return {
            "index": index, "role": role, "content": f"text {index}", "turn_id": "t",
            "created_at": at, **more,
        }  # fmt: skip

    calls = [{"id": "c1", "name": "look", "arguments": {}}]
    history = [
        said(0, "user"),
        said(1, "assistant", tool_calls=calls),
        said(2, "tool", tool_call_id="c1"),
        said(3, "assistant", tool_calls=calls),
        said(4, "tool", tool_call_id="c1"),
        said(5, "tool", tool_call_id="lost"),
    ]
    (turn,) = turns_of(history)
    assert [[call.result for call in step.calls] for step in turn.steps] == [
        [], ["text 2"], ["text 4"], [],
    ]  # fmt: skip
    assert turn.seconds == 5
    assert turn.steps[1].seconds == 1


def told(index: int, role: str, content: Any = "", **more: Any) -> dict[str, Any]:
    at = f"2026-01-01T00:00:0{index}.000+00:00"
    return {"index": index, "role": role, "content": content, "created_at": at, **more}


def test_what_was_brought_from_elsewhere_stands_together_from_the_users_message_on() -> None:
    calls = [{"id": "c1", "name": "look", "arguments": {}}]
    history = [
        told(0, "user", "One"),
        told(1, "assistant", tool_calls=calls),
        told(2, "tool", "found", tool_call_id="c1"),
        told(3, "assistant", "There."),
        told(4, "user", "Two"),
        told(5, "assistant", "Yes."),
        told(6, "user", "Three", turn_id="t"),
        told(7, "assistant", "No.", turn_id="t"),
    ]
    turns = turns_of(history)
    assert [(turn.index, len(turn.steps)) for turn in turns] == [(0, 3), (4, 2), (6, 2)]
    assert turns[0].steps[1].calls[0].result == "found"
    assert [turn.seconds for turn in turns] == [None, None, 1.0]


def test_pictures_of_a_message_are_shown_and_nothing_is_fetched(open_console: OpenConsole) -> None:
    app, agents = open_console(standalone)
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "mime_type": "image/png", "data": "iVBO"},
        {"type": "image", "mime_type": "image/svg+xml", "data": "PHN2"},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.jpg"}},
        {"type": "file", "mime_type": "application/pdf", "data": "JVBE", "name": "report.pdf"},
        {"type": "odd"},
    ]
    with app.app_context():
        agents.for_user("ada").create_or_resume_session(session_id="s")
        agents.store.append_to_thread("s", [Message("user", parts)])
    for path in ("/session?id=s", "/?id=s"):
        answer = app.test_client().get(path)
        shown = re.findall(r'<img src="([^"]*)"', answer.text)
        assert shown == ["data:image/png;base64,iVBO"]
        named = ("image", "https://example.org/cat.jpg", "file report.pdf", "odd")
        assert all(one in answer.text for one in named)
        assert "img-src 'self' data:;" in answer.headers["Content-Security-Policy"]


def test_reasoning_that_vendors_show_is_folded() -> None:
    blocks = [
        {"provider": "a", "data": {"type": "thinking", "thinking": "Hmm."}},
        {"provider": "o", "data": {"type": "reasoning", "summary": [{"text": "First"}]}},
        {"provider": "g", "data": {"signature": "x"}},
    ]
    (turn,) = turns_of([
        {
            "index": 0, "role": "assistant", "content": "", "metadata": {"blocks": blocks},
            "created_at": "2026-01-01T00:00:00+00:00",
        }
    ])  # fmt: skip
    assert turn.steps[0].reasoning == "Hmm.\n\nFirst"
