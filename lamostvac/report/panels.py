"""Pages of many small panels, drawn in one pair of axes.

Where each panel is a pair of Matplotlib's axes, most of the time goes into ticks, their labels and the
search for places that leave room for these (docs/speed.md). Here a page of a hundred panels is one pair
of axes whose unit is the inch: places are given, and what looks alike in all panels is one artist.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from lamostvac.report.style import STYLE, log_ticks, title_lines

Array = NDArray[np.floating]
_POINT = 1 / 72  # inches
_LONG, _SHORT, _AWAY = 3.5 * _POINT, 2.0 * _POINT, 7.0 * _POINT  # ticks, and labels from the axis
_FONT = STYLE["xtick.labelsize"]


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, which may be the smaller."""

    low: float
    high: float
    log: bool = False

    def unit(self, values: Any) -> Array:
        """Where values (n,) are: 0 at `low`, 1 at `high`; NaN where a logarithm has none."""
        found = np.asarray(values, np.float64)
        ends = np.array([self.low, self.high], np.float64)
        if self.log:
            found = np.log10(np.where(found > 0, found, np.nan))
            ends = np.log10(ends)
        return np.asarray((found - ends[0]) / (ends[1] - ends[0]))

    def at(self, share: float) -> float:
        """The value at a share of the way from `low` to `high`."""
        if self.log:
            return float(self.low ** (1 - share) * self.high**share)
        return float(self.low + share * (self.high - self.low))

    def ticks(self, most: int) -> tuple[Array, list[str], Array]:
        """Ticks (k,), their labels, and minor ticks (m,); `most` intervals between ticks."""
        low, high = min(self.low, self.high), max(self.low, self.high)
        if self.log:
            major, minor = log_ticks(low, high, most)
            return major, [f"{tick:g}" for tick in major], minor
        locator = MaxNLocator(min(max(most, 1), 9), steps=[1, 2, 2.5, 5, 10])
        major = np.asarray(locator.tick_values(low, high))
        slack = 1e-9 * (high - low)
        major = major[(major >= low - slack) & (major <= high + slack)]
        formatter = ScalarFormatter(useOffset=False)
        formatter.create_dummy_axis()
        formatter.axis.set_view_interval(low, high)  # type: ignore[union-attr]
        formatter.set_scientific(False)
        return major, formatter.format_ticks(list(major)), np.empty(0)


def scale_of(values: Any, log: bool = False, margin: float = 0.05) -> Scale:
    """A scale over all finite values and a margin, as Matplotlib chooses it."""
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found) & ((found > 0) | (not log))]
    if not len(found):
        return Scale(0.0, 1.0)
    ends = np.array([found.min(), found.max()])
    ends = np.log10(ends) if log else ends
    wider = margin * (ends[1] - ends[0]) or 0.05 * max(abs(ends[0]), 1.0)
    ends = ends + np.array([-wider, wider])
    low, high = 10.0**ends if log else ends
    return Scale(float(low), float(high), log)


