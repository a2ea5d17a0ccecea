"""The spectral emulator: labels to spectrum (Liang+ 2024 section 2.2 steps 1 and 2).

Principal components of the library's normalised spectra, and one Gaussian process from scaled
labels to their coefficients. Two things go past the paper. Teff enters as 5040 / Teff, in which line
strengths change evenly, and every label is divided by its scatter in the library: that is the scaling
in which the paper's length scale of 1.5 is meaningful. And the emulator knows how wrong it is: the
covariance of its leave-one-out residuals (`discrepancy`) weighs the components in the fit.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from lamostvac.errors import UserError
from lamostvac.files import atomic_hdf5
from lamostvac.gaussian_process import GaussianProcess, Mean, train
from lamostvac.grid import GRID
from lamostvac.hyperparameters import Choice, best_hyperparameters
from lamostvac.library import SpectralLibrary
from lamostvac.masks import Regions, in_regions
from lamostvac.pca import fill_masked, in_basis, principal_components
from lamostvac.process_variance import ProcessVariance

CODE_VERSION = 3

# Where the spectral types divide in Teff (K); for libraries, which have no survey classification.
TYPE_LIMITS = {"M": 3900.0, "K": 5250.0, "G": 6000.0, "F": 7400.0, "A": 10000.0, "OB": np.inf}
_BATCH = 1024  # stars whose Jacobians are held at a time
_MIN_PER_TYPE = 8  # fewer library stars than this do not tell a type's discrepancy


def spectral_type_of(teff: ArrayLike) -> NDArray[np.str_]:
    """Spectral-type group of an effective temperature (K), by `TYPE_LIMITS`."""
    names = np.array(list(TYPE_LIMITS))
    limits = np.array(list(TYPE_LIMITS.values()))
    return names[np.searchsorted(limits, np.asarray(teff), side="right")]


@dataclass(frozen=True)
class Emulator:
    """A trained emulator.

    Attributes
    ----------
    label_names : d labels, `teff` first
    offset, scale : (d,) of the scaled labels: (label' - offset) / scale, label' = -5040 / Teff for teff
    pixels : (4901,) bool, the p pixels of the common grid that the emulator covers
    mean : (p,) mean spectrum
    basis : (k, p) principal components, orthonormal
    process : Gaussian process from scaled labels (d) to components (k)
    discrepancy : (k, k) covariance of the components about the emulator
    discrepancy_scale : spectral type -> factor on `discrepancy`
    truncation : (p,) variance of the library about its own k components
    variance_kept : share of the library's variance in the basis
    """

    label_names: tuple[str, ...]
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    pixels: NDArray[np.bool_]
    mean: NDArray[np.float64]
    basis: NDArray[np.float64]
    process: GaussianProcess
    discrepancy: NDArray[np.float64]
    discrepancy_scale: dict[str, float]
    truncation: NDArray[np.float64]
    variance_kept: float

    @property
    def n_components(self) -> int:
        """Number of principal components."""
        return len(self.basis)

    @property
    def library_scaled(self) -> NDArray[np.float64]:
        """(N, d) scaled labels of the library stars."""
        return self.process.inputs

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
        return self.mean + self.process.predict(self.to_scaled(labels)) @ self.basis


def _linearised(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    result = labels.copy()
    result[:, 0] = -5040.0 / labels[:, 0]
    return result


def build_emulator(
    library: SpectralLibrary,
    masked_regions: Regions,
    variance: float,
    length_scale: float,
    amplitude: float,
    noise: float,
    mean: Mean,
    hyperparameters: Choice = "fixed",
    rows: NDArray[np.integer] | None = None,
    log: logging.Logger | None = None,
) -> Emulator:
    """Train the emulator on a library, or on some of its rows.

    Parameters
    ----------
    masked_regions : intervals (A) that no star at rest is fitted in
    variance : share of the variance that the principal components keep
    length_scale, amplitude, noise, mean : of the Gaussian process; see `gaussian_process.train`
    hyperparameters : `fixed` as given, or `cross_validation`, which chooses the first three
    log : hears what the choice tried

    Raises
    ------
    UserError
        when the library is too small for the labels asked for.
    """
    rows = np.arange(len(library.ids)) if rows is None else rows
    labels = library.label_array()[rows]
    if len(rows) < 10 * labels.shape[1]:
        raise UserError(
            f"library.spectra: {len(rows)} spectra of {library.name} are too few for "
            f"{labels.shape[1]} labels; lower library.min_snr or shorten library.labels"
        )
    pixels = covered_pixels(library, masked_regions)
    # One thread wherever sums are BLAS's own: the same bytes on any number of cores.
    with threadpool_limits(1, "blas"):
        chosen = np.ix_(rows, np.flatnonzero(pixels))
        flux = fill_masked(library.flux[chosen], library.ivar[chosen] > 0)
        mean_spectrum, basis, kept = principal_components(flux, variance)
        components, truncation = in_basis(flux, mean_spectrum, basis)
        del flux
    linear = _linearised(labels)
    offset, scale = linear.mean(axis=0), linear.std(axis=0)
    scaled = (linear - offset) / scale
    if hyperparameters == "cross_validation":
        length_scale, amplitude, noise = best_hyperparameters(scaled, components, mean, log)
    process, residuals = train(scaled, components, amplitude, length_scale, noise, mean)
    with threadpool_limits(1, "blas"):
        discrepancy = residuals.T @ residuals / len(residuals)
        # A little of the mean variance on the diagonal keeps it invertible when stars are few.
        discrepancy[np.diag_indices(len(basis))] += 1e-3 * np.trace(discrepancy) / len(basis)
        discrepancy_scale = _discrepancy_scale(process, residuals, discrepancy, labels[:, 0])
    return Emulator(
        label_names=library.label_names,
        offset=offset,
        scale=scale,
        pixels=pixels,
        mean=mean_spectrum,
        basis=basis,
        process=process,
        discrepancy=discrepancy,
        discrepancy_scale=discrepancy_scale,
        truncation=truncation,
        variance_kept=kept,
    )


def covered_pixels(library: SpectralLibrary, masked_regions: Regions) -> NDArray[np.bool_]:
    """(4901,) the pixels that the emulator models: unmasked, and good in nearly all library spectra."""
    return ((library.ivar > 0).mean(axis=0) > 0.9) & ~in_regions(GRID, masked_regions)


def _discrepancy_scale(
    process: GaussianProcess,
    residuals: NDArray[np.float64],
    discrepancy: NDArray[np.float64],
    teff: NDArray[np.float64],
) -> dict[str, float]:
    """How much larger or smaller than on average the emulator's error is for a type of star.

    What matters is the error of the labels that a residual causes: to first order it is
    H^-1 J' S^-1 r with J the process's Jacobian, S the discrepancy and H = J' S^-1 J. In units of its
    standard deviation H^-1/2 its variance is 1 for a type that S describes, and the factor on S for
    one that it does not. One number (robust, all labels together), because a type has too few stars
    for a covariance of its own.
    """
    inverse = np.linalg.inv(discrepancy)
    pull = np.empty_like(process.inputs)
    for first in range(0, len(pull), _BATCH):
        rows = slice(first, first + _BATCH)
        jacobian = process.predict_with_jacobian(process.inputs[rows])[1]
        whitened = jacobian @ inverse
        root = np.linalg.cholesky(whitened @ jacobian.swapaxes(1, 2))
        pull[rows] = np.linalg.solve(root, np.matvec(whitened, residuals[rows])[..., None])[..., 0]
    types = spectral_type_of(teff)

    def variance(values: NDArray[np.float64]) -> float:
        return float((1.4826 * np.median(np.abs(values))) ** 2)

    overall = variance(pull)
    result = {}
    for name in TYPE_LIMITS:
        members = pull[types == name]
        result[name] = variance(members) if len(members) >= _MIN_PER_TYPE else overall
    return result


def nearest_library_star(emulator: Emulator, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) distance of scaled labels (n, d) to the nearest library star, in units of the length scale."""
    inputs = emulator.library_scaled
    squared = (scaled**2).sum(axis=1)[:, None] + (inputs**2).sum(axis=1) - 2.0 * scaled @ inputs.T
    return np.sqrt(np.clip(squared.min(axis=1), 0.0, None)) / emulator.process.length_scale


def write_emulator(emulator: Emulator, path: str | PathLike[str], attributes: dict[str, str]) -> None:
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
            "variance_points": process.spread.points,
            "variance_root": process.spread.root,
            "variance_mean_root": process.spread.mean_root,
            "variance_normal_root": process.spread.normal_root,
            "discrepancy": emulator.discrepancy,
            "truncation": emulator.truncation,
        }
        for name, values in arrays.items():
            handle.create_dataset(name, data=values, track_times=False)
        handle.attrs["label_names"] = ",".join(emulator.label_names)
        handle.attrs["amplitude"] = process.amplitude
        handle.attrs["length_scale"] = process.length_scale
        handle.attrs["noise"] = process.noise
        handle.attrs["mean_function"] = process.mean
        handle.attrs["variance_kept"] = emulator.variance_kept
        for name, value in emulator.discrepancy_scale.items():
            handle.attrs[f"discrepancy_scale_{name}"] = value
        for name, text in attributes.items():
            handle.attrs[name] = text


