"""Length scale, amplitude and noise of the Gaussian process by leave-one-out cross-validation.

Rasmussen & Williams (2006), section 5.4.2: leaving one star out has a closed form, so that each
setting costs one factorisation. The criterion is the joint probability of all left-out components;
the rms is given as well.
"""

import logging
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.numerics.gaussian_process import Mean, leave_one_out

Choice = Literal["fixed", "cross_validation"]

MAX_STARS = 3000
LENGTH_SCALES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5)
NOISE_RATIOS = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
)  # noise / amplitude


def best_hyperparameters(
    inputs: NDArray[np.float64],
    outputs: NDArray[np.float64],
    mean: Mean,
    log: logging.Logger | None = None,
) -> tuple[float, float, float]:
    """Length scale, amplitude and noise in the best row of `cross_validation_table`.

    `log` gets the table, and a warning when the best length scale or noise is the first or last one
    tried. The other parameters are those of `cross_validation_table`.
    """
    table = cross_validation_table(inputs, outputs, mean)
    best = table.iloc[int(table["log_probability"].to_numpy().argmax())]
    if log is not None:
        log.info("hyperparameters by cross-validation on %d stars:", min(len(inputs), MAX_STARS))
        for line in table.to_string(index=False, float_format="{:.4g}".format).splitlines():
            log.info("%s", line)
        ends = {
            "length_scale": (LENGTH_SCALES[0], LENGTH_SCALES[-1]),
            "noise_ratio": (NOISE_RATIOS[0], NOISE_RATIOS[-1]),
        }
        for name, limits in ends.items():
            if best[name] in limits:
                log.warning("the best %s, %g, is at the end of what was tried", name, best[name])
    return float(best["length_scale"]), float(best["amplitude"]), float(best["noise"])


def cross_validation_table(
    inputs: NDArray[np.float64], outputs: NDArray[np.float64], mean: Mean
) -> pd.DataFrame:
    """How well each setting predicts stars that are left out.

    Parameters
    ----------
    inputs : (n, d); more than `MAX_STARS` are thinned at random, always in the same way
    outputs : (n, k)
    mean : of the process

    Returns
    -------
    table : one row for each length scale and ratio of noise to amplitude: `length_scale amplitude
        noise noise_ratio log_probability rms`, the logarithm of the predictive density
        (equation 5.10) per star and output, and the rms of the residuals, in the outputs' unit. The
        amplitude is the best one for the two others, in closed form: it does not change the
        residuals, and their variances are proportional to its square.
    """
    if len(inputs) > MAX_STARS:
        rows = np.sort(np.random.default_rng(0).permutation(len(inputs))[:MAX_STARS])
        inputs, outputs = inputs[rows], outputs[rows]
    table = []
    for length_scale in LENGTH_SCALES:
        for ratio in NOISE_RATIOS:
            residuals, variances = leave_one_out(inputs, outputs, 1.0, length_scale, ratio, mean)
            squared = (residuals**2 / variances[:, None]).mean()  # the best amplitude's square
            logarithm = np.log(2 * np.pi * squared) + np.log(variances).mean() + 1.0
            table.append(
                {
                    "length_scale": length_scale,
                    "amplitude": np.sqrt(squared),
                    "noise": ratio * np.sqrt(squared),
                    "noise_ratio": ratio,
                    "log_probability": -0.5 * logarithm,
                    "rms": np.sqrt((residuals**2).mean()),
                }
            )
    return pd.DataFrame(table)
