"""Spectra as the networks see them (Wang+ 2022 section 2.2).

In the rest frame, on LAMOST's own logarithmic steps, in two windows; each window is divided by a
sixth-order polynomial fitted to its 21-pixel median. Standardising to the training set's scale is
part of the networks (lamostvac/networks/ensemble.py), because every set has its own scale.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from pydantic import Field

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.continuum import divide, running_median
from lamostvac.spectra.rest_frame import RestSpectrum, rest_spectrum
from lamostvac.spectra.settings import NetworkWindows

STEP = 1e-4
"""Step of the grid in log10(wavelength), that of LAMOST's spectra."""

Windows = Sequence[tuple[float, float]]


class NetworkPreparation(NetworkWindows):
    """How a spectrum is normalised for the networks, and the grid that follows from it."""

    min_good_fraction: float = Field(
        0.5, ge=0, le=1, description="Spectra with a smaller share of usable pixels are rejected."
    )

    @classmethod
    def of(cls, section: NetworkWindows) -> Self:
        """The preparation by a section on spectra for networks."""
        return cls(**{name: getattr(section, name) for name in NetworkWindows.model_fields})

    @cached_property
    def grids(self) -> list["WindowGrid"]:
        """Grid and polynomials of each window."""
        half = self.median_window // 2
        return [WindowGrid(low, high, half, self.polynomial_degree) for low, high in self.windows]

    @cached_property
    def padded(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Grid and pixel widths of all windows with their margins, one after the other."""
        padded = [(window.padded, window.width) for window in self.grids]
        grid, width = (np.concatenate(parts) for parts in zip(*padded, strict=True))
        return grid, width

    @cached_property
    def wave(self) -> NDArray[np.float64]:
        """(n_pixels,) A, vacuum, rest frame."""
        return np.concatenate([window.wave for window in self.grids])

    @property
    def n_pixels(self) -> int:
        """Pixels of a spectrum, all windows together."""
        return len(self.wave)

    def record(self) -> dict[str, object]:
        """All on which the fluxes hang that a network sees, in types of JSON."""
        settings = self.model_dump(mode="json", exclude={"min_good_fraction"})
        return settings | {
            "frame": "rest",
            "wavelengths": "vacuum",
            "step": STEP,
            "normalised_by": "polynomial through the running median",
        }

    def pixels_in(self, windows: Windows) -> NDArray[np.bool_]:
        """(n_pixels,) whether a pixel lies in one of some narrower windows (A)."""
        inside = np.zeros(self.n_pixels, bool)
        for low, high in windows:
            inside |= (self.wave >= low) & (self.wave <= high)
        return inside


def seen_pixels(preparation: NetworkPreparation, windows: Windows | None) -> NDArray[np.bool_]:
    """The pixels (n_pixels,) of networks that may be restricted to narrower windows (A)."""
    if windows is None:
        return np.ones(preparation.n_pixels, bool)
    return preparation.pixels_in(windows)


class WindowGrid:
    """Grid and polynomials of one window; the grid extends by half a median filter on each side."""

    def __init__(self, low: float, high: float, half: int, degree: int) -> None:
        first, last = np.ceil(np.log10(low) / STEP), np.floor(np.log10(high) / STEP)
        exponent = np.arange(first - half, last + half + 1) * STEP
        self.padded = 10**exponent
        self.width = self.padded * STEP * np.log(10)
        self.inside = slice(half, len(exponent) - half)
        self.wave = self.padded[self.inside]
        position = np.linspace(-1.0, 1.0, len(self.wave))
        self.basis = legendre.legvander(position, degree)
        # Orthonormal columns, so that the fit to a window without gaps is one product.
        self.orthonormal = np.linalg.qr(self.basis)[0]

    def continuum(self, smooth: NDArray[np.float64]) -> NDArray[np.float64]:
        """The polynomial (m,) fitted to the smoothed spectrum (m,); NaN with too few pixels."""
        known = np.isfinite(smooth)
        if known.all():
            return self.continuum_of_all(smooth)
        if np.count_nonzero(known) < self.basis.shape[1]:
            return np.full(len(smooth), np.nan)
        coefficients = np.linalg.lstsq(self.basis[known], smooth[known], rcond=None)[0]
        return np.asarray(self.basis @ coefficients)

    def continuum_of_all(self, smooth: NDArray[np.float64]) -> NDArray[np.float64]:
        """`continuum` of a spectrum (m,) without gaps."""
        return np.asarray(self.orthonormal @ (self.orthonormal.T @ smooth))


def prepare_network_spectrum(
    wave: NDArray[np.float64],
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    redshift: float,
    settings: NetworkPreparation,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One spectrum as released, as a network sees it.

    Parameters
    ----------
    wave : (n,) A, vacuum, observed frame, increasing
    flux, ivar : (n,); ivar <= 0 or not finite, flux not finite or exactly 0 mark bad pixels
    redshift : of the star

    Returns
    -------
    flux : (n_pixels,) float32, over the pseudo-continuum; bad pixels hold the local median
    ivar : (n_pixels,) float32, of the normalised flux; 0 for bad pixels

    Raises
    ------
    SpectrumRejected
        bad_redshift, nan_flux, zero_flux, no_valid_ivar, too_few_pixels, negative_continuum
    """
    return normalise_network_spectrum(rest_spectrum(wave, flux, ivar, redshift), settings)


def normalise_network_spectrum(
    spectrum: RestSpectrum, settings: NetworkPreparation
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`prepare_network_spectrum` of a spectrum that is at rest already."""
    padded_flux, padded_ivar = spectrum.onto(*settings.padded)
    parts, start = [], 0
    for window in settings.grids:
        part = slice(start, start + len(window.padded))
        median = running_median(padded_flux[part], padded_ivar[part] > 0, settings.median_window)
        inside = window.inside
        parts.append((padded_flux[part][inside], padded_ivar[part][inside], median[inside]))
        start = part.stop
    continua = [
        window.continuum(smooth)
        for window, (_, _, smooth) in zip(settings.grids, parts, strict=True)
    ]
    flux, ivar, smooth = (np.concatenate(part) for part in zip(*parts, strict=True))
    continuum = np.concatenate(continua)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        local = (smooth / continuum).astype(np.float32)
    low, high = settings.flux_limits
    plausible = (continuum > 0) & (local >= low) & (local <= high)
    replacement = np.where(plausible, local, np.float32(1.0))
    flux, information, (_, _, usable) = divide(flux, ivar, continuum, (low, high), replacement)
    good_fraction = usable / len(flux)
    if good_fraction < settings.min_good_fraction:
        if all(np.isnan(part).all() or (part > 0).any() for part in continua):
            raise SpectrumRejected(
                "too_few_pixels", f"{100 * good_fraction:.1f} % of the pixels usable"
            )
        raise SpectrumRejected("negative_continuum")
    return flux, information
