"""Stars that are unlike their label, found by a first network (Wang+ 2022 section 3.3, Fig. 4).

An unresolved pair of stars is up to 0.75 mag brighter than its spectrum says. A network trained on
all stars shows which ones; they are removed from the training set before the final networks are
trained. As in the paper, each star is judged by networks that were trained on it. Networks that
were not would, in a small set, be wrong by magnitudes for rare kinds (giants), and all of these
would be removed.
"""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.expressions import Expression
from lamostvac.networks.inputs import TrainingSpectra
from lamostvac.networks.settings import NetworkTraining
from lamostvac.networks.train import train_network

BINARY, CLIPPED = "binary", "clipped"
# Two equal stars are brighter than one by 2.5 log10(2).
EQUAL_PAIR = 0.753


def clip_training(
    magnitude: NDArray[np.floating],
    excepted: NDArray[np.bool_],
    spectra: TrainingSpectra,
    wave: NDArray[np.float64],
    pixels: NDArray[np.bool_],
    settings: NetworkTraining,
    seed: int,
    binary_magnitude: float,
    sigma: float,
    log: logging.Logger | None = None,
) -> NDArray[np.str_]:
    """Which training stars are removed, and why.

    Parameters
    ----------
    magnitude : (n,) absolute magnitudes that the first network learns; NaN is ignored
    excepted : (n,) stars that are exempt from sigma clipping (but may be called binary)
    settings : of the training
    binary_magnitude : a star is called a binary when it is brighter than the network says by more
        than this, but by no more than a pair of equal stars can be plus three times the scatter
    sigma : then stars more than this many standard deviations from the median are clipped, once

    Returns
    -------
    (n,) `binary`, `clipped` or the empty text
    """
    network, _ = train_network(
        "first network", magnitude, spectra, wave, pixels, settings, seed, log=log
    )
    scaled, _ = network.standardise(spectra.flux, spectra.ivar)
    residual = np.asarray(magnitude, np.float64) - network.members(scaled).mean(axis=0)
    return judge(residual, excepted, binary_magnitude, sigma)


def judge(
    residual: NDArray[np.floating],
    excepted: NDArray[np.bool_],
    binary_magnitude: float,
    sigma: float,
) -> NDArray[np.str_]:
    """`clip_training` for known residuals (n,), magnitude minus network; NaN is left alone."""
    verdict = np.full(len(residual), "", "U7")
    with np.errstate(invalid="ignore"):
        known = residual[np.isfinite(residual)]
        scatter = 1.4826 * np.median(np.abs(known - np.median(known))) if len(known) else 0.0
        binary = (residual < -binary_magnitude) & (residual > -EQUAL_PAIR - 3 * scatter)
        rest = residual[~binary & np.isfinite(residual)]
        if len(rest):
            far = np.abs(residual - np.median(rest)) > sigma * rest.std()
            verdict[far & ~excepted] = CLIPPED
    verdict[binary] = BINARY
    return verdict


def without_clipped(
    table: pd.DataFrame,
    label: str,
    spared: Expression | None,
    flux: NDArray[np.float32],
    ivar: NDArray[np.float32],
    wave: NDArray[np.float64],
    pixels: NDArray[np.bool_],
    settings: NetworkTraining,
    seed: int,
    binary_magnitude: float,
    sigma: float,
    log: logging.Logger,
) -> pd.DataFrame:
    """A training set with `split` = `binary` or `clipped` for training stars unlike their label.

    Parameters
    ----------
    table : the set (n rows), with `split star snr` and the label
    label : absolute magnitudes that the first network learns
    spared : condition on the columns; spectra that fulfil it are exempt from sigma clipping
    flux, ivar : (n, n_pixels)
    wave, pixels, settings, seed, binary_magnitude, sigma : as of `clip_training`
    """
    rows = np.flatnonzero(table["split"] == "train")
    train = table.iloc[rows]
    spectra = TrainingSpectra(
        flux[rows], ivar[rows], train["star"].to_numpy(), train["snr"].to_numpy(np.float32)
    )
    excepted = np.zeros(len(rows), bool) if spared is None else spared.holds(train)
    verdict = clip_training(
        train[label].to_numpy(np.float64), excepted, spectra, wave, pixels, settings, seed,
        binary_magnitude, sigma, log=log,
    )  # fmt: skip
    split = table["split"].to_numpy(dtype=object, copy=True)
    split[rows] = np.where(verdict == "", "train", verdict)
    return table.assign(split=split)