def read_emulator(path: str | PathLike[str]) -> Emulator:
    """The emulator that `write_emulator` wrote."""
    with h5py.File(path) as handle:
        attributes = dict(handle.attrs)
        values = {name: dataset[()] for name, dataset in handle.items()}
    process = GaussianProcess(
        values["inputs"],
        values["weights"],
        values["coefficients"],
        float(attributes["amplitude"]),
        float(attributes["length_scale"]),
        float(attributes["noise"]),
        attributes["mean_function"],
        ProcessVariance(
            values["variance_points"],
            values["variance_root"],
            values["variance_mean_root"],
            values["variance_normal_root"],
        ),
    )
    return Emulator(
        label_names=tuple(str(attributes["label_names"]).split(",")),
        offset=values["offset"],
        scale=values["scale"],
        pixels=values["pixels"].astype(bool),
        mean=values["mean"],
        basis=values["basis"],
        process=process,
        discrepancy=values["discrepancy"],
        discrepancy_scale={name: float(attributes[f"discrepancy_scale_{name}"]) for name in TYPE_LIMITS},
        truncation=values["truncation"],
        variance_kept=float(attributes["variance_kept"]),
    )


def label_columns(
    names: Sequence[str], values: NDArray[np.floating], suffix: str = ""
) -> dict[str, NDArray[np.floating]]:
    """Columns `{label}{suffix}` of an array (n, d) of labels."""
    return {f"{name}{suffix}": values[:, i] for i, name in enumerate(names)}
