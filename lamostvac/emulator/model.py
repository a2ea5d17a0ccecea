"""The spectral emulator: labels to spectrum (Liang+ 2024 section 2.2 steps 1 and 2).

Principal components of the library's normalised spectra, and one Gaussian process from scaled
labels to their coefficients. Two things are not in the paper. Teff enters as 5040 / Teff, with
which line strengths change evenly, and every label is divided by its scatter in the library; in
this scaling the paper's length scale of 1.5 is meaningful. And the emulator has an estimate of its
own error: the covariance of its leave-one-out residuals, less the contributions of the library's
noise and label errors (`discrepancy`), which weighs the components in the fit.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.exceptions import MADE_ANEW, UserError
from lamostvac.core.hdf5 import (
    Layout,
    atomic_hdf5,
    read_arrays,
    read_number,
    read_text,
    whole_file,
    write_attributes,
)
from lamostvac.core.vocabulary import TYPE_LIMITS, spectral_type_of
from lamostvac.emulator.discrepancy import line_covariance, residual_covariance, truncated_variance
from lamostvac.emulator.settings import EmulatorSettings
from lamostvac.library.library import SpectralLibrary
from lamostvac.library.settings import Resolution
from lamostvac.numerics.blas import blas_threads
from lamostvac.numerics.component_noise import train_by_component
from lamostvac.numerics.gaussian_process import GaussianProcess, Mean, train
from lamostvac.numerics.hyperparameters import best_hyperparameters
from lamostvac.numerics.pca import fill_masked, in_basis, principal_components
from lamostvac.numerics.process_variance import ProcessVariance
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.masks import Regions, in_regions

SURVEY_RESOLVING_POWER = Resolution().survey_resolving_power
"""Of LAMOST, where the configuration does not say otherwise."""
_SPREAD = ("points", "root", "mean_root", "normal_root")
_BY_TYPE = ("discrepancy", "lines", "truncation")  # arrays of the file with one row for each type


@dataclass(frozen=True)
class Emulator:
    """A trained emulator.

    Attributes
    ----------
    label_names : d labels, `teff` first
    offset, scale : (d,) of the scaled labels: (label' - offset) / scale, label' = -5040 / Teff for
        teff
    pixels : (4901,) bool, the p pixels of the common grid that the emulator covers
    mean : (p,) mean spectrum
    basis : (k, p) orthonormal; the first r rows span the emulated spectra, all k rows the
        emulator's error. In the exact emulator r = k and the rows are principal components; see
        `distil` for the distilled one
    process : Gaussian process from scaled labels (d) to components (r)
    library_scaled : (N, d) scaled labels of the library's stars
    discrepancy : spectral type -> (k, k) covariance of the components about the emulator
    lines : spectral type -> (k, k) the part of it due to errors of velocity and line width, which
        differ between spectra of a star
    truncation : spectral type -> (p,) variance of the pixels outside the basis
    variance_kept : share of the library's variance in the basis
    """

    label_names: tuple[str, ...]
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    pixels: NDArray[np.bool_]
    mean: NDArray[np.float64]
    basis: NDArray[np.float64]
    process: GaussianProcess
    library_scaled: NDArray[np.float64]
    discrepancy: dict[str, NDArray[np.float64]]
    lines: dict[str, NDArray[np.float64]]
    truncation: dict[str, NDArray[np.float64]]
    variance_kept: float

    @property
    def n_components(self) -> int:
        """Number of rows of the basis, k."""
        return len(self.basis)

    @property
    def n_signal(self) -> int:
        """Number of components that the process gives, r."""
        return self.process.weights.shape[1]

    def to_scaled(self, labels: ArrayLike) -> NDArray[np.float64]:
        """Scaled labels (n, d) of labels (n, d) in the order of `label_names`."""
        return (_linearised(np.asarray(labels, dtype=float)) - self.offset) / self.scale

    def from_scaled(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Labels (n, d) of scaled labels (n, d)."""
        labels = scaled * self.scale + self.offset
        labels[:, 0] = -5040.0 / labels[:, 0]
        return labels

    def label_derivative(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, d) derivative of each label with respect to its scaled label."""
        derivative = np.broadcast_to(self.scale, scaled.shape).copy()
        derivative[:, 0] *= 5040.0 / (scaled[:, 0] * self.scale[0] + self.offset[0]) ** 2
        return derivative

    def spectra(self, labels: ArrayLike) -> NDArray[np.float64]:
        """Normalised spectra (n, p) on `pixels` for labels (n, d): equation (1)."""
        return (
            self.mean + self.process.predict(self.to_scaled(labels)) @ self.basis[: self.n_signal]
        )


def _linearised(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    result = labels.copy()
    result[:, 0] = -5040.0 / labels[:, 0]
    return result


def build_emulator(
    library: SpectralLibrary,
    masked_regions: Regions,
    settings: EmulatorSettings,
    rows: NDArray[np.integer] | None = None,
    log: logging.Logger | None = None,
    resolving_power: float = SURVEY_RESOLVING_POWER,
) -> Emulator:
    """Train the emulator on a library, or on some of its rows.

    Parameters
    ----------
    masked_regions : rest wavelengths (A) that are left out of the fit
    resolving_power : wave / FWHM of the survey's lines
    log : gets a line for each trial of hyperparameters

    Raises
    ------
    UserError
        The library is too small for the requested labels.
    """
    rows = np.arange(len(library.ids)) if rows is None else rows
    labels = library.label_array()[rows]
    if len(rows) < 10 * labels.shape[1]:
        raise UserError(
            f"library.spectra: {len(rows)} spectra of {library.name} are too few for "
            f"{labels.shape[1]} labels; lower library.min_snr or shorten library.labels"
        )
    pixels = covered_pixels(library, masked_regions)
    # BLAS uses one thread, so that its sums have the same bytes on any number of cores.
    with blas_threads(1):
        chosen = np.ix_(rows, np.flatnonzero(pixels))
        ivar = library.ivar[chosen]
        flux = fill_masked(library.flux[chosen], ivar > 0)
        mean_spectrum, basis, kept = principal_components(flux, settings.variance)
        components, _ = in_basis(flux, mean_spectrum, basis)
    types = spectral_type_of(labels[:, 0])
    truncation = truncated_variance(flux, ivar, mean_spectrum, basis, types)
    del flux
    linear = _linearised(labels)
    offset, scale = linear.mean(axis=0), linear.std(axis=0)
    scaled = (linear - offset) / scale
    process, residuals = _train(scaled, components, settings, log)
    with blas_threads(1):
        label_errors = _label_errors(library, rows, linear) / scale
        own = residual_covariance(
            process, scaled, residuals, basis, ivar, label_errors, settings.label_error_share, types
        )
        lines = line_covariance(
            process.predict(scaled),
            mean_spectrum,
            basis,
            GRID[pixels],
            types,
            settings.velocity_error,
            settings.line_width_error,
            resolving_power,
        )
    return Emulator(
        label_names=library.label_names,
        offset=offset,
        scale=scale,
        pixels=pixels,
        mean=mean_spectrum,
        basis=basis,
        process=process,
        library_scaled=scaled,
        discrepancy={name: own[name] + lines[name] for name in own},
        lines=lines,
        truncation=truncation,
        variance_kept=kept,
    )


def _train(
    scaled: NDArray[np.float64],
    components: NDArray[np.float64],
    settings: EmulatorSettings,
    log: logging.Logger | None,
) -> tuple[GaussianProcess, NDArray[np.float64]]:
    """The process, and its leave-one-out residuals (n, k)."""
    amplitude, length_scale, noise = settings.amplitude, settings.length_scale, settings.noise
    if settings.hyperparameters == "cross_validation":
        length_scale, amplitude, noise = best_hyperparameters(
            scaled, components, settings.mean, log
        )
    if settings.process == "exact":
        return train(scaled, components, amplitude, length_scale, noise, settings.mean)
    return train_by_component(scaled, components, amplitude, length_scale, noise, settings.mean)


def _label_errors(
    library: SpectralLibrary, rows: NDArray[np.integer], linear: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The library's label errors (n, d), for Teff that of -5040 / Teff; 0 where it gives none."""
    columns = [
        library.labels[f"{name}_err"].to_numpy(np.float64)[rows] for name in library.label_names
    ]
    errors = np.nan_to_num(np.stack(columns, axis=1), nan=0.0)
    errors[:, 0] *= linear[:, 0] ** 2 / 5040.0
    return errors


def covered_pixels(library: SpectralLibrary, masked_regions: Regions) -> NDArray[np.bool_]:
    """(4901,) pixels that the emulator models: unmasked and good in nearly all library spectra."""
    return ((library.ivar > 0).mean(axis=0) > 0.9) & ~in_regions(GRID, masked_regions)


def nearest_library_star(emulator: Emulator, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) distance of scaled labels (n, d) to the nearest library star, in length scales."""
    inputs = emulator.library_scaled
    squared = (scaled**2).sum(axis=1)[:, None] + (inputs**2).sum(axis=1) - 2.0 * scaled @ inputs.T
    return np.sqrt(np.clip(squared.min(axis=1), 0.0, None)) / emulator.process.length_scale


def write_emulator(
    emulator: Emulator, path: str | PathLike[str], attributes: dict[str, str]
) -> None:
    """Write an emulator as HDF5, with `attributes` (name, code version, sources) in its header."""
    process = emulator.process
    with atomic_hdf5(path) as handle:
        arrays = {
            "offset": emulator.offset,
            "scale": emulator.scale,
            "pixels": emulator.pixels,
            "mean": emulator.mean,
            "basis": emulator.basis,
            "inputs": process.inputs,
            "weights": process.weights,
            "coefficients": process.coefficients,
            "library_scaled": emulator.library_scaled,
        }
        for name in _BY_TYPE:
            arrays[name] = np.stack(
                [getattr(emulator, name)[spectral_type] for spectral_type in TYPE_LIMITS]
            )
        if process.spread is not None:
            arrays |= {f"variance_{name}": getattr(process.spread, name) for name in _SPREAD}
        for name, values in arrays.items():
            handle.create_dataset(name, data=values, track_times=False)
        own = {
            "label_names": ",".join(emulator.label_names),
            "amplitude": process.amplitude,
            "length_scale": process.length_scale,
            "noise": process.noise,
            "mean_function": process.mean,
            "variance_kept": emulator.variance_kept,
        }
        write_attributes(handle, own | attributes)


_LAYOUT = {
    "offset": Layout(("label",), "f8"),
    "scale": Layout(("label",), "f8"),
    "pixels": Layout(("grid",), "?"),
    "mean": Layout(("pixel",), "f8"),
    "basis": Layout(("row", "pixel"), "f8"),
    "inputs": Layout(("star", "label"), "f8"),
    "weights": Layout(("star", "component"), "f8"),
    "coefficients": Layout(("term", "component"), "f8"),
    "library_scaled": Layout(("library star", "label"), "f8"),
    "discrepancy": Layout((len(TYPE_LIMITS), "row", "row"), "f8"),
    "lines": Layout((len(TYPE_LIMITS), "row", "row"), "f8"),
    "truncation": Layout((len(TYPE_LIMITS), "pixel"), "f8"),
}
_SPREAD_LAYOUT = {
    "variance_points": Layout(("point", "label"), "f8"),
    "variance_root": Layout(("point", "point"), "f8"),
    "variance_mean_root": Layout(("term", "point"), "f8"),
    "variance_normal_root": Layout(("term", "term"), "f8"),
}


def read_emulator(path: str | PathLike[str]) -> Emulator:
    """The emulator that `write_emulator` wrote, checked; `UserError` where the file is no other."""
    with whole_file(path, "the emulator", MADE_ANEW) as handle:
        attributes = {
            name: read_number(handle.attrs, name, finite=name != "noise")
            for name in ("amplitude", "length_scale", "noise", "variance_kept")
        }
        names = tuple(read_text(handle.attrs, "label_names").split(","))
        mean = read_text(handle.attrs, "mean_function")
        if mean not in get_args(Mean):
            raise ValueError(f"the attribute mean_function is {mean}")
        exact = f"variance_{_SPREAD[0]}" in handle
        lengths = {"label": len(names)}
        values = read_arrays(handle, _LAYOUT | (_SPREAD_LAYOUT if exact else {}), lengths)
        if np.count_nonzero(values["pixels"]) != lengths["pixel"]:
            raise ValueError("mean has not as many values as the emulator has pixels")
        if not lengths["component"] <= lengths["row"]:
            raise ValueError("basis has fewer rows than the process has components")
    spread = None
    if exact:
        spread = ProcessVariance(*(values[f"variance_{name}"] for name in _SPREAD))
    process = GaussianProcess(
        values["inputs"],
        values["weights"],
        values["coefficients"],
        attributes["amplitude"],
        attributes["length_scale"],
        attributes["noise"],
        cast(Mean, mean),
        spread,
    )
    return Emulator(
        label_names=names,
        offset=values["offset"],
        scale=values["scale"],
        pixels=values["pixels"],
        mean=values["mean"],
        basis=values["basis"],
        process=process,
        library_scaled=values["library_scaled"],
        **{name: dict(zip(TYPE_LIMITS, values[name], strict=True)) for name in _BY_TYPE},
        variance_kept=attributes["variance_kept"],
    )


def label_columns(
    names: Sequence[str], values: NDArray[np.floating], suffix: str = ""
) -> dict[str, NDArray[np.floating]]:
    """Columns `{label}{suffix}` of an array (n, d) of labels."""
    return {f"{name}{suffix}": values[:, i] for i, name in enumerate(names)}
