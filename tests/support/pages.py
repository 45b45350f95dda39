"""Pages as a browser without a script sees them: text, links, and forms that can be sent."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

from attrs import define, field

_VOID = {"meta", "link", "input", "br", "line", "rect"}


@define
class Form:
    """A form: where it goes, what it sends, and the values of its buttons by their text."""

    action: str
    method: str
    fields: dict[str, str] = field(factory=dict)
    buttons: dict[str, tuple[str, str]] = field(factory=dict)


class Page(HTMLParser):
    """What is on a page. ``elements`` are tags with their attributes, in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self._open: list[str] = []
        self._texts: list[str] = []
        self._inside = ""  # the text of the link or button that is open
        self._attributes: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert self._open == [], "all is closed"
        self.text: str = " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "form":
            self.forms.append(Form(found["action"], found["method"]))
        elif tag in ("input", "textarea") and "name" in found and self.forms:
            if found.get("type") != "checkbox":
                self.forms[-1].fields[found["name"]] = found.get("value", "")
        elif tag in ("a", "button"):
            self._inside, self._attributes = "", found

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        words, found = " ".join(self._inside.split()), self._attributes
        if tag == "a":
            self.links[words] = found["href"]
        elif tag == "button" and self.forms:
            self.forms[-1].buttons[words] = found.get("name", ""), found.get("value", "")

    def handle_data(self, data: str) -> None:
        if "head" not in self._open:
            self._texts.append(data)
        self._inside += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of all elements of a tag."""
        return [found for name, found in self.elements if name == tag]

    def form(self, end_of_action: str) -> Form:
        """Return the one form that goes there."""
        (found,) = (one for one in self.forms if one.action.endswith(end_of_action))
        return found


class Visitor:
    """Somebody who opens pages, follows links and sends forms."""

    def __init__(self, client: Any, **headers: str) -> None:
        self._client = client
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.status: int = 0
        self.address: str = "/"

    def open(self, path: str) -> Page:
        return self._read(self._client.get(path, headers=self._headers, follow_redirects=True))

    def follow(self, page: Page, link: str) -> Page:
        return self.open(urljoin(self.address, page.links[link]))

    def send(self, form: Form, button: str = "", **fields: str) -> Page:
        assert form.method == "post"
        sent = {**form.fields, **fields}
        if button:
            name, value = form.buttons[button]
            sent |= {name: value} if name else {}
        action = urljoin(self.address, form.action)
        return self._read(
            self._client.post(action, data=sent, headers=self._headers, follow_redirects=True)
        )

    def _read(self, answer: Any) -> Page:
        self.status, self.address = answer.status_code, answer.request.full_path.rstrip("?")
        assert answer.mimetype == "text/html", answer.text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return Page(answer.text)
