"""The papers' own figures: repeats, HR diagrams, positions, distances, flags."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lamostvac.report.density import DENSE, axis_limits, density, quartiles
from lamostvac.report.panels import Page, Panel, Scale, scale_of
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    TYPE_COLOURS,
    message,
    plain_log_axis,
    point_size,
    temperature_axis,
    title_of,
)
from lamostvac.uncertainty.repeats import RepeatPairs
from lamostvac.uncertainty.snr_curve import bin_residuals

# Blue band, red band and magnitude of each survey's diagram (Wang et al. 2022, Figure 3).
DIAGRAMS = (
    ("Gaia", "bp", "rp", "g_gaia"),
    ("2MASS", "j", "ks", "ks"),
    ("WISE", "w1", "w2", "w1"),
    ("APASS", "b_apass", "v_apass", "v_apass"),
    ("SDSS", "g_sdss", "i_sdss", "r_sdss"),
)
_BANDS = {
    "g_gaia": "G", "bp": "BP", "rp": "RP", "j": "J", "ks": "Ks", "w1": "W1", "w2": "W2", "b_apass": "B",
    "v_apass": "V", "g_sdss": "g", "r_sdss": "r", "i_sdss": "i",
}  # fmt: skip


def hr_diagrams(table: pd.DataFrame) -> Figure:
    """Absolute magnitude against intrinsic colour from networks, for each survey, by Teff.

    `table` has `abs_mag_{band}` and `flag_abs_mag_{band}` for some bands, and `teff_rec`; flagged
    magnitudes, which are outside the networks' training range, are left out.
    """
    panels = []
    for survey, blue, red, band in DIAGRAMS:
        columns = [f"abs_mag_{name}" for name in (blue, red, band)]
        if all(name in table for name in columns):
            known = np.isfinite(table[columns]).all(axis=1) & np.isfinite(table["teff_rec"])
            known &= (table[[f"flag_{name}" for name in columns]] == 0).all(axis=1)
            if known.sum() > 1:
                panels.append((survey, blue, red, band, table[known]))
    if not panels:
        return message("No network of this run gives absolute magnitudes.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            1, len(panels), figsize=(3.1 * len(panels) + 0.8, 4.2), squeeze=False
        )
        mappable = None
        for axes, (survey, blue, red, band, stars) in zip(grid[0], panels, strict=True):
            colour = (stars[f"abs_mag_{blue}"] - stars[f"abs_mag_{red}"]).to_numpy(np.float64)
            magnitude = stars[f"abs_mag_{band}"].to_numpy(np.float64)
            x, y = axis_limits(colour), axis_limits(magnitude)
            inside = (colour > x[0]) & (colour < x[1]) & (magnitude > y[0]) & (magnitude < y[1])
            teff = stars["teff_rec"].to_numpy(np.float64)
            shade = LogNorm(3500, 12000)
            if inside.sum() > DENSE:
                mappable = axes.hexbin(
                    colour[inside],
                    magnitude[inside],
                    C=teff[inside],
                    reduce_C_function=np.median,
                    gridsize=70,
                    norm=shade,
                    cmap="RdYlBu",
                    linewidths=0,
                )
            else:
                mappable = axes.scatter(
                    colour,
                    magnitude,
                    c=teff,
                    s=point_size(len(colour)),
                    norm=shade,
                    cmap="RdYlBu",
                    lw=0,
                )
            axes.set(xlim=x, ylim=y[::-1], facecolor="#e9ecef")
            axes.set(
                xlabel=f"({_BANDS[blue]} - {_BANDS[red]})$_0$",
                ylabel=f"$M_{{{_BANDS[band]}}}$",
                title=f"{survey}, {len(colour):,}",
            )
        if mappable is not None:
            bar = figure.colorbar(mappable, ax=list(grid[0]), label=r"$T_{\rm eff}$ / K", pad=0.01)
            plain_log_axis(bar.ax.yaxis, 3500, 12000)
            bar.ax.set_yticks([4000, 5000, 6000, 8000, 10000])
    return figure


def positions(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any], sun: float) -> Figure:
    """Number density in the Galaxy's planes (Wang et al. 2022, Figure 24).

    x, y, z (n,) kpc, Galactocentric; `sun` is the Sun's distance from the centre, at x = -sun.
    """
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    if known.sum() < 2:
        return message("No star has a distance.")
    x, y, z = x[known], y[known], z[known]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(10.5, 4.4))
        low, high = axis_limits(x, 0.5, 99.5)
        for axes, other, name in zip(panels, (y, z), ("Y", "Z"), strict=True):
            bottom, top = axis_limits(other, 0.5, 99.5)
            # Both axes have one scale; otherwise the plane would look thick.
            half = 0.5 * max(high - low, top - bottom)
            limits = (
                0.5 * (low + high) - half,
                0.5 * (low + high) + half,
                0.5 * (bottom + top) - half,
                0.5 * (bottom + top) + half,
            )
            mappable = density(axes, x, other, limits)
            axes.plot(
                [-sun], [0], marker="*", ms=11, color="#1864ab", mec="white", mew=0.6, label="Sun"
            )
            if limits[0] < 0 < limits[1]:
                axes.plot([0], [0], marker="+", ms=10, color="#c92a2a", label="Galactic centre")
            axes.set(
                xlim=limits[:2],
                ylim=limits[2:],
                aspect="equal",
                xlabel="X / kpc",
                ylabel=f"{name} / kpc",
            )
            axes.legend(loc="upper right", frameon=True, framealpha=0.8)
            if mappable is not None:
                figure.colorbar(mappable, ax=axes, label="stars", pad=0.02)
        figure.suptitle(f"Positions of {len(x):,} spectra")
    return figure


def distances(table: pd.DataFrame) -> Figure:
    """Gaia's geometric over our distance, against the latter (Wang et al. 2022, Figure 23).

    `table` has `dist`, `dist_ks` (kpc), `r_geo` (pc), `parallax`, `parallax_err`. The abscissa is
    our distance D, as in the paper. A star whose D is too large moves right and down, so any
    scatter makes the line fall with D. The stars with good parallaxes show how much of the slope is
    due to that.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        gaia = (table["r_geo"] / 1000).to_numpy(np.float64)
        good = (table["parallax"] / table["parallax_err"]).to_numpy(np.float64) > 10
    panels = [
        (name, title)
        for name, title in (("dist", "all bands"), ("dist_ks", "Ks alone"))
        if (np.isfinite(table[name]) & np.isfinite(gaia)).sum() > 1
    ]
    if not panels:
        return message("No star has both a spectro-photometric and a geometric distance.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            1, len(panels), figsize=(5.4 * len(panels), 4.0), squeeze=False, sharey=True
        )
        for axes, (name, title) in zip(grid[0], panels, strict=True):
            ours = table[name].to_numpy(np.float64)
            known = np.isfinite(ours) & np.isfinite(gaia) & (ours > 0)
            d, difference = ours[known], gaia[known] / ours[known] - 1
            limits = (np.log10(np.percentile(d, 0.5)), np.log10(np.percentile(d, 99.5)), -1.0, 1.0)
            mappable = density(axes, np.log10(d), difference, limits)
            axes.axhline(0, color="black", lw=0.8)
            axes.axvline(np.log10(2), color=GREY, lw=0.8, ls=":")
            for chosen, colour, label in (
                (np.ones(len(d), bool), ACCEPTED, "median, quartiles"),
                (good[known], REJECTED, "parallax S/N > 10"),
            ):
                lines = quartiles(np.log10(d[chosen]), difference[chosen])
                if len(lines):
                    axes.plot(lines[:, 0], lines[:, 2], color="white", lw=3.5)
                    axes.plot(lines[:, 0], lines[:, 2], color=colour, lw=1.8, label=label)
                    for column in (1, 3):
                        axes.plot(lines[:, 0], lines[:, column], color=colour, lw=0.8, ls="--")
            ticks = [
                t
                for t in (0.01, 0.03, 0.1, 0.3, 1, 2, 5, 10, 20, 50)
                if limits[0] <= np.log10(t) <= limits[1]
            ]
            axes.set_xticks(np.log10(ticks), [f"{t:g}" for t in ticks])
            axes.set(
                xlim=limits[:2],
                ylim=(-1, 1),
                xlabel="spectro-photometric distance D / kpc",
                title=title,
            )
            axes.legend(loc="upper left", frameon=True, framealpha=0.8)
            if mappable is not None:
                figure.colorbar(mappable, ax=axes, label="stars", pad=0.02)
        grid[0, 0].set_ylabel("(Gaia - D) / D")
    return figure