@dataclass
class Page:
    """A figure of `width` by `height` inches, and what is drawn in its panels."""

    width: float
    height: float
    figure: Figure = field(init=False)
    axes: Axes = field(init=False)

    def __post_init__(self) -> None:
        with plt.rc_context(STYLE | {"figure.constrained_layout.use": False}):
            self.figure = plt.figure(figsize=(self.width, self.height))
            self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set(xlim=(0, self.width), ylim=(0, self.height), autoscale_on=False)
        self._lines: dict[Any, list[Array]] = defaultdict(list)
        self._areas: dict[Any, list[Array]] = defaultdict(list)
        self._points: dict[Any, tuple[dict[str, Any], list[tuple[Array, Array, Any]]]] = {}

    def panel(self, left: float, bottom: float, width: float, height: float) -> "Panel":
        """A panel whose lower left corner is `left` and `bottom` inches from the page's."""
        return Panel(self, left, bottom, width, height)

    def text(self, x: float, y: float, text: str, **options: Any) -> None:
        """A text at a place in inches."""
        self.axes.text(x, y, text, **{"fontsize": _FONT} | options)

    def title(self, text: str) -> None:
        """The title of the page, in as many lines as its width needs."""
        lines = title_lines(text, self.width)
        self.text(0.5 * self.width, self.height - 0.05, lines, fontsize=11, ha="center", va="top")

    def finish(self) -> Figure:
        """The figure, with all lines, areas and points of its panels."""
        for (colour, alpha, order), areas in self._areas.items():
            self.axes.add_collection(
                PolyCollection(areas, facecolors=colour, alpha=alpha, linewidths=0, zorder=order),
                autolim=False,
            )
        for (colour, width, style, order), lines in self._lines.items():
            drawn = LineCollection(
                lines, colors=colour, linewidths=width, linestyles=style, zorder=order,
                capstyle="projecting" if style == "-" else "butt",
            )  # fmt: skip
            self.axes.add_collection(drawn, autolim=False)
        for options, points in self._points.values():
            x, y, colours = (
                np.concatenate([part[number] for part in points]) for number in range(3)
            )
            own: dict[str, Any] = {"c": colours} if "norm" in options else {}
            self.axes.scatter(x, y, **options, **own)
        return self.figure


