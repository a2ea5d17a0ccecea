"""The figures of the report. Functions take arrays and tables and return a figure; `save` writes it.

Equal input gives equal bytes: no time stamps, no random thinning.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from lamostvac.core.errors import REASONS
from lamostvac.core.files import atomic
from lamostvac.core.vocabulary import LABELS
from lamostvac.validation.libraries import PUBLISHED_FGK, SUBCLASSES, curve
from lamostvac.validation.validation import DISTANCES, pulls_of, snr_bins, statistics

TITLES = {"teff": r"$T_{\rm eff}$ / K", "logg": r"$\log\,g$", "feh": "[Fe/H]", "alpha_fe": r"[$\alpha$/Fe]"}
DIGITS = {"teff": 0, "logg": 2, "feh": 2, "alpha_fe": 2}
TYPE_COLOURS = {
    "OB": "#3b5bdb",
    "A": "#4dabf7",
    "F": "#63b598",
    "G": "#e0b020",
    "K": "#f08c3a",
    "M": "#c92a2a",
}
ACCEPTED, REJECTED, GREY = "#3d7ea6", "#d9674f", "#6c757d"
# Above this number of stars a density map says more than points.
_MANY = 20_000
_DENSE = 4_000  # the same for a panel of a comparison

# Any: Matplotlib types the keys as a closed list.
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
    "savefig.dpi": 150,
}


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG without the version and time that Matplotlib would add, and close it."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, facecolor="white")
    plt.close(figure)


def message(text: str) -> Figure:
    """A figure that only says something, for when there is nothing to draw."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 1.6))
        axes.axis("off")
        axes.text(0.5, 0.5, textwrap.fill(text, 70), ha="center", va="center", color=GREY, fontsize=11)
    return figure


def kiel(
    teff: NDArray[np.floating],
    logg: NDArray[np.floating],
    feh: NDArray[np.floating],
    alpha_fe: NDArray[np.floating],
) -> Figure:
    """Teff against log g coloured by [Fe/H], and [Fe/H] against [alpha/Fe] (Liang et al. 2024, Figure 12).

    All (n,); stars without Teff or log g are left out. The second panel is there when [alpha/Fe] is.
    """
    known = np.isfinite(teff) & np.isfinite(logg) & np.isfinite(feh) & (teff > 0)
    if not known.any():
        return message("No star has both effective temperature and surface gravity.")
    teff, logg, feh, alpha_fe = teff[known], logg[known], feh[known], alpha_fe[known]
    has_alpha = bool(np.isfinite(alpha_fe).any())
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 1 + has_alpha, figsize=(5.6 + 4.6 * has_alpha, 4.6), squeeze=False)
        low, high = np.percentile(feh, [2, 98]) if len(feh) > 1 else (feh[0], feh[0])
        shade = Normalize(low, max(high, low + 0.1))
        left = axes[0, 0]
        mappable: Any
        if len(teff) < _MANY:
            mappable = left.scatter(
                teff, logg, c=feh, s=point_size(len(teff)), norm=shade, cmap="viridis", linewidths=0
            )
        else:
            mappable = _mean_map(left, np.log10(teff), logg, feh, shade)
        left.set_xscale("log")
        temperature_axis(left, teff)
        left.invert_yaxis()
        left.set(xlabel=TITLES["teff"], ylabel=TITLES["logg"], title=f"Kiel diagram, {len(teff):,} stars")
        figure.colorbar(mappable, ax=left, label="[Fe/H]" if len(teff) < _MANY else "mean [Fe/H]", pad=0.02)
        if has_alpha:
            right = axes[0, 1]
            both = np.isfinite(alpha_fe)
            counts = right.hexbin(
                feh[both],
                alpha_fe[both],
                gridsize=60 if both.sum() > 3000 else 35,
                norm=LogNorm(),
                mincnt=1,
                cmap="magma_r",
            )
            for name, chosen, colour in (
                ("giants (log g < 3.8)", both & (logg < 3.8), "#c92a2a"),
                ("dwarfs", both & (logg >= 3.8), "black"),
            ):
                _median_line(right, feh[chosen], alpha_fe[chosen], name, colour)
            right.set(
                xlabel=TITLES["feh"], ylabel=TITLES["alpha_fe"], title=f"Abundances, {both.sum():,} stars"
            )
            if right.get_legend_handles_labels()[0]:
                right.legend(loc="upper right")
            figure.colorbar(counts, ax=right, label="stars", pad=0.02)
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
        t for t in (3000, 3500, 4000, 5000, 6000, 7000, 8000, 10000, 15000, 20000, 30000) if low <= t <= high
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks or [round(low)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelrotation=35 if len(ticks) > 7 else 0)