def repeats(
    pairs: Mapping[str, RepeatPairs],
    values: Mapping[str, NDArray[Any]],
    stated: Mapping[str, NDArray[Any]],
    curves: pd.DataFrame,
) -> Figure:
    """Repeats' differences over sqrt 2 against S/N, and curve (Wang et al. 2022, Figures 4 and 5).

    Parameters
    ----------
    pairs : label to its system's pairs of the catalogue's rows
    values, stated : label to values and to the stated random errors (n,)
    curves : `label a b c scale` of equation 2, with or without a row for a label
    """
    shown = {}
    for name, value in values.items():
        residual = pairs[name].residual(value)
        if np.isfinite(residual).sum() >= 20:
            shown[name] = residual
    if not shown:
        return message("Too few stars were observed twice with like S/N to show random errors.")
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    page, with_curve = Page(3.2 * columns + 0.2, 2.6 * lines + 0.6), False
    for number, (name, residual) in enumerate(shown.items()):
        line, column = divmod(number, columns)
        panel = page.panel(0.75 + 3.2 * column, 2.6 * (lines - 1 - line) + 0.5, 2.6, 2.1)
        own_pairs = pairs[name]
        own = 0.5 * (stated[name][own_pairs.earlier] + stated[name][own_pairs.later])
        with_curve |= _repeats_panel(
            panel, own_pairs, residual, own, curves[curves["label"] == name]
        )
        panel.note(0.5, 1.03, title_of(name), fontsize=10, ha="center", va="bottom")
        if number >= len(shown) - columns:
            panel.note(0.5, -0.17, "S/N", fontsize=9, ha="center", va="top")
        if column == 0:
            page.text(
                0.08, panel.bottom + 1.05, r"|difference| / $\sqrt{2}$",
                fontsize=9, rotation=90, va="center",
            )  # fmt: skip
    numbers = " and ".join(f"{n:,}" for n in dict.fromkeys(len(pairs[name]) for name in shown))
    page.title(f"Random errors: {numbers} pairs of spectra of one star")
    handles = [
        Line2D([], [], color=ACCEPTED, marker="o", ms=4, label="repeats"),
        Line2D([], [], color=REJECTED, lw=1.4, label="stated"),
    ]
    if with_curve:
        handles.append(Line2D([], [], color="black", lw=1.2, label=r"$a + c / {\rm S/N}^b$"))
    page.axes.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(3.35, 2.6 * lines), borderaxespad=0,
        bbox_transform=page.axes.transData, fontsize=8, frameon=False,
    )  # fmt: skip
    return page.finish()