@dataclass
class Panel:
    """A panel of a page, in inches; `x` and `y` are set before anything is drawn in it."""

    page: Page
    left: float
    bottom: float
    width: float
    height: float
    x: Scale = field(default_factory=lambda: Scale(0.0, 1.0))
    y: Scale = field(default_factory=lambda: Scale(0.0, 1.0))

    def place(self, x: Any, y: Any) -> Array:
        """Values to inches on the page (n, 2)."""
        u, v = np.broadcast_arrays(self.x.unit(x), self.y.unit(y))
        return self.corner(u, v)

    def corner(self, u: Any, v: Any) -> Array:
        """Shares of the panel's width and height to inches on the page."""
        return np.stack(
            [self.left + self.width * np.asarray(u), self.bottom + self.height * np.asarray(v)], -1
        )

    @property
    def box(self) -> Bbox:
        """The panel on the page."""
        return Bbox.from_bounds(self.left, self.bottom, self.width, self.height)

    def line(
        self, x: Any, y: Any, colour: str, width: float = 1.0, style: Any = "-", order: float = 2
    ) -> None:
        """A line through points (n,), which ends at the panel's edge and at NaN."""
        self.segments(self.place(x, y), colour, width, style, order)

    def segments(
        self, places: Array, colour: str, width: float, style: Any = "-", order: float = 2
    ) -> None:
        """A line through places (n, 2), in inches."""
        known = np.isfinite(places).all(axis=1)
        for part in np.split(places, np.flatnonzero(~known)):
            part = part[np.isfinite(part).all(axis=1)]
            if len(part) < 2:
                continue
            inside = self.box.padded(1e-6)
            if inside.count_contains(part) != len(part):
                for piece in clipped(part, self.box):
                    self.page._lines[colour, width, style, order].append(piece)
            else:
                self.page._lines[colour, width, style, order].append(part)

    def bars(self, x: Any, low: Any, high: Any, colour: str, width: float, order: float) -> None:
        """Vertical bars (n,) from `low` to `high`."""
        for one in np.stack([self.place(x, low), self.place(x, high)], axis=1):
            self.segments(one, colour, width, "-", order)

    def band(self, x: Any, low: Any, high: Any, colour: str, alpha: float) -> None:
        """The area between two lines (n,)."""
        below, above = self.place(x, low), self.place(x, high)
        known = np.isfinite(below).all(axis=1) & np.isfinite(above).all(axis=1)
        edge = np.concatenate([below[known], above[known][::-1]])
        if len(edge) > 3:
            area = np.asarray(Path(edge, closed=False).clip_to_bbox(self.box).vertices)
            if len(area) > 2:
                self.page._areas[colour, alpha, 1].append(area)

    def points(self, x: Any, y: Any, colours: Any = None, **options: Any) -> None:
        """Points (n,) within the panel; `options` are those of `scatter`, `colours` go with a `norm`."""
        places = self.place(x, y)
        with np.errstate(invalid="ignore"):
            shown = ((places >= self.box.min) & (places <= self.box.max)).all(axis=1)
        values = np.zeros(len(places)) if colours is None else np.asarray(colours, np.float64)
        # Scales of colours are told apart by what they are, not by what they contain.
        key = tuple(
            (name, option if isinstance(option, str | float | int) else id(option))
            for name, option in sorted(options.items())
        )
        self.page._points.setdefault(key, (options, []))[1].append(
            (*places[shown].T, values[shown])
        )

    def frame(self, below: bool = True, beside: bool = True) -> None:
        """Axes at the left and below, with ticks, and their labels where they are asked for."""
        corners = self.corner([0, 0, 1], [1, 0, 0])
        self.page._lines["black", 0.8, "-", 2.5].append(corners)
        across = int(self.width / _POINT / (3 * _FONT))
        for scale, labelled, direction in ((self.x, below, 0), (self.y, beside, 1)):
            most = across if direction == 0 else int(self.height / _POINT / (2 * _FONT))
            major, texts, minor = scale.ticks(most)
            for ticks, length, width in ((major, _LONG, 0.8), (minor, _SHORT, 0.6)):
                for place in self._along(scale, ticks, direction):
                    end = place - np.array([0.0, length] if direction == 0 else [length, 0.0])
                    self.page._lines["black", width, "-", 2.5].append(np.stack([place, end]))
            if labelled:
                self._labels(self._along(scale, major, direction), texts, direction)

    def _along(self, scale: Scale, ticks: Array, direction: int) -> Array:
        share = scale.unit(ticks)
        zero = np.zeros(len(share))
        return self.corner(share, zero) if direction == 0 else self.corner(zero, share)

    def _labels(self, places: Array, texts: Sequence[str], direction: int) -> None:
        for (x, y), text in zip(places, texts, strict=True):
            if direction == 0:
                self.page.text(x, y - _AWAY, text, ha="center", va="top")
            else:
                self.page.text(x - _AWAY, y, text, ha="right", va="center_baseline")

    def note(self, u: float, v: float, text: str, **options: Any) -> None:
        """A text at a share of the panel's width and height."""
        x, y = self.corner(u, v)
        self.page.text(float(x), float(y), text, **options)

    def overlay(self) -> Axes:
        """Axes of Matplotlib's own without ticks over the panel, for what only they can draw."""
        page = self.page
        place = (self.left / page.width, self.bottom / page.height)
        size = (self.width / page.width, self.height / page.height)
        axes = page.figure.add_axes((*place, *size))
        axes.set_axis_off()
        for name, scale in (("x", self.x), ("y", self.y)):
            axes.set(**{f"{name}scale": "log" if scale.log else "linear"})
            axes.set(**{f"{name}lim": (scale.low, scale.high)})
        return axes


def clipped(places: Array, box: Bbox) -> list[Array]:
    """The parts of a line (n, 2) within a box, a segment each (Liang and Barsky 1984)."""
    start, step = places[:-1], np.diff(places, axis=0)
    first, last = np.zeros(len(step)), np.ones(len(step))
    for p, q in (
        *((-step[:, i], start[:, i] - box.min[i]) for i in (0, 1)),
        *((step[:, i], box.max[i] - start[:, i]) for i in (0, 1)),
    ):
        with np.errstate(divide="ignore", invalid="ignore"):
            at = q / p
        first = np.where(p < 0, np.maximum(first, at), first)
        last = np.where(p > 0, np.minimum(last, at), last)
        last = np.where((p == 0) & (q < 0), -1.0, last)
    return [
        np.stack([start[i] + first[i] * step[i], start[i] + last[i] * step[i]])
        for i in np.flatnonzero(first < last)
    ]
