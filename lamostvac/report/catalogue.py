"""Figures of the catalogue itself."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from lamostvac.core.rejection import REASONS
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    MANY,
    REJECTED,
    STYLE,
    TITLES,
    TYPE_COLOURS,
    VIRIDIS,
    message,
    plain_log_axis,
    point_size,
    temperature_axis,
)
from lamostvac.spectra.grid import GRID
from lamostvac.validation.libraries import PUBLISHED_FGK, SUBCLASSES, curve


def kiel(
    teff: NDArray[np.floating],
    logg: NDArray[np.floating],
    feh: NDArray[np.floating],
    alpha_fe: NDArray[np.floating],
    whose: str,
) -> Figure:
    """Teff against log g by [Fe/H]; [Fe/H] against [alpha/Fe] (Liang et al. 2024, Figure 12).

    All (n,); stars without Teff or log g are left out. The second panel is drawn if there is
    [alpha/Fe]. `whose` labels they are stands in the title.
    """
    known = np.isfinite(teff) & np.isfinite(logg) & np.isfinite(feh) & (teff > 0)
    if not known.any():
        return message("No star has both effective temperature and surface gravity.")
    teff, logg, feh, alpha_fe = teff[known], logg[known], feh[known], alpha_fe[known]
    has_alpha = bool(np.isfinite(alpha_fe).any())
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, 1 + has_alpha, figsize=(5.6 + 4.6 * has_alpha, 4.6), squeeze=False
        )
        low, high = np.percentile(feh, [2, 98]) if len(feh) > 1 else (feh[0], feh[0])
        shade = Normalize(low, max(high, low + 0.1))
        left = axes[0, 0]
        mappable: Any
        if len(teff) < MANY:
            mappable = left.scatter(
                teff, logg, c=feh, s=point_size(len(teff)), norm=shade, cmap=VIRIDIS, linewidths=0
            )
        else:
            mappable = _mean_map(left, np.log10(teff), logg, feh, shade)
        left.set_xscale("log")
        temperature_axis(left, teff)
        left.invert_yaxis()
        left.set(
            xlabel=TITLES["teff"],
            ylabel=TITLES["logg"],
            title=f"{whose}, {len(teff):,} spectra",
        )
        figure.colorbar(
            mappable, ax=left, label="[Fe/H]" if len(teff) < MANY else "mean [Fe/H]", pad=0.02
        )
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
                xlabel=TITLES["feh"],
                ylabel=TITLES["alpha_fe"],
                title=f"Abundances, {both.sum():,} spectra",
            )
            if right.get_legend_handles_labels()[0]:
                right.legend(loc="upper right")
            figure.colorbar(counts, ax=right, label="spectra", pad=0.02)
    return figure


def _mean_map(
    axes: Axes,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    value: NDArray[np.floating],
    shade: Normalize,
) -> Any:
    """Mean of `value` in cells, more opaque with more stars; x is log10 of the axis."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=(180, 140))
    total, _, _ = np.histogram2d(x, y, bins=(x_edges, y_edges), weights=value)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(counts > 0, total / counts, np.nan)
    opacity = np.where(counts > 0, 0.25 + 0.75 * np.log1p(counts) / np.log1p(counts.max()), 0.0)
    colours = VIRIDIS(shade(np.nan_to_num(mean.T)))
    colours[..., 3] = opacity.T
    axes.pcolormesh(10**x_edges, y_edges, colours)
    return ScalarMappable(shade, VIRIDIS)


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

    Liang et al. draw the mean; the median is robust against the -9999 that releases write for a
    missing S/N.

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
        figure, grid = plt.subplots(
            lines, columns, figsize=(3.9 * columns, 2.9 * lines), squeeze=False
        )
        for axes in grid.flat[len(present) :]:
            axes.axis("off")
        for name, axes in zip(present, grid.flat, strict=False):
            stars = table[table["spectral_type"] == name]
            values, snr = stars["chi2"].to_numpy(np.float64), stars[snr_band].to_numpy(np.float64)
            low, high = np.percentile(values, [0.5, 99.5])
            edges = np.geomspace(
                low * 0.98,
                max(high, low * 1.05) * 1.02,
                int(np.clip(len(values) ** 0.5, 8, 50)) + 1,
            )
            axes.hist(
                np.clip(values, edges[0], edges[-1]), edges, color=TYPE_COLOURS[name], alpha=0.75
            )
            axes.set_xscale("log")
            plain_log_axis(axes.xaxis, edges[0], edges[-1])
            axes.set_title(f"{name}, {len(values):,} stars, median {np.median(values):.2f}")
            axes.set(xlabel=r"$\chi^2$", ylabel="stars")
            which = np.digitize(values, edges)
            middles = np.sqrt(edges[1:] * edges[:-1])
            members = [snr[which == number] for number in range(1, len(edges))]
            medians = np.array(
                [np.median(group) if len(group) > 2 else np.nan for group in members]
            )
            other = axes.twinx()
            other.plot(middles, medians, color="black", lw=1.2, marker=".", ms=3)
            other.axhline(thresholds[name], color="black", ls="--", lw=0.8)
            other.set_ylabel(f"median S/N ({snr_band[-1]})")
            other.set_ylim(0, None)
    return figure


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
            flux, model = (
                np.asarray(example["flux"], np.float64),
                np.asarray(example["model"], np.float64),
            )
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
                f"{example['spectral_type']}  {example['spectrum_id']}",
                loc="left",
                fontsize=8.5,
                pad=2,
            )
        grid[0, 0].legend(loc="upper right", ncols=2, borderaxespad=0.1)
        grid[-1, 0].set_xlabel("rest wavelength / A (vacuum); grey: not used by the fit")
        figure.align_ylabels()
    return figure