def _repeats_panel(
    panel: Panel,
    pairs: RepeatPairs,
    residual: NDArray[Any],
    stated: NDArray[Any],
    curve: pd.DataFrame,
) -> bool:
    """A label's residuals of pairs, their scatter in bins, the stated errors (n,) and the curve;
    whether there is a curve.
    """
    known = np.isfinite(residual)
    snr, size = pairs.snr[known], np.abs(residual[known])
    bins = bin_residuals(pairs.snr, residual, pairs.weight, bins=12, smallest=10.0)
    top = max(np.percentile(size, 95), np.max(bins.sigma, initial=0) * 1.3) or 1.0
    panel.x, panel.y = scale_of(snr, log=True), Scale(0.0, float(top))
    panel.points(snr, size, s=point_size(4 * len(snr)), color="#ced4da", linewidths=0, zorder=1)
    panel.bars(bins.snr, bins.sigma - bins.error, bins.sigma + bins.error, ACCEPTED, 1.5, 2)
    panel.points(bins.snr, bins.sigma, s=16, color=ACCEPTED, zorder=3)
    usable = np.isfinite(stated)
    lines = quartiles(np.log(pairs.snr[usable]), stated[usable])
    if len(lines):
        panel.line(np.exp(lines[:, 0]), lines[:, 2], REJECTED, 1.4)
    known_curve = len(curve) > 0 and np.isfinite(curve[["a", "b", "c"]].to_numpy(np.float64)).all()
    if known_curve:
        a, b, c, scale = (float(curve[key].iloc[0]) for key in ("a", "b", "c", "scale"))
        x = np.geomspace(max(snr.min(), 1), snr.max(), 60)
        panel.line(x, scale * (a + c / x**b), "black", 1.2)
    panel.frame()
    return bool(known_curve)


