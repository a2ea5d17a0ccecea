"""How well the scale of errors is found from so many pairs, and how long it takes: why errors.max_pairs is what it is.

python tools/error_pairs.py [PAIRS ...]

Differences are drawn with an error that is a predicted one times a known function of labels and S/N. For each number of
pairs: seconds of one core, and by how much (rms) the factor found is wrong.
"""

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.uncertainty.scale_process import scaling_of, train

NAMES = ("teff", "logg", "feh", "alpha_fe")
N_CHECKED = 20_000
Array = NDArray[np.float64]


def factor(theta: Array, snr: Array) -> Array:
    """What the predicted errors are to be multiplied by (n,); from 0.7 to 1.6 for 98 % of the stars drawn."""
    teff, logg, feh, _ = theta.T
    place = 1.2 + 0.3 * feh + 0.3 * np.tanh((teff - 5600) / 300) * np.tanh(2 * (logg - 4.2))
    return np.asarray(place * (1 + 0.2 * np.log(snr / 36)))


def draw(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels (n, 4) and S/N (n,) like those of a survey's G stars."""
    theta = rng.normal([5600, 4.2, -0.3, 0.1], [300, 0.4, 0.3, 0.1], (n, 4))
    return theta, rng.lognormal(3.6, 0.7, n)


def main(numbers: list[int]) -> None:
    rng = np.random.default_rng(1)
    theta, snr = draw(max(numbers), rng)
    predicted = 3000 / snr
    residual = rng.standard_normal(len(snr)) * predicted * factor(theta, snr)
    theta_checked, snr_checked = draw(N_CHECKED, rng)
    true = factor(theta_checked, snr_checked)
    print(f"{'pairs':>8} {'seconds':>8} {'rms':>7}")
    with threadpool_limits(1):
        for n in numbers:
            start = time.perf_counter()
            scaling = scaling_of(theta[:n], NAMES, snr[:n])
            process = train(scaling, theta[:n], residual[:n], snr[:n], predicted[:n])
            seconds = time.perf_counter() - start
            wrong = np.log(process.factor_of_error(theta_checked, snr_checked) / true)
            print(f"{n:>8} {seconds:>8.1f} {np.sqrt(np.mean(wrong**2)):>7.3f}", flush=True)


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [5_000, 20_000, 50_000, 100_000, 260_000])