def _mean_map(
    axes: Axes,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    value: NDArray[np.floating],
    shade: Normalize,
) -> Any:
    """Mean of `value` in cells, the more opaque the more stars; x is log10 of the axis."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=(180, 140))
    total, _, _ = np.histogram2d(x, y, bins=(x_edges, y_edges), weights=value)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(counts > 0, total / counts, np.nan)
    opacity = np.where(counts > 0, 0.25 + 0.75 * np.log1p(counts) / np.log1p(counts.max()), 0.0)
    colours = plt.colormaps["viridis"](shade(np.nan_to_num(mean.T)))
    colours[..., 3] = opacity.T
    axes.pcolormesh(10**x_edges, y_edges, colours)
    return ScalarMappable(shade, "viridis")


def _median_line(
    axes: Axes, x: NDArray[np.floating], y: NDArray[np.floating], name: str, colour: str
) -> None:
    if len(x) < 20:
        return
    low, high = np.percentile(x, [1, 99])
    edges = np.linspace(low, high, 13)
    which = np.digitize(x, edges)
    points = [
        (x[which == bin_].mean(), np.median(y[which == bin_]))
        for bin_ in range(1, len(edges))
        if np.count_nonzero(which == bin_) >= 5
    ]
    if len(points) > 1:
        axes.plot(*zip(*points, strict=True), color="white", lw=3)
        axes.plot(*zip(*points, strict=True), color=colour, lw=1.5, label=name)


def chi2(table: pd.DataFrame, snr_band: str, thresholds: Mapping[str, float]) -> Figure:
    """Histogram of chi2 and median S/N against chi2 for each type (Liang et al. 2024, Figure 11).

    Liang et al. draw the mean; the median bears the -9999 that releases write for a missing S/N.

    Parameters
    ----------
    table : columns `spectral_type`, `chi2` and the S/N
    thresholds : spectral type to the S/N threshold of dwarfs, drawn dashed
    """
    table = table[np.isfinite(table["chi2"]) & (table["chi2"] > 0)]
    present = [name for name in TYPE_COLOURS if (table["spectral_type"] == name).any()]
    if not present:
        return message("No star has a chi2.")
    with plt.rc_context(STYLE | {"axes.spines.right": True}):
        columns = min(3, len(present))
        lines = -(-len(present) // columns)
        figure, grid = plt.subplots(lines, columns, figsize=(3.9 * columns, 2.9 * lines), squeeze=False)
        for axes in grid.flat[len(present) :]:
            axes.axis("off")
        for name, axes in zip(present, grid.flat, strict=False):
            stars = table[table["spectral_type"] == name]
            values, snr = stars["chi2"].to_numpy(np.float64), stars[snr_band].to_numpy(np.float64)
            low, high = np.percentile(values, [0.5, 99.5])
            edges = np.geomspace(
                low * 0.98, max(high, low * 1.05) * 1.02, int(np.clip(len(values) ** 0.5, 8, 50)) + 1
            )
            axes.hist(np.clip(values, edges[0], edges[-1]), edges, color=TYPE_COLOURS[name], alpha=0.75)
            axes.set_xscale("log")
            plain_log_axis(axes.xaxis, edges[0], edges[-1])
            axes.set_title(f"{name}, {len(values):,} stars, median {np.median(values):.2f}")
            axes.set(xlabel=r"$\chi^2$", ylabel="stars")
            which = np.digitize(values, edges)
            middles = np.sqrt(edges[1:] * edges[:-1])
            members = [snr[which == number] for number in range(1, len(edges))]
            medians = np.array([np.median(group) if len(group) > 2 else np.nan for group in members])
            other = axes.twinx()
            other.plot(middles, medians, color="black", lw=1.2, marker=".", ms=3)
            other.axhline(thresholds[name], color="black", ls="--", lw=0.8)
            other.set_ylabel(f"median S/N ({snr_band[-1]})")
            other.set_ylim(0, None)
    return figure


def plain_log_axis(axis: Axis, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, written out; a logarithmic axis over [low, high].

    Over more than three decades only the powers of ten, or the numbers run into each other.
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    digits = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def spectra(wave: NDArray[np.floating], examples: Sequence[Mapping[str, Any]]) -> Figure:
    """Observed and model spectra of example stars, with the residuals.

    Parameters
    ----------
    wave : (4901,) A
    examples : mappings with `spectrum_id`, `spectral_type`, `flux`, `model` (4901,) and `used`
        (4901,) True where the fit used the pixel
    """
    if not examples:
        return message("The fit stored no example spectra.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2 * len(examples),
            1,
            figsize=(10, 2.1 * len(examples)),
            sharex=True,
            squeeze=False,
            height_ratios=[3, 1] * len(examples),
        )
        for example, upper, lower in zip(examples, grid[::2, 0], grid[1::2, 0], strict=True):
            used = np.asarray(example["used"], bool)
            flux, model = np.asarray(example["flux"], np.float64), np.asarray(example["model"], np.float64)
            upper.plot(wave, np.where(used, flux, np.nan), color="black", lw=0.5, label="observed")
            upper.plot(wave, model, color="#d9480f", lw=0.7, alpha=0.9, label="model")
            lower.plot(wave, np.where(used, flux - model, np.nan), color="black", lw=0.4)
            lower.axhline(0, color="#d9480f", lw=0.6)
            for axes in (upper, lower):
                _shade_masked(axes, wave, used)
                axes.margins(x=0)
            shown = np.concatenate([flux[used], model]) if used.any() else model
            bottom, top = np.nanpercentile(shown, [0.2, 99.8])
            height = max(top - bottom, 0.1)
            upper.set_ylim(bottom - 0.1 * height, top + 0.25 * height)
            spread = np.nanpercentile(np.abs((flux - model)[used]), 99) if used.any() else 0.1
            lower.set_ylim(-1.3 * max(spread, 0.01), 1.3 * max(spread, 0.01))
            upper.set_ylabel("flux")
            lower.set_ylabel("diff.")
            upper.set_title(
                f"{example['spectral_type']}  {example['spectrum_id']}", loc="left", fontsize=8.5, pad=2
            )
        grid[0, 0].legend(loc="upper right", ncols=2, borderaxespad=0.1)
        grid[-1, 0].set_xlabel("rest wavelength / A (vacuum); grey: not used by the fit")
        figure.align_ylabels()
    return figure


def _shade_masked(axes: Axes, wave: NDArray[np.floating], used: NDArray[np.bool_]) -> None:
    change = np.flatnonzero(np.diff(np.concatenate([[True], used, [True]]).astype(int)))
    for start, stop in zip(change[::2], change[1::2], strict=True):
        axes.axvspan(wave[start] - 0.5, wave[stop - 1] + 0.5, color="#dee2e6", lw=0)


LIBRARY_COLOURS = ("#3d7ea6", "#d9674f", "#63b598", "#9c6ade", "#e0b020", "#495057")


def libraries(table: pd.DataFrame) -> Figure:
    """Dispersion of the cross-validation's errors by subclass, a colour per library (Liang et al. 2024, Figure 7).

    `table` is what `lamostvac.validation.libraries.compare_libraries` returns. Subclasses without a point in any
    panel are left out.
    """
    names = list(dict.fromkeys(table["library"]))
    labels = list(dict.fromkeys(table["label"]))
    drawn = [
        subclass
        for i, subclass in enumerate(SUBCLASSES)
        if any(np.isfinite(curve(table, name, label, "sigma")[i]) for name in names for label in labels)
    ]
    if not drawn:
        return message("No library has enough stars in any subclass to show a dispersion.")
    x = np.arange(len(drawn))
    fgk = [i for i, subclass in enumerate(drawn) if subclass[0] in "FGK"]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(labels), 1, figsize=(7.2, 2.1 * len(labels) + 0.7), sharex=True, squeeze=False
        )
        for label, axes in zip(labels, grid[:, 0], strict=True):
            for number, name in enumerate(names):
                colour = LIBRARY_COLOURS[number % len(LIBRARY_COLOURS)]
                for column, style in (("robust_sigma", "o-"), ("sigma", "--")):
                    y = curve(table, name, label, column, drawn)
                    axes.plot(x, y, style, color=colour, ms=4, label=name if style == "o-" else None)
            if label in PUBLISHED_FGK and fgk:
                ends = [fgk[0] - 0.4, fgk[-1] + 0.4]
                axes.plot(ends, [PUBLISHED_FGK[label]] * 2, color=GREY, lw=3, alpha=0.5, zorder=0)
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_ylabel(rf"$\sigma$ of {TITLES[label]}")
        grid[0, 0].legend(ncols=len(names))
        grid[-1, 0].set_xticks(x, drawn)
    return figure


def comparison(title: str, pairs: pd.DataFrame, labels: Iterable[str] = LABELS) -> Figure:
    """One-to-one and residuals of each label against a reference (Wang et al. 2022, Figures 6 to 9).

    `pairs` is what `lamostvac.validation.validation.pairs` returns, for one dataset. Axes cover the central
    99 % of the values; stars whose fit carries a warning are open grey circles. Points are coloured by S/N;
    of more than `_DENSE` the density is drawn. The cross is the typical (median) error of both sides. Residuals of
    distances are relative.
    """
    labels = [name for name in labels if np.isfinite(labelled(pairs, name)["difference"]).any()]
    if not labels:
        return message(f"{title}: no star of the catalogue has a label to compare.")
    columns = min(len(labels), 4)
    lines = -(-len(labels) // columns)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2 * lines,
            columns,
            figsize=(3.5 * columns + 0.9, 5.2 * lines),
            squeeze=False,
            height_ratios=[3, 2] * lines,
        )
        for axes in (*grid[0::2].flat[len(labels) :], *grid[1::2].flat[len(labels) :]):
            axes.axis("off")
        mappable = None
        uppers, lowers = grid[0::2].flat, grid[1::2].flat
        for number, (label, upper, lower) in enumerate(zip(labels, uppers, lowers, strict=False)):
            lower.sharex(upper)
            upper.tick_params(labelbottom=False)
            table = labelled(pairs, label)
            table = table[np.isfinite(table["difference"])]
            good = table[~table["fit_flagged"]]
            low, high, is_log = _one_to_one(upper, label, table)
            spread = max(float(np.percentile(np.abs(table["difference"]), 98)), 1e-3)
            points = _points(upper, "value", table, is_log, (low, high, low, high))
            _points(lower, "difference", table, is_log, (low, high, -1.15 * spread, 1.15 * spread))
            mappable = points if points is not None else mappable
            lower.set_ylim(-1.15 * spread, 1.15 * spread)
            lower.axhline(0, color="black", lw=0.8)
            numbers = statistics(good["difference"], np.zeros(len(good)), good.get("star"))
            lower.axhline(numbers["offset"], color="#d9480f", lw=0.9, ls="--")
            digits = 2 if label in DISTANCES else digits_of(label, table["reference"])
            stars = f" ({numbers['n_stars']:,} stars)" if numbers["n_stars"] < numbers["n"] else ""
            upper.text(
                0.04,
                0.96,
                f"n = {numbers['n']:,}{stars}\n"
                f"offset {numbers['offset']:+.{digits}f} $\\pm$ {numbers['offset_err']:.{digits + (digits > 0)}f}\n"
                rf"$\sigma$ {numbers['sigma']:.{digits}f}, robust {numbers['robust_sigma']:.{digits}f}",
                transform=upper.transAxes,
                va="top",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
            )
            _typical_errors(upper, good)
            upper.set_title(title_of(label))
            if number >= len(labels) - columns:
                lower.set_xlabel("reference")
            if number % columns == 0:
                upper.set_ylabel("this catalogue")
                lower.set_ylabel("relative diff." if label in DISTANCES else "difference")
        if mappable is not None:
            ticks = [5, 10, 20, 50, 100, 200]
            bar = figure.colorbar(
                mappable, ax=list(grid[:2, -1]), label="S/N (g)", ticks=ticks, pad=0.02, aspect=35
            )
            bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            bar.ax.minorticks_off()
        figure.suptitle(title, fontsize=11)
    return figure


def _one_to_one(axes: Axes, label: str, table: pd.DataFrame) -> tuple[float, float, bool]:
    """The line of equality and the limits of both axes, logarithmic for temperatures and distances of long range."""
    low, high = (float(value) for value in np.percentile(table[["value", "reference"]], [0.5, 99.5]))
    is_log = (title_of(label) == TITLES["teff"] or label in DISTANCES) and low > 0 and high > 3 * low
    if is_log:
        low, high = low * 0.9, high * 1.1
        axes.set(xscale="log", yscale="log")
        plain_log_axis(axes.xaxis, low, high)
        plain_log_axis(axes.yaxis, low, high)
    else:
        margin = 0.06 * (high - low) or 0.1
        low, high = low - margin, high + margin
    axes.plot([low, high], [low, high], color="black", lw=0.8)
    axes.set(xlim=(low, high), ylim=(low, high))
    return low, high, is_log


def _points(
    axes: Axes, y: str, table: pd.DataFrame, is_log: bool, extent: tuple[float, float, float, float]
) -> Any:
    """Points of a panel, coloured by S/N, or their density; what a colour bar needs, or None."""
    good, warned = table[~table["fit_flagged"]], table[table["fit_flagged"]]
    if len(good) > _DENSE:
        inside = good[good["reference"].between(extent[0], extent[1]) & good[y].between(extent[2], extent[3])]
        x_scale: Any = "log" if is_log else "linear"
        y_scale: Any = "log" if is_log and y == "value" else "linear"
        axes.hexbin(
            inside["reference"],
            inside[y],
            gridsize=60,
            xscale=x_scale,
            yscale=y_scale,
            norm=LogNorm(),
            mincnt=1,
            cmap="magma_r",
            linewidths=0,
        )
        return None
    axes.scatter(warned["reference"], warned[y], s=8, facecolors="none", edgecolors="#adb5bd", linewidths=0.5)
    coloured = good["snr"].notna().any()
    points = axes.scatter(
        good["reference"],
        good[y],
        s=point_size(len(good)),
        c=good["snr"].clip(5, 200) if coloured else ACCEPTED,
        norm=LogNorm(5, 200) if coloured else None,
        cmap="viridis" if coloured else None,
        linewidths=0,
    )
    return points if coloured else None


def _typical_errors(axes: Axes, table: pd.DataFrame) -> None:
    """The median errors of both sides as a cross in the lower right corner, where there are any."""
    ours = table["error"][np.isfinite(table["error"]) & (table["error"] > 0)]
    theirs = table["reference_error"] if "reference_error" in table else table["error"] * np.nan
    theirs = theirs[np.isfinite(theirs) & (theirs > 0)]
    if not len(ours) and not len(theirs):
        return
    to_data = axes.transAxes + axes.transData.inverted()
    x, y = to_data.transform((0.85, 0.12))
    # On logarithmic axes a relative error has one length everywhere.
    is_log = axes.get_xscale() == "log"
    across = (theirs / table["reference"][theirs.index]).median() * x if is_log else theirs.median()
    up = (ours / table["value"][ours.index]).median() * y if is_log else ours.median()
    axes.errorbar(
        [x],
        [y],
        xerr=[across] if len(theirs) else None,
        yerr=[up] if len(ours) else None,
        color="#1864ab",
        lw=1.2,
        capsize=2,
        fmt="none",
        zorder=5,
    )


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
    """A label for people: `feh_rec` as [Fe/H] (recommended), `abs_mag_ks` as M ks."""
    if label in _BASES:
        return _BASES[label]
    if label.startswith("abs_mag_"):
        return "M " + label.removeprefix("abs_mag_").replace("_", " ")
    base, _, suffix = label.rpartition("_")
    if base not in _BASES:
        return label
    return f"{_BASES[base]} ({'recommended' if suffix == 'rec' else suffix})"


def digits_of(label: str, values: pd.Series) -> int:
    """Digits behind the point for statistics of a label: none for temperatures."""
    return DIGITS.get(label, 0 if values.abs().median() > 100 else 2)


def labelled(pairs: pd.DataFrame, label: str) -> pd.DataFrame:
    """The pairs of one label with their `difference`, which for distances is relative."""
    table = pairs[pairs["label"] == label]
    difference = table["value"] - table["reference"]
    return table.assign(difference=difference / table["reference"] if label in DISTANCES else difference)


def pulls(pairs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Distribution of (value - truth) / error, and its mean and width by S/N.

    Parameters
    ----------
    pairs : pairs of the dataset `truth`
    table : pulls.csv
    """
    labels = [name for name in LABELS if len(pulls_of(pairs[pairs["label"] == name]))]
    if not labels:
        return message("No star has a label, an error and a true value.")
    x = np.linspace(-5, 5, 201)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(2, len(labels), figsize=(3.2 * len(labels), 5), squeeze=False)
        for label, (upper, lower) in zip(labels, grid.T, strict=True):
            values = pulls_of(pairs[pairs["label"] == label])
            upper.hist(
                np.clip(values, -5, 5), np.linspace(-5, 5, 41), density=True, color=ACCEPTED, alpha=0.8
            )
            upper.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="black", lw=1, label="unit normal")
            row = table[(table["label"] == label) & (table["subset"] == "all")]
            if len(row):
                upper.text(
                    0.03,
                    0.97,
                    f"n = {int(row['n'].iloc[0]):,}\nmean {row['mean'].iloc[0]:+.2f}\nwidth {row['width'].iloc[0]:.2f}",
                    transform=upper.transAxes,
                    va="top",
                    fontsize=8,
                )
            upper.set(title=TITLES[label], xlabel="(value - truth) / error", yticks=[])
            pulls_by_snr(lower, table[table["label"] == label])
        grid[0, -1].legend(loc="upper right")
        grid[1, -1].legend(loc="upper right")
        grid[1, 0].set_ylabel("pull")
    return figure