def flags(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Share of spectra with each flag by type, and the flags in the Kiel diagram.

    `table` has `spectral_type`, `teff`, `logg` and the columns `names`. flag_alpha_fe, which all
    hot stars have, is not in the diagram.
    """
    types = [name for name in TYPE_COLOURS if (table["spectral_type"] == name).any()]
    if not types:
        return message("The catalogue has no row.")
    share = np.array(
        [
            [
                100 * table.loc[table["spectral_type"] == kind, name].astype(bool).mean()
                for kind in types
            ]
            for name in names
        ]
    )
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(11.5, max(3.8, 0.36 * len(names) + 1.4))
        )
        left.imshow(share, cmap="OrRd", vmin=0, vmax=max(30.0, float(share.max())), aspect="auto")
        for i in range(len(names)):
            for j in range(len(types)):
                dark = share[i, j] > 0.6 * max(30.0, float(share.max()))
                text = f"{share[i, j]:.0f}" if share[i, j] >= 9.95 else f"{share[i, j]:.1f}"
                left.text(
                    j,
                    i,
                    text,
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if dark else "black",
                )
        counts = [int((table["spectral_type"] == kind).sum()) for kind in types]
        left.set_xticks(
            range(len(types)), [f"{kind}\n{n:,}" for kind, n in zip(types, counts, strict=True)]
        )
        left.set_yticks(range(len(names)), [name.removeprefix("flag_") for name in names])
        left.set_title("Per cent of spectra with a flag")
        left.tick_params(length=0)
        teff, logg = table["teff"].to_numpy(np.float64), table["logg"].to_numpy(np.float64)
        known = np.isfinite(teff) & np.isfinite(logg) & (teff > 0)
        if known.sum() > 1:
            others = [name for name in names if name != "flag_alpha_fe"]
            flagged = (table.loc[known, others] != 0).any(axis=1).to_numpy(np.float64)
            mappable = right.hexbin(
                teff[known],
                logg[known],
                C=100 * flagged,
                xscale="log",
                gridsize=40,
                mincnt=1,
                cmap="OrRd",
                vmin=0,
                vmax=100,
                linewidths=0.1,
                edgecolors="#dee2e6",
            )
            temperature_axis(right, teff[known])
            right.invert_yaxis()
            right.set(
                xlabel=r"$T_{\rm eff}$ / K",
                ylabel=r"$\log\,g$",
                title="Per cent with any flag but alpha_fe",
            )
            figure.colorbar(mappable, ax=right, pad=0.02)
        else:
            right.axis("off")
    return figure
