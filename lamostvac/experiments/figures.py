"""The figures of the experiments of this package, each after one of Liang+ 2024 (L24)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamostvac.experiments.flux import FLUX_BINS
from lamostvac.experiments.pools import TEFF_BINS
from lamostvac.experiments.reproduction import ENOUGH
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    TITLES,
    TYPE_COLOURS,
    message,
    plain_log_axis,
    point_size,
    temperature_axis,
)

_LABELS = {**TITLES, "teff": r"$T_{\rm eff}$"}
_UNITS = {"teff": "K"}
_TEFF = r"$T_{\rm eff}$"
_BIN_TITLES = (
    rf"{_TEFF} < 4000 K",
    rf"4000 $\leq$ {_TEFF} < 6000 K",
    rf"6000 $\leq$ {_TEFF} < 10,000 K",
    rf"{_TEFF} $\geq$ 10,000 K",
)
_GROUPINGS = {"prior": REJECTED, "random": ACCEPTED, "any type": GREY}


def prior_counts(
    teff: NDArray[np.floating], counts: NDArray[np.integer], table: pd.DataFrame
) -> Figure:
    """Library stars within the prior intervals of each library star against Teff (L24 Figure 2).

    Parameters
    ----------
    teff, counts : (N,)
    table : of `experiments.prior_counts_table`
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        axes.scatter(teff, counts, s=point_size(len(teff)), color=ACCEPTED, linewidths=0, alpha=0.6)
        axes.axhline(ENOUGH, color=REJECTED, lw=1.0, ls="--")
        axes.axvline(10_000, color=GREY, lw=0.8, ls=":")
        axes.set(
            xscale="log",
            yscale="log",
            xlabel=TITLES["teff"],
            ylabel="library stars in the intervals",
        )
        temperature_axis(axes, teff)
        low, high = 0.8, float(counts.max()) * 1.6
        axes.set_ylim(low, high)
        plain_log_axis(axes.yaxis, low, high)
        subsets = table.set_index("subset")[["n", "above"]].to_numpy(np.float64)
        everyone, hottest = subsets[0], subsets[-1]
        lines = [f"more than {ENOUGH}: {100 * everyone[1]:.2f} % of {everyone[0]:,.0f} stars"]
        if hottest[0]:
            lines.append(f"from 10,000 K on: {100 * hottest[1]:.1f} % of {hottest[0]:,.0f}")
        axes.set_title("\n".join(lines), fontsize=9, loc="left")
    return figure


def bounds(table: pd.DataFrame) -> Figure:
    """Bounds of d_1 against the number of candidates (L24 Figure 3); `table` is of
    `experiments.bounds_table`.

    Thin lines are single group sizes, thick ones the median over them.
    """
    if table.empty:
        return message("There are no stars or no usable number of candidates.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(2, 2, figsize=(9.5, 6.2), sharex=True)
        forms = (
            ("published", r"$\Theta$ as it is (labels = $dQ$)"),
            ("centred", r"$\Theta$ less its mean"),
        )
        for column, (form, title) in enumerate(forms):
            part = table[table["form"] == form]
            for row, (bound, name) in enumerate((("low", "lower"), ("high", "upper"))):
                axes = grid[row, column]
                for spectral_type, mine in part.groupby("spectral_type", sort=False):
                    colour = TYPE_COLOURS[str(spectral_type)]
                    for _, line in mine.groupby("n_group"):
                        axes.plot(line["matches"], line[bound], color=colour, lw=0.5, alpha=0.5)
                    middle = mine.groupby("matches")[bound].median()
                    axes.plot(
                        middle.index, middle, color=colour, lw=1.8, marker=".", label=spectral_type
                    )
                axes.axvline(ENOUGH, color=GREY, lw=0.8, ls=":")
                _candidates_axis(axes, table)
                axes.set_ylabel(rf"{name} bound of $d_1\,/\,\sqrt{{N_{{\rm group}}}}$ / K")
            grid[0, column].set_title(title)
            grid[1, column].set_xlabel("candidates $t$")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _candidates_axis(axes: Axes, table: pd.DataFrame) -> None:
    low, high = table["matches"].min() / 1.15, table["matches"].max() * 1.15
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    plain_log_axis(axes.xaxis, low, high)


def group_size(table: pd.DataFrame, n_survey: int) -> Figure:
    """Time and dispersion of Teff against group size (L24 Figure 4).

    Parameters
    ----------
    table : of `experiments.group_size_table`, all samples
    n_survey : number of spectra for which the time is given
    """
    samples = list(dict.fromkeys(table["sample"]))
    titles = {
        "library, in sample": "library, in sample:\npredicted - library",
        "library, held out": "library, held out:\npredicted - library",
        "survey": "survey:\ngrouped - alone",
    }
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2,
            len(samples),
            figsize=(3.6 * len(samples), 6.0),
            sharex=True,
            sharey="row",
            squeeze=False,
        )
        low, high = 0.8, float(table["size"].max()) * 1.25
        for column, sample in enumerate(samples):
            part = table[table["sample"] == sample]
            upper, lower = grid[:, column]
            for spectral_type, mine in part.groupby("spectral_type", sort=False):
                colour = TYPE_COLOURS[str(spectral_type)]
                hours = mine["seconds_per_1000"] * n_survey / 3.6e6
                upper.plot(mine["size"], hours, color=colour, marker=".", label=spectral_type)
                # A logarithmic axis has no place for 0, which is a star compared with itself.
                shown = mine["sigma"] > 0
                lower.plot(mine["size"][shown], mine["sigma"][shown], color=colour, marker=".")
                lower.plot(
                    mine["size"][shown],
                    mine["robust_sigma"][shown],
                    color=colour,
                    lw=0.8,
                    ls="--",
                    alpha=0.7,
                )
            for axes in (upper, lower):
                axes.set(xscale="log", yscale="log")
                axes.set_xlim(low, high)
                plain_log_axis(axes.xaxis, low, high)
            upper.set_title(titles.get(sample, sample))
            lower.set_xlabel(r"stars in a group, $N_{\rm group}$")
        for axes in grid[:, 0]:
            plain_log_axis(axes.yaxis, *axes.get_ylim())
        grid[0, 0].set_ylabel(f"processor hours for {n_survey / 1e6:.1f} million spectra")
        grid[1, 0].set_ylabel(rf"dispersion of $\Delta$ {_TEFF} / K" + "\n(dashed: robust)")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center")
    return figure


