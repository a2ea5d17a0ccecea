"""The style of all figures: colours, titles, axes."""

import base64
import io
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from lamostvac.core.atomic import atomic
from lamostvac.core.vocabulary import DIGITS

TITLES = {
    "teff": r"$T_{\rm eff}$ / K",
    "logg": r"$\log\,g$",
    "feh": "[Fe/H]",
    "alpha_fe": r"[$\alpha$/Fe]",
}
TYPE_COLOURS = {
    "OB": "#3b5bdb",
    "A": "#4dabf7",
    "F": "#63b598",
    "G": "#e0b020",
    "K": "#f08c3a",
    "M": "#c92a2a",
}
ACCEPTED, REJECTED, GREY = "#3d7ea6", "#d9674f", "#6c757d"
# Viridis without its last part, whose yellow vanishes on white paper.
VIRIDIS = ListedColormap(plt.colormaps["viridis"](np.linspace(0, 0.87, 256)), "viridis_dark")
# Above this number of stars a density map is clearer than points.
MANY = 20_000
# Any, because Matplotlib's type allows listed keys only.
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG without Matplotlib's version and time, and close it.

    A palette of at most 256 colours, each within 16 of 256 levels of what was drawn: points and lines
    look the same and the file has a third of the bytes, and the report holds all figures. An octree
    leaves fewer colours than a median cut, so that files are a quarter smaller, in less time.
    """
    lay_out(figure)
    figure.set_facecolor("white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(pixels).convert("RGB")
    plt.close(figure)
    colours = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    levels = np.array(colours.getpalette())  # white comes out as the mean of what is nearly white
    colours.putpalette(np.where(levels > 253, 255, levels).tolist())
    with atomic(path) as temporary:
        colours.save(temporary, format="png", compress_level=8)  # 9 takes three times as long


def lay_out(figure: Figure) -> None:
    """Give the axes their places now: `savefig` would draw all of the figure once for that alone."""
    engine = figure.get_layout_engine()
    if engine is not None:
        for spine in (spine for axes in figure.axes for spine in axes.spines.values()):
            spine.set_in_layout(False)  # takes as long as texts, and labels reach farther
        engine.execute(figure)
        with plt.rc_context({"figure.constrained_layout.use": False, "figure.autolayout": False}):
            figure.set_layout_engine(None)


def svg_source(figure: Figure) -> str:
    """An SVG figure as `src` of an image; equal figures give equal bytes. Closes the figure."""
    buffer = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "lamost-vac", "svg.fonttype": "path"}):
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white"
        )
    plt.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def message(text: str) -> Figure:
    """A figure with only a text, for cases without data."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 1.6))
        axes.axis("off")
        axes.text(
            0.5, 0.5, textwrap.fill(text, 70), ha="center", va="center", color=GREY, fontsize=11
        )
    return figure


def point_size(n: int) -> float:
    """Area of a point among `n`."""
    return float(np.clip(9000 / max(n, 1), 2, 10))


def temperature_axis(axes: Axes, teff: NDArray[np.floating]) -> None:
    """Limits and ticks of a logarithmic axis of temperatures (n,), hot on the left."""
    low, high = float(teff.min()), float(teff.max())
    margin = max((high / low) ** 0.04, 1.01)
    axes.set_xlim(high * margin, low / margin)
    ticks = [
        t
        for t in (3000, 3500, 4000, 5000, 6000, 7000, 8000, 10000, 15000, 20000, 30000)
        if low <= t <= high
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks or [round(low)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelrotation=35 if len(ticks) > 7 else 0)


def log_ticks(
    low: float, high: float, most: int = 1000
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ticks of a logarithmic axis over [low, high] at 1, 2 and 5 times powers of ten, and minor ones.

    Over more than three decades only the powers of ten, so that numbers do not overlap. Where these
    are more than `most`, at 1 and 3 times powers of ten, or at these alone.
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)

    def at(digits: Iterable[int]) -> NDArray[np.float64]:
        found = np.array([digit * 10.0**decade for decade in decades for digit in digits])
        return found[(found >= low) & (found <= high)]

    choices = [(1, 2, 5), (1, 3)] if len(decades) <= 4 else []
    fitting = (ticks for ticks in map(at, choices) if len(ticks) <= most)
    return next(fitting, at((1,))), at(range(2, 10))


def plain_log_axis(axis: Axis, low: float, high: float) -> None:
    """The ticks of `log_ticks`, written out, on an axis over [low, high]."""
    axis.set_major_locator(FixedLocator(list(log_ticks(low, high)[0])))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


_BASES = TITLES | {
    "mh": "[M/H]",
    "alpha_m": r"[$\alpha$/M]",
    "c_fe": "[C/Fe]",
    "n_fe": "[N/Fe]",
    "c_n": "[C/N]",
    "dist": "distance / kpc",
    "dist_ks": "distance (Ks) / kpc",
}


def title_of(label: str) -> str:
    """A label for people: `feh_rec` as [Fe/H] (recommended), `feh_survey_lasp` as [Fe/H]
    (survey lasp), `abs_mag_ks` as M ks.
    """
    if label in _BASES:
        return _BASES[label]
    if label.startswith("abs_mag_"):
        return "M " + label.removeprefix("abs_mag_").replace("_", " ")
    base = max((name for name in _BASES if label.startswith(f"{name}_")), key=len, default="")
    if not base:
        return label
    source = label.removeprefix(f"{base}_").replace("_", " ")
    return f"{_BASES[base]} ({'recommended' if source == 'rec' else source})"


def digits_of(label: str, values: pd.Series) -> int:
    """Digits behind the point for statistics of a label: none for temperatures."""
    return DIGITS.get(label, 0 if values.abs().median() > 100 else 2)


def overall_title(figure: Figure, text: str) -> None:
    """The title of a whole figure, in as many lines as its width needs."""
    figure.suptitle(title_lines(text, figure.get_figwidth()), fontsize=11)


def title_lines(text: str, width: float) -> str:
    """A title in as many lines as a width in inches needs."""
    return textwrap.fill(text, max(16, int(11 * width)))