def pulls_by_snr(axes: Axes, table: pd.DataFrame, prefix: str = "") -> None:
    """Mean and width of a label's pulls by S/N, of the subsets of pulls.csv whose names have the prefix."""
    names = list(snr_bins())
    rows = table.set_index("subset").reindex([prefix + name for name in names])
    positions = np.arange(len(names))
    axes.axhline(1, color=GREY, lw=0.7)
    axes.axhline(0, color=GREY, lw=0.7)
    axes.plot(positions, rows["width"], marker="o", ms=4, color=ACCEPTED, label="width (1 is right)")
    axes.plot(positions, rows["mean"], marker="s", ms=3.5, color=REJECTED, label="mean (0 is right)")
    axes.set_xticks(positions, [name.removeprefix("S/N").strip() for name in names], rotation=30)
    axes.set_xlabel("S/N")
    axes.set_xlim(-0.4, len(names) - 0.6)
    finite = rows[["width", "mean"]].to_numpy(np.float64)
    top = np.nanmax(finite, initial=1.4)
    axes.set_ylim(min(-0.6, np.nanmin(finite, initial=0) - 0.2), top * 1.35)


def accounting(balance: Mapping[str, Any]) -> Figure:
    """What became of the input: accepted and rejected per type, and the reasons for rejections.

    `balance` is what `lamostvac.catalog.merge.accounting` returns.
    """
    reasons = sorted(balance["rejected"]["by_reason"].items(), key=lambda item: item[1])
    types = balance["types"]
    height = max(2.6, 0.34 * max(len(reasons), len(types)) + 1.2)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, height), width_ratios=[1, 1])
        names = list(types)[::-1]
        accepted = [types[name]["n_accepted"] for name in names]
        rejected = [types[name]["n_rejected"] for name in names]
        left.barh(names, accepted, color=ACCEPTED, label="accepted")
        left.barh(names, rejected, left=accepted, color=REJECTED, label="rejected")
        longest = max((a + r for a, r in zip(accepted, rejected, strict=True)), default=0) or 1
        for position, (a, r) in enumerate(zip(accepted, rejected, strict=True)):
            text = f" {a:,}" + (f" + {r:,}" if r else "")
            left.text(a + r, position, text, va="center", fontsize=8)
        left.set_xlim(0, longest * 1.3)
        left.set(xlabel="spectra", title="Spectra that the survey stage handed on")
        left.legend(loc="best")
        right.barh(range(len(reasons)), [count for _, count in reasons], color=REJECTED)
        largest = max((count for _, count in reasons), default=0) or 1
        for position, (_, count) in enumerate(reasons):
            right.text(count, position, f" {count:,}", va="center", fontsize=8)
        right.set_yticks(
            range(len(reasons)),
            [textwrap.fill(REASONS[name].split(" (")[0], 44) for name, _ in reasons],
            fontsize=7.5,
        )
        right.set_xlim(0, largest * 1.2)
        right.set(xlabel="spectra", title="Reasons for rejections (all stages)")
        if not reasons:
            right.axis("off")
            right.text(0.5, 0.5, "nothing was rejected", ha="center", transform=right.transAxes, color=GREY)
        figure.suptitle(
            f"{balance['n_in']:,} in = {balance['n_accepted']:,} accepted + {balance['n_rejected']:,} rejected",
            fontsize=11,
        )
    return figure
