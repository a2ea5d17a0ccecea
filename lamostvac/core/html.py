"""One HTML file that opens without a network: text, tables and figures in one, nothing fetched."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from lamostvac.core.atomic import atomic

CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f5f7; color: #1d2733;
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1560px; margin: 0 auto; padding: 20px 28px 48px; }
h1 { font-size: 24px; margin: 0 0 2px; } h2 { font-size: 18px; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 14px 0 4px; }
p { margin: 4px 0 8px; max-width: 110ch; } .soft { color: #5a6675; }
section { background: #fff; border: 1px solid #dde1e6; border-radius: 8px; padding: 14px 18px; margin: 14px 0;
  overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #eceff2; }
th { color: #5a6675; font-weight: 600; font-size: 13px; } td.n, th.n { text-align: right; }
img { max-width: 100%; height: auto; display: block; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.one { white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 10px; margin: 12px 0; }
.card { background: #fff; border: 1px solid #dde1e6; border-radius: 8px; padding: 10px 14px; }
.card b { display: block; font-size: 21px; line-height: 1.3; } .card span { color: #5a6675; font-size: 13px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); gap: 0 28px; }
.light { display: inline-block; min-width: 62px; padding: 0 8px; border-radius: 9px; text-align: center;
  font-size: 13px; font-weight: 600; }
.green { background: #d3f0db; color: #14602c; } .yellow { background: #fdeeb8; color: #6b4d00; }
.red { background: #f9d3d0; color: #8c1a12; } .none { background: #e6e9ed; color: #4a5563; }
.set { color: #8c1a12; font-weight: 600; }
.track { display: inline-block; width: 180px; } .bar { display: block; height: 11px; background: #6b9bc3;
  border-radius: 2px; min-width: 1px; }
summary { cursor: pointer; color: #1c5d99; padding: 4px 0; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""


class Raw(str):
    """Text that is HTML already."""

    def __add__(self, other: str) -> "Raw":
        return Raw(str(self) + str(other))


def text(value: Any) -> str:
    """A value as HTML: `Raw` as it is, anything else escaped, a missing number as a dash."""
    if isinstance(value, Raw):
        return str(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "&ndash;"
    return escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> Raw:
    """An HTML table; `numbers` are the columns set flush right."""

    def cells(tag: str, row: Sequence[Any]) -> str:
        kind = [' class="n"' if column in numbers else "" for column in range(len(row))]
        return "".join(f"<{tag}{kind[i]}>{text(value)}</{tag}>" for i, value in enumerate(row))

    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return Raw(
        f"<table><thead><tr>{cells('th', head)}</tr></thead>\n<tbody>\n{body}</tbody></table>"
    )


def cards(entries: Iterable[tuple[Any, Any]]) -> Raw:
    """Boxes of (large text, small text below)."""
    boxes = "".join(
        f'<div class="card"><b>{text(big)}</b><span>{text(small)}</span></div>'
        for big, small in entries
    )
    return Raw(f'<div class="cards">{boxes}</div>')


def section(identity: str, title: str, *content: Any) -> Raw:
    """A part of the page; plain strings become paragraphs."""
    parts = [item if isinstance(item, Raw) else Raw(f"<p>{text(item)}</p>") for item in content]
    return Raw(
        f'<section id="{escape(identity)}"><h2>{text(title)}</h2>\n'
        + "\n".join(parts)
        + "</section>\n"
    )


def details(summary: str, *content: Raw) -> Raw:
    """A part that opens on a click."""
    return Raw(f"<details><summary>{text(summary)}</summary>\n" + "\n".join(content) + "</details>")


def image(figure: Figure, alternative: str) -> Raw:
    """A Matplotlib figure as SVG inside the page; equal figures give equal bytes. Closes it."""
    buffer = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "lamost-vac", "svg.fonttype": "path"}):
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white"
        )
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Raw(f'<img alt="{escape(alternative)}" src="data:image/svg+xml;base64,{data}">')


def write_page(path: str | Path, title: str, content: Iterable[str]) -> None:
    """Write the page under its name only when it is complete."""
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(content)
        + "\n</main>\n</body>\n</html>\n"
    )
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