def examples(wave: NDArray[np.floating], stars: Sequence[Mapping[str, Any]]) -> Figure:
    """Emulated spectra of library stars with the emulator's uncertainty (L24 Figure 5).

    Parameters
    ----------
    wave : (p,) A
    stars : mappings with `title`, `flux` (NaN where masked), `in_sample`, `held_out` and `sigma`
        (p,)
    """
    if not stars:
        return message("The library has no star.")
    # Lines must not be drawn across masked pixels.
    gap = np.flatnonzero(np.diff(wave) > 1.5) + 1

    def broken(values: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.insert(np.asarray(values, dtype=float), gap, np.nan)

    x = np.insert(wave.astype(float), gap, wave[gap - 1] + 0.5)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2 * len(stars),
            1,
            figsize=(10, 2.7 * len(stars)),
            sharex=True,
            height_ratios=[3, 1.3] * len(stars),
        )
        for number, star in enumerate(stars):
            upper, lower = grid[2 * number], grid[2 * number + 1]
            model, sigma = broken(star["held_out"]), broken(star["sigma"])
            upper.fill_between(
                x,
                model - sigma,
                model + sigma,
                color="#ffd43b",
                alpha=0.6,
                lw=0,
                label=r"$\pm1\sigma$",
            )
            upper.plot(x, broken(star["flux"]), color="black", lw=0.5, label="library")
            upper.plot(x, model, color=REJECTED, lw=0.7, label="emulated, star held out")
            upper.set_title(star["title"], fontsize=9, loc="left")
            upper.set_ylabel("flux")
            shown = np.concatenate([star["flux"], star["held_out"]])
            shown = shown[np.isfinite(shown)]
            upper.set_ylim(
                max(np.percentile(shown, 0.05) - 0.1, -0.05), np.percentile(shown, 99.9) + 0.1
            )
            lower.fill_between(x, -sigma, sigma, color="#ffd43b", alpha=0.6, lw=0)
            difference = broken(star["held_out"] - star["flux"])
            lower.plot(x, difference, color=REJECTED, lw=0.5, label="held out")
            lower.plot(
                x,
                broken(star["in_sample"] - star["flux"]),
                color=ACCEPTED,
                lw=0.5,
                label="in sample",
            )
            lower.axhline(0, color="black", lw=0.5)
            limit = max(1.3 * float(np.nanpercentile(np.abs(difference), 99.5)), 0.02)
            lower.set_ylim(-limit, limit)
            lower.set_ylabel("emulated\n- library")
        handles, names = grid[0].get_legend_handles_labels()
        more = [pair for pair in zip(*grid[1].get_legend_handles_labels(), strict=True)][1:]
        figure.legend(
            [*handles, *(handle for handle, _ in more)],
            [*names, *(f"difference, {name}" for _, name in more)],
            loc="outside upper right",
            ncols=4,
        )
        figure.align_ylabels()
        grid[-1].set_xlabel(r"rest wavelength / $\rm\AA$")
        grid[-1].set_xlim(wave[0], wave[-1])
    return figure


