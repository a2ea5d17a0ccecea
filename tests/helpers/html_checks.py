"""What every page must be: well-formed, with unique ids, and nothing fetched from elsewhere."""

from html.parser import HTMLParser

HOSTILE = """<b id="x">{{ 7 * 7 }}</b> & 'y' </script>"""
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The page's elements; raises AssertionError where a tag closes that is not open."""

    def __init__(self, content):
        super().__init__()
        self.open, self.ids, self.links, self.text, self.tags = [], [], [], [], []
        self.feed(content)
        self.close()
        assert not self.open, f"{self.open} never close"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "data", "action", "srcset"):
                self.links.append(value)

    def handle_endtag(self, tag):
        last = self.open.pop() if self.open else None
        assert last == tag, f"{tag} closes where {last} is open"

    def handle_data(self, data):
        self.text.append(data)


def check_page(path):
    """Read a page, make sure that it is whole and alone, and return its text with single spaces."""
    content = path.read_text(encoding="utf-8")
    assert content.startswith("<!DOCTYPE html>")
    page = Page(content)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("data:") or link.startswith("#") for link in page.links)
    assert "script" not in page.tags
    assert "x" not in page.ids
    assert "http" not in content
    assert "@import" not in content
    assert "url(" not in content
    return " ".join(" ".join(page.text).split())