def most_anomalous(table: pd.DataFrame, snr_band: str, n: int = 4) -> list[str]:
    """The `n` spectra of most pixels unlike any star, then of largest chi2, as `spectrum_id`.

    `table` has `spectrum_id outlier_fraction chi2` and the S/N; only spectra of S/N above 20, whose
    anomalies are no noise, and one of each star, its best, if there is `best_spectrum`.
    """
    good = (table[snr_band] > 20) & np.isfinite(table["chi2"])
    if "best_spectrum" in table:
        good &= table["best_spectrum"] != 0
    order = ["outlier_fraction", "chi2", "spectrum_id"]
    worst = table[good].sort_values(order, ascending=[False, False, True], kind="stable")
    return [str(name) for name in worst["spectrum_id"].head(n)]


def anomalous(examples: Sequence[Mapping[str, Any]]) -> Figure:
    """Spectra that are unlike any star, as released and normalised (Liang et al. 2024, Figure 21).

    Parameters
    ----------
    examples : mappings with `title`; `wave`, `raw` (m,) as released, at rest, and `good` (m,) where
        there are data; `flux`, `model` (4901,) normalised, with `masked` (4901,) by the preparation
        and `left_out` (4901,) by the fit
    """
    if not examples:
        return message("No spectrum with S/N above 20 has labels of the emulator.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2 * len(examples), 1, figsize=(10, 2.7 * len(examples)), sharex=True, squeeze=False
        )
        for example, upper, lower in zip(examples, grid[::2, 0], grid[1::2, 0], strict=True):
            good = np.asarray(example["good"], bool)
            raw = np.where(good, np.asarray(example["raw"], np.float64), np.nan)
            low, high = (np.nanmin(raw), np.nanmax(raw)) if good.any() else (0.0, 1.0)
            upper.plot(example["wave"], (raw - low) / ((high - low) or 1.0), color=GREY, lw=0.5)
            upper.set(ylim=(-0.05, 1.05), ylabel="released,\n0 to 1")
            upper.set_title(example["title"], loc="left", fontsize=8.5, pad=2)
            flux = np.asarray(example["flux"], np.float64)
            masked, left_out = (np.asarray(example[name], bool) for name in ("masked", "left_out"))
            lower.plot(GRID, np.where(masked, np.nan, flux), color=ACCEPTED, lw=0.5, label="flux")
            lower.plot(GRID, example["model"], color="#d9480f", lw=0.7, label="model")
            lower.plot(
                GRID[left_out],
                flux[left_out],
                ".",
                ms=3,
                color="#c92a2a",
                label="left out by the fit",
            )
            shown = np.concatenate([flux[~masked], np.asarray(example["model"])])
            bottom, top = np.nanpercentile(shown, [0.1, 99.9])
            margin = 0.15 * max(top - bottom, 0.1)
            lower.set(ylim=(bottom - margin, top + margin), ylabel="normalised")
            lower.plot(
                GRID, np.where(masked, bottom - 0.6 * margin, np.nan), color="black", lw=3,
                solid_capstyle="butt", label="masked",
            )  # fmt: skip
            for axes in (upper, lower):
                axes.set_xlim(GRID[0], GRID[-1])
        grid[1, 0].legend(loc="upper right", ncols=4, borderaxespad=0.1)
        grid[-1, 0].set_xlabel("rest wavelength / A (vacuum)")
        figure.align_ylabels()
    return figure


def _shade_masked(axes: Axes, wave: NDArray[np.floating], used: NDArray[np.bool_]) -> None:
    change = np.flatnonzero(np.diff(np.concatenate([[True], used, [True]]).astype(int)))
    for start, stop in zip(change[::2], change[1::2], strict=True):
        axes.axvspan(wave[start] - 0.5, wave[stop - 1] + 0.5, color="#dee2e6", lw=0)


LIBRARY_COLOURS = ("#3d7ea6", "#d9674f", "#63b598", "#9c6ade", "#e0b020", "#495057")


def libraries(table: pd.DataFrame) -> Figure:
    """Dispersion of cross-validation errors by subclass and library (Liang et al. 2024, Figure 7).

    `table` is what `lamostvac.validation.libraries.compare_libraries` returns. Subclasses without a
    point in any panel are left out.
    """
    names = list(dict.fromkeys(table["library"]))
    labels = list(dict.fromkeys(table["label"]))
    drawn = [
        subclass
        for i, subclass in enumerate(SUBCLASSES)
        if any(
            np.isfinite(curve(table, name, label, "sigma")[i]) for name in names for label in labels
        )
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
                    axes.plot(
                        x, y, style, color=colour, ms=4, label=name if style == "o-" else None
                    )
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


def accounting(balance: Mapping[str, Any]) -> Figure:
    """Balance of the input: accepted and rejected per type, and the reasons for rejections.

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
            right.text(
                0.5, 0.5, "nothing was rejected", ha="center", transform=right.transAxes, color=GREY
            )
        figure.suptitle(
            f"{balance['n_in']:,} in = {balance['n_accepted']:,} accepted + {balance['n_rejected']:,} rejected",
            fontsize=11,
        )
    return figure
