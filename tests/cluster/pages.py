"""Reading a report as a browser would, without one: elements, texts, and the data of its scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_VOID = frozenset({"meta", "link", "input", "img", "br", "path"})
_BLOCKS = frozenset({"dd", "td", "th", "li", "p", "h1", "h2", "h3", "table"})


@dataclass
class Element:
    """An element that has been read; text: of it and all elements in it."""

    tag: str
    attributes: dict[str, str]
    above: list[str]
    text: str = ""

    def has(self, name: str, value: str) -> bool:
        """Whether an attribute has a value; for class: whether it is one of them."""
        said = self.attributes.get(name, "")
        return value in said.split() if name == "class" else said == value


@dataclass
class Page:
    """All elements of a page in order."""

    elements: list[Element] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Those with a tag and such attributes; class_: one of the classes."""
        return [
            one
            for one in self.elements
            if one.tag == tag and all(one.has(name.rstrip("_"), value) for name, value in attributes.items())
        ]

    def data(self, name: str) -> Any:
        """What the page tells its scripts."""
        (one,) = self.all("script", class_=name)
        return json.loads(one.text)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self._open = Page(), list[Element]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = Element(tag, {name: value or "" for name, value in attrs}, [above.tag for above in self._open])
        self.page.elements.append(one)
        if tag in _BLOCKS:
            self.handle_data(" ")
        if tag not in _VOID:
            self._open.append(one)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        assert self._open, f"</{tag}> ends nothing"
        assert self._open[-1].tag == tag, f"</{tag}> ends <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for one in self._open:
            one.text += data

    def close(self) -> None:
        super().close()
        assert self._open == []


def read_page(path: Path) -> Page:
    """Fails if an element is not closed, or closed out of order."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader.page
