"""Stars that are unlike their label, found by a first network (Wang+ 2022 section 3.3, Fig. 4).

An unresolved pair of stars is up to 0.75 mag brighter than its spectrum says. A network trained on all
stars shows which ones; they leave the training set before the final networks are trained. Unlike in the
paper, each star is judged by members that did not learn from it, because a network can learn single
stars by heart.
"""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lamostvac.network_training import NetworkTraining, TrainingSpectra, train_network

BINARY, CLIPPED = "binary", "clipped"


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
    """What becomes of the training stars.

    Parameters
    ----------
    magnitude : (n,) absolute magnitudes that the first network learns; NaN takes no part
    excepted : (n,) stars that are spared from sigma clipping (not from being called binary)
    settings : of the training; as many members as there are validation parts, so that every star is left
        out by one
    binary_magnitude : a star brighter than the network says by more than this is called a binary
    sigma : then stars farther than so many standard deviations from the median are clipped, once

    Returns
    -------
    (n,) `binary`, `clipped` or the empty text
    """
    parts = max(2, round(1 / settings.validation_fraction))
    _, left_out = train_network(
        "first network",
        magnitude,
        spectra,
        wave,
        pixels,
        replace(settings, members=parts),
        seed,
        log=log,
    )
    return judge(np.asarray(magnitude, np.float64) - left_out, excepted, binary_magnitude, sigma)


def judge(
    residual: NDArray[np.floating], excepted: NDArray[np.bool_], binary_magnitude: float, sigma: float
) -> NDArray[np.str_]:
    """`clip_training` for known residuals (n,), magnitude minus network; NaN is left alone."""
    verdict = np.full(len(residual), "", "U7")
    with np.errstate(invalid="ignore"):
        binary = residual < -binary_magnitude
        rest = residual[~binary & np.isfinite(residual)]
        if len(rest):
            far = np.abs(residual - np.median(rest)) > sigma * rest.std()
            verdict[far & ~excepted] = CLIPPED
    verdict[binary] = BINARY
    return verdict
