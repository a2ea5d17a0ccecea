"""Comparison of the emulator with the library's own spectra."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.model import Emulator
from lamostvac.experiments.pools import _BATCH, TEFF_BINS, teff_bin
from lamostvac.library.library import SpectralLibrary
from lamostvac.spectra.grid import GRID

FLUX_BINS = np.linspace(0.0, 2.0, 201)
_DIFFERENCES = np.linspace(-1.0, 1.0, 4001)


def emulator_uncertainty(emulator: Emulator, spectral_type: str) -> NDArray[np.float64]:
    """Standard deviation (p,) of a type's library spectra about the emulator, by its own estimate.

    It is the root of the diagonal of B cov B' (L24 equation 1), with the covariance of the
    emulator's error, which includes the uncertainty of the process, plus the variance outside the
    components. Neither includes the library's noise.
    """
    covariance = emulator.discrepancy[spectral_type]
    variance = ((covariance @ emulator.basis) * emulator.basis).sum(axis=0)
    return np.sqrt(variance + emulator.truncation[spectral_type])


class FluxComparison:
    """Emulated against library flux in bins of Teff, added up over batches of spectra.

    Attributes
    ----------
    counts : (4, 200, 200) pixels by bin of Teff, library flux and emulated flux, both in
        `FLUX_BINS`
    """

    def __init__(self) -> None:
        bins = len(TEFF_BINS)
        self.counts = np.zeros((bins, len(FLUX_BINS) - 1, len(FLUX_BINS) - 1), dtype=np.int64)
        self._differences = np.zeros((bins, len(_DIFFERENCES) - 1), dtype=np.int64)
        self._sums = np.zeros((bins, 5))
        self._spectra = np.zeros(bins, dtype=np.int64)

    def add(self, emulator: Emulator, library: SpectralLibrary, rows: NDArray[np.integer]) -> None:
        """Compare some of the library's spectra (rows) with the emulated spectra at their
        labels.
        """
        labels = library.label_array()[rows]
        bins, types = teff_bin(labels[:, 0]), spectral_type_of(labels[:, 0])
        sigma = {str(name): emulator_uncertainty(emulator, name) for name in np.unique(types)}
        for number in np.unique(bins):
            members = np.flatnonzero(bins == number)
            for first in range(0, len(members), _BATCH):
                batch = members[first : first + _BATCH]
                flux = library.flux[rows[batch]][:, emulator.pixels]
                ivar = library.ivar[rows[batch]][:, emulator.pixels]
                good = ivar > 0
                own = np.array([sigma[name] for name in types[batch]])[good]
                expected = np.sqrt(own**2 + 1.0 / ivar[good])
                self._add(int(number), flux[good], emulator.spectra(labels[batch])[good], expected)
            self._spectra[number] += len(members)

    def _add(
        self,
        number: int,
        flux: NDArray[np.floating],
        model: NDArray[np.float64],
        sigma: NDArray[np.float64],
    ) -> None:
        difference = model - flux
        self._sums[number] += [
            len(flux),
            difference.sum(),
            (difference**2).sum(),
            ((difference / sigma) ** 2).sum(),
            np.count_nonzero(np.abs(difference) < 0.03),
        ]
        self.counts[number] += np.histogram2d(flux, model, bins=(FLUX_BINS, FLUX_BINS))[0].astype(
            np.int64
        )
        self._differences[number] += np.histogram(difference, bins=_DIFFERENCES)[0]

    def table(self, sample: str) -> pd.DataFrame:
        """Emulated minus library flux per bin of Teff.

        Returns rows `sample teff_bin n_spectra n_pixels mean sigma middle within pull`: `middle` is
        half the width of the middle 68.3 % of the differences, `within` the share of pixels whose
        difference is below 0.03, `pull` the root mean square of the difference in units of
        `emulator_uncertainty` and the spectrum's noise.
        """
        rows = []
        for number, name in enumerate(TEFF_BINS):
            n, total, squares, pulls, within = self._sums[number]
            if n == 0:
                continue
            share = np.cumsum(self._differences[number]) / max(self._differences[number].sum(), 1)
            low, high = np.interp([0.1585, 0.8415], share, _DIFFERENCES[1:])
            rows.append(
                {
                    "sample": sample,
                    "teff_bin": name,
                    "n_spectra": int(self._spectra[number]),
                    "n_pixels": int(n),
                    "mean": total / n,
                    "sigma": float(np.sqrt(max(squares / n - (total / n) ** 2, 0.0))),
                    "middle": 0.5 * (high - low),
                    "within": within / n,
                    "pull": float(np.sqrt(pulls / n)),
                }
            )
        return pd.DataFrame(rows)


def example_rows(teff: NDArray[np.floating]) -> list[int]:
    """For each bin of Teff with stars, the row of the star at the bin's median Teff."""
    bins, rows = teff_bin(teff), []
    for number in range(len(TEFF_BINS)):
        members = np.flatnonzero(bins == number)
        if len(members):
            order = members[np.argsort(teff[members], kind="stable")]
            rows.append(int(order[len(order) // 2]))
    return rows


def example_star(
    emulator: Emulator, fold: Emulator, library: SpectralLibrary, row: int
) -> dict[str, Any]:
    """The data of a library star for `figures.examples`, on the pixels of `emulator`.

    Parameters
    ----------
    emulator : of the run; it was trained on the star
    fold : an emulator that was not, which may cover other pixels
    row : of the library
    """
    labels = library.label_array()[[row]]
    everywhere = np.full(len(GRID), np.nan)
    everywhere[fold.pixels] = fold.spectra(labels)[0]
    good = library.ivar[row, emulator.pixels] > 0
    others = zip(library.label_names[1:], labels[0, 1:], strict=True)
    return {
        "title": f"{library.ids[row]}: teff {labels[0, 0]:.0f} K, "
        + ", ".join(f"{n} {v:.2f}" for n, v in others),
        "flux": np.where(good, library.flux[row, emulator.pixels], np.nan),
        "in_sample": emulator.spectra(labels)[0],
        "held_out": everywhere[emulator.pixels],
        "sigma": emulator_uncertainty(emulator, str(spectral_type_of(labels[0, 0]))),
    }
