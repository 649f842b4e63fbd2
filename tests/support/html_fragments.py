"""HTML fragments as a browser reads them."""

from __future__ import annotations

from html.parser import HTMLParser


class Parsed(HTMLParser):
    """The tags, attributes and text that a browser would see."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check_fragment(fragment: str, pictures: int) -> None:
    parsed = Parsed(fragment)
    assert set(parsed.tags) == {"div", "figure", "img", "figcaption"}
    assert parsed.tags.count("img") == pictures
    assert {name for name, _ in parsed.attributes} == {"style", "src", "alt", "title"}
    assert all(value and "url(" not in value for name, value in parsed.attributes if name == "style")
    assert parsed.open == []
