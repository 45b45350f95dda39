"""What a docstring tells about a function and its parameters, in the three common styles.

Google (``Args:``), numpy (``Parameters`` underlined) and reStructuredText (``:param name:``).
Anything else stays part of the description.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

_PARAMETERS = {
    "args", "arguments", "parameters", "params",
    "keyword args", "keyword arguments", "other parameters",
}  # fmt: skip
_HEADINGS = _PARAMETERS | {
    "returns", "return", "yields", "raises",
    "example", "examples", "note", "notes", "see also", "references", "attributes",
}  # fmt: skip
_FIELD = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)")
_OTHER_FIELD = re.compile(r":(?:returns?|rtype|raises?|type|yields?)\b[^:]*:")
_GOOGLE = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY = re.compile(r"\*{0,2}(\w+(?:, *\w+)*)\s*(?::.*)?$")


def read_docstring(docstring: str | None) -> tuple[str, dict[str, str]]:
    """Return the description, up to the first section or field, and a text per parameter."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    description: list[str] = []
    parameters: dict[str, str] = {}
    index = 0
    while index < len(lines) and not _ends_description(lines, index):
        description.append(lines[index])
        index += 1
    while index < len(lines):
        heading = _heading(lines, index)
        if heading in _PARAMETERS:
            underlined = _is_underline(lines, index + 1)
            section = list(_section(lines, index + 1 + underlined))
            parameters |= _entries(section, _NUMPY if underlined else _GOOGLE)
        elif found := _FIELD.match(lines[index]):
            text = [found[2], *_indented(lines, index + 1)]
            parameters[found[1]] = " ".join(filter(None, text))
        index += 1
    return "\n".join(description).strip(), parameters


def _ends_description(lines: list[str], index: int) -> bool:
    line = lines[index]
    return bool(_heading(lines, index) or _FIELD.match(line) or _OTHER_FIELD.match(line))


def _heading(lines: list[str], index: int) -> str | None:
    """Return the lower-case heading that the line is: ended by a colon, or underlined."""
    word = lines[index].removesuffix(":").lower()
    marked = lines[index].endswith(":") or _is_underline(lines, index + 1)
    return word if marked and word in _HEADINGS else None


def _is_underline(lines: list[str], index: int) -> bool:
    return index < len(lines) and len(lines[index]) > 2 and set(lines[index].strip()) == {"-"}


def _section(lines: list[str], start: int) -> Iterator[str]:
    """Yield the lines up to the next heading."""
    for index in range(start, len(lines)):
        if _ends_description(lines, index):
            return
        yield lines[index]


def _indented(lines: list[str], start: int) -> Iterator[str]:
    for line in lines[start:]:
        if not line.startswith((" ", "\t")):
            return
        yield line.strip()


def _entries(section: list[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """Read entries that start at the section's own indent and go on further in."""
    written = [line for line in section if line.strip()]
    if not written:
        return {}
    margin = len(written[0]) - len(written[0].lstrip())
    found: dict[str, list[str]] = {}
    text: list[str] = []
    for line in written:
        if len(line) - len(line.lstrip()) > margin:
            text.append(line.strip())
        elif entry := pattern.match(line.strip()):
            text = list(entry.groups()[1:])
            found |= dict.fromkeys(re.split(", *", entry[1]), text)
        else:
            text = []
    return {name: " ".join(filter(None, texts)) for name, texts in found.items()}
