"""One star's spectrum from the survey's file: as released, prepared, and with its model.

The catalogue has no spectra, and prepared spectra are removed after the fit. So the file is read
and prepared again by the same functions as in the run, which takes milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.hdf5 import open_hdf5
from lamostvac.emulator.model import Emulator
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.library.library import read_library_labels
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.identity import check_header
from lamostvac.spectra.masks import in_regions
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.rest_frame import rest_spectrum
from lamostvac.spectra.settings import Preparation

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Mask:
    """Pixels that are masked for one reason.

    Attributes
    ----------
    name : short
    meaning : a sentence
    wave : (n,) A, vacuum, rest frame of the star
    where : (n,)
    used : whether the fit leaves these pixels out
    """

    name: str
    meaning: str
    wave: NDArray[np.float64]
    where: Bool
    used: bool


@dataclass(frozen=True)
class StarSpectrum:
    """A star's spectrum.

    Attributes
    ----------
    wave, flux, good : (n,) as released, at rest, A (vacuum); where flux and ivar can be used
    normalised, ivar : (4901,) as prepared, on `lamostvac.spectra.grid.GRID`; 1 and 0 where masked
    model, sigma : (4901,) normalised model, and the standard deviation that flux less model should
        have; NaN where there is none
    left_out : (4901,) pixels that the fit left out as unlike any star
    used : (4901,) pixels that the fit used
    masks : masked pixels by reason; they may overlap
    """

    wave: NDArray[np.float64]
    flux: NDArray[np.float32]
    good: Bool
    normalised: NDArray[np.float32]
    ivar: NDArray[np.float32]
    model: NDArray[np.float32]
    sigma: NDArray[np.float32]
    left_out: Bool
    used: Bool
    masks: Sequence[Mask]


def read_star(
    path: str | PathLike[str],
    identity: Mapping[str, Any],
    preparation: Preparation,
    emulator: Emulator,
    settings: FitSettings,
    labels: NDArray[np.floating],
    spectral_type: str,
) -> StarSpectrum:
    """Read, prepare and compare with the model at known labels.

    Parameters
    ----------
    path : of the survey's file
    identity : `lmjd planid spid fiberid obsid ra dec redshift` of the spectrum
    preparation : as for the survey's spectra
    labels : (d,) in the emulator's order
    spectral_type : OB A F G K M

    Raises
    ------
    SpectrumRejected
        The file is missing, damaged, or says something else than the catalogue.
    """
    spectrum = read_spectrum(path)
    names = ("lmjd", "planid", "spid", "fiberid", "obsid", "ra", "dec", "redshift")
    row = SimpleNamespace(**{name: identity[name] for name in names})
    check_header(spectrum.header, row, preparation)
    z = float(identity["redshift"])
    flux, ivar = normalise_spectrum(
        rest_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, z),
        preparation,
    )
    found = StarFitter(emulator, settings).residuals(
        flux[None], ivar[None], labels[None], spectral_type
    )
    rest = spectrum.wave / (1.0 + z)
    good = (
        np.isfinite(spectrum.flux)
        & (spectrum.flux != 0)
        & np.isfinite(spectrum.ivar)
        & (spectrum.ivar > 0)
    )
    masks = list(_regions(preparation, z))
    masks.append(
        Mask("no data", "inverse variance 0, or no flux, in the survey's file", rest, ~good, True)
    )
    by_now = np.zeros(len(GRID), dtype=bool)
    for mask in masks[:-1]:
        by_now |= mask.where
    near_bad = np.interp(GRID, rest, (~good).astype(float)) > 0
    clipped = (ivar == 0) & ~by_now & ~near_bad
    masks += [
        Mask(
            "out of range",
            f"normalised flux not between {preparation.lowest_flux:g} and "
            f"{preparation.max_normalised_flux:g}, or beside a pixel without data",
            GRID,
            clipped,
            True,
        ),
        Mask("outliers", "left out by the fit: unlike any star", GRID, found.left_out[0], True),
        Mask("not in emulator", "pixels that the emulator does not have", GRID, ~emulator.pixels, True),
        Mask("ANDMASK", "a bit is set in all exposures; shown, not masked", rest, spectrum.andmask != 0, False),
        Mask("ORMASK", "a bit is set in one exposure or more; shown, not masked", rest, spectrum.ormask != 0, False),
    ]  # fmt: skip
    return StarSpectrum(
        wave=rest,
        flux=spectrum.flux,
        good=good,
        normalised=flux,
        ivar=ivar,
        model=found.model[0],
        sigma=found.sigma[0],
        left_out=found.left_out[0],
        used=np.isfinite(found.sigma[0]) & ~found.left_out[0],
        masks=masks,
    )


def _regions(preparation: Preparation, z: float) -> Sequence[Mask]:
    """The masked regions of the observed frame, by reason."""
    telluric = [*preparation.telluric_regions, *preparation.extra_telluric_regions]
    dichroic = preparation.dichroic_region
    observed = GRID * (1.0 + z)
    kinds = (
        ("telluric", "absorption by the Earth's atmosphere", telluric),
        ("dichroic", "where the blue and the red arm meet", [dichroic] if dichroic else []),
        (
            "diffuse bands",
            "interstellar absorption",
            preparation.diffuse_regions,
        ),
    )
    return [
        Mask(name, meaning, GRID, in_regions(observed, regions), True)
        for name, meaning, regions in kinds
    ]


@dataclass(frozen=True)
class Neighbours:
    """The library's stars that are most like a star, by labels.

    Attributes
    ----------
    names : (k,)
    labels : (k, d) in the order of `label_names`
    label_names : d names
    distance : (k,) in labels scaled by their scatter in the library
    flux, ivar : (k, 4901) normalised spectra
    """

    names: Sequence[str]
    labels: NDArray[np.float64]
    label_names: tuple[str, ...]
    distance: NDArray[np.float64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]


def neighbours_of(
    library: str | PathLike[str], emulator: Emulator, labels: NDArray[np.floating], k: int = 5
) -> Neighbours:
    """The `k` library stars of nearest labels; only their spectra are read.

    Parameters
    ----------
    library : file of the prepared library
    labels : (d,) in the emulator's order
    """
    known = read_library_labels(library)
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = emulator.to_scaled(known) - emulator.to_scaled(labels[None])
    distance = np.sqrt(np.sum(offset**2, axis=1))
    distance[~np.isfinite(distance)] = np.inf
    nearest = np.argsort(distance, kind="stable")[:k]
    rows = np.sort(nearest)  # as HDF5 requires
    place = np.searchsorted(rows, nearest)
    with open_hdf5(library) as handle:
        names = handle["ids/id"][rows][place]
        flux, ivar = handle["flux"][rows][place], handle["ivar"][rows][place]
    return Neighbours(
        [name.decode() if isinstance(name, bytes) else str(name) for name in names],
        known[nearest],
        emulator.label_names,
        distance[nearest],
        flux,
        ivar,
    )


def label_vector(emulator: Emulator, row: Mapping[str, Any]) -> NDArray[np.float64]:
    """The emulator's labels (d,) of a row of the catalogue."""
    return np.array([float(row[name]) for name in emulator.label_names])