def reproduction(counts: Mapping[str, NDArray[np.integer]], table: pd.DataFrame) -> Figure:
    """Emulated against library flux, all pixels, in bins of Teff (L24 Figure 6).

    Parameters
    ----------
    counts : sample -> (4, b, b) of `experiments.FluxComparison`
    table : rows of `FluxComparison.table`
    """
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(counts),
            4,
            figsize=(12, 2.75 * len(counts) + 0.5),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        shade = LogNorm(1, max(int(values.max()) for values in counts.values()) or 1)
        image: Any = None
        for line, (sample, values) in enumerate(counts.items()):
            for column, name in enumerate(TEFF_BINS):
                axes = grid[line, column]
                image = axes.pcolormesh(
                    FLUX_BINS,
                    FLUX_BINS,
                    np.ma.masked_equal(values[column].T, 0),
                    norm=shade,
                    cmap="viridis",
                    rasterized=True,
                )
                axes.plot([0, 2], [0, 2], color="black", lw=0.6, ls="--")
                axes.set(xlim=(0, 2), ylim=(0, 2), aspect="equal")
                mine = table[(table["sample"] == sample) & (table["teff_bin"] == name)]
                if len(mine):
                    row = mine.iloc[0]
                    # Adding 0 turns -0 into 0.
                    mean = round(float(row["mean"]), 4) + 0.0
                    text = f"{row['n_spectra']:,} spectra\n$\\mu$ = {mean:.4f}\n$\\sigma$ = {row['sigma']:.3f}"
                    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=8)
                if line == 0:
                    axes.set_title(_BIN_TITLES[column])
                if line == len(counts) - 1:
                    axes.set_xlabel("library flux")
            grid[line, 0].set_ylabel(f"emulated flux, {sample}")
        figure.colorbar(image, ax=grid, label="pixels", pad=0.01, shrink=0.8)
    return figure


def grouping(
    errors: Mapping[tuple[str, str], NDArray[np.floating]], names: Sequence[str]
) -> Figure:
    """Standard deviation of the reproduction error for three ways of grouping (L24 Figure 8).

    Parameters
    ----------
    errors : (pool, grouping) -> (columns, L), of `experiments.grouping_errors`
    names : the L labels
    """
    pools = list(dict.fromkeys(pool for pool, _ in errors))
    if not pools:
        return message("There are no stars to group.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(pools),
            len(names),
            figsize=(2.9 * len(names) + 0.4, 2.0 * len(pools) + 0.6),
            squeeze=False,
        )
        for line, pool in enumerate(pools):
            for column, name in enumerate(names):
                axes = grid[line, column]
                mine = {g: errors[pool, g][:, column] for g in _GROUPINGS if (pool, g) in errors}
                top = max(float(np.percentile(values, 99)) for values in mine.values())
                edges = np.linspace(0.0, top or 1.0, 50)
                for grouping_name, values in mine.items():
                    # Values beyond the axis are counted in its last bin, so that areas remain
                    # comparable.
                    axes.hist(
                        np.minimum(values, edges[-1]),
                        edges,
                        density=True,
                        histtype="step",
                        color=_GROUPINGS[grouping_name],
                        label=grouping_name,
                        lw=1.2,
                    )
                    axes.axvline(
                        np.median(values), color=_GROUPINGS[grouping_name], lw=0.8, ls="--"
                    )
                axes.set_yticks([])
                axes.set_xlim(0, edges[-1])
                if line == 0:
                    axes.set_title(_LABELS[name])
                if line == len(pools) - 1:
                    axes.set_xlabel(f"standard deviation / {_UNITS.get(name, 'dex')}")
            grid[line, 0].set_ylabel(pool)
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(),
            loc="outside upper right",
            ncols=3,
            title="stars grouped by (dashed: median)",
        )
    return figure


def matches(table: pd.DataFrame) -> Figure:
    """Median absolute reproduction error of Teff against t (L24 Figure 9), from `matches_table`."""
    pools = [pool for pool in ("OB", "A", "FGK", "M") if (table["pool"] == pool).any()]
    if not pools:
        return message("There are no stars or no usable number of candidates.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(2, 2, figsize=(9, 6), sharex=True)
        for axes in grid.flat[len(pools) :]:
            axes.axis("off")
        for axes, pool in zip(grid.flat, pools, strict=False):
            mine = table[table["pool"] == pool]
            t = mine["matches"]
            axes.fill_between(
                t, mine["q05"], mine["q95"], color=ACCEPTED, alpha=0.2, lw=0, label="middle 90 %"
            )
            axes.fill_between(
                t, mine["q25"], mine["q75"], color=ACCEPTED, alpha=0.4, lw=0, label="middle 50 %"
            )
            axes.plot(t, mine["q50"], color="black", marker=".", label="median")
            axes.axvline(ENOUGH, color=GREY, lw=0.8, ls=":")
            axes.set_title(pool)
            axes.set_ylim(0, None)
            _candidates_axis(axes, table)
            axes.tick_params(labelbottom=True)
        for axes in grid.flat[: len(pools)]:
            axes.set_xlabel("candidates $t$")
        figure.supylabel(rf"median absolute reproduction error of {_TEFF} / K", fontsize=9)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure
