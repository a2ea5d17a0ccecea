"""Several spectra at once from what their files store to what both systems of labels see.

One call of compiled code takes a batch to the common grid and to the networks' medians, and one a
spectrum what is left for the networks; the interpreter's lock is free meanwhile. Where nothing is
compiled, and for spectra that are unusual, the functions of the other modules do the same one by
one: every rejection and its words are theirs.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, byref, c_double, c_float, c_int64, c_void_p
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra import native
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.network_grid import NetworkPreparation, normalise_network_spectrum
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import MIN_PIXELS, OPTICAL, StoredSpectrum
from lamostvac.spectra.rest_frame import RestSpectrum, rest_spectrum
from lamostvac.spectra.settings import Preparation

BATCH = 16
"""Spectra of a batch; no result depends on it."""

Pixels: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Flux and inverse variance of one spectrum as a system sees it."""
Seen: TypeAlias = Pixels | SpectrumRejected
Normalise: TypeAlias = Callable[[RestSpectrum], Pixels]


@dataclass
class Prepared:
    """What the systems of labels see of a spectrum.

    Attributes
    ----------
    seen : flux and inverse variance for each system, the emulator and, where there are any, the
        networks; or why the system cannot use the spectrum
    sum_ormask : sum of its mask bits
    """

    seen: list[Seen]
    sum_ormask: int


# Number types that the compiled code reads, in the order of its `enum`.
_TYPES = {np.dtype(name): code for code, name in enumerate(("f8", ">f4", ">f8", ">i4", ">i2"))}
_LENGTH = 8  # where in the struct of a spectrum
_FLOATS = 3  # of them, which flux and wavelengths may have


class Preparer:
    """Prepares spectra for the emulator and, with `networks`, for the networks.

    What `prepare` returns lies in arrays that the next batch overwrites.
    """

    def __init__(self, settings: Preparation, networks: NetworkPreparation | None) -> None:
        self._normalise: list[Normalise] = [lambda rest: normalise_spectrum(rest, settings)]
        if networks:
            self._normalise.append(lambda rest: normalise_network_spectrum(rest, networks))
        library = native.compiled() if sys.byteorder == "little" else None
        self._compiled = _Compiled(library, settings, networks) if library else None

    def prepare(
        self, spectra: Sequence[StoredSpectrum], redshifts: Sequence[float]
    ) -> list[Prepared | SpectrumRejected]:
        """Up to `BATCH` spectra as the systems see them.

        A rejection stands in the place of a spectrum that no system can use whatever its
        normalisation: bad_wavelength and those of `rest_spectrum`.
        """
        if self._compiled is None:
            pairs = zip(spectra, redshifts, strict=True)
            nothing = [None] * len(self._normalise)
            return [self._one(spectrum, z, nothing) for spectrum, z in pairs]
        found: list[Prepared | SpectrumRejected] = []
        for number, (seen, sum_ormask) in enumerate(self._compiled.prepare(spectra, redshifts)):
            whole: list[Seen] = [one for one in seen if one is not None]
            if len(whole) == len(seen):
                found.append(Prepared(whole, sum_ormask))
            else:
                found.append(self._one(spectra[number], redshifts[number], seen))
        return found

    def _one(
        self, stored: StoredSpectrum, redshift: float, seen: Sequence[Seen | None]
    ) -> Prepared | SpectrumRejected:
        """`prepare` of one spectrum, as far as that is not done yet."""
        try:
            spectrum = stored.decoded()
            rest = rest_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, redshift)
        except SpectrumRejected as why:
            return why
        pairs = zip(seen, self._normalise, strict=True)
        return Prepared(
            [_outcome(normalise, rest) if one is None else one for one, normalise in pairs],
            int(spectrum.ormask.sum(dtype=np.int64)),
        )


def _outcome(normalise: Normalise, rest: RestSpectrum) -> Seen:
    try:
        return normalise(rest)
    except SpectrumRejected as why:
        return why


class _How(Structure):
    """`struct preparation` of native.c."""

    _fields_ = (
        ("lowest", c_double),
        ("highest", c_double),
        ("grid", c_void_p),
        ("grid_logarithm", c_void_p),
        ("regions", c_void_p),
        ("pixels", c_int64),
        ("n_regions", c_int64),
        ("half", c_int64),
        ("min_good", c_double),
        ("low", c_float),
        ("high", c_float),
        ("network_grid", c_void_p),
        ("network_logarithm", c_void_p),
        ("network_width", c_void_p),
        ("windows", c_void_p),
        ("network_padded", c_int64),
        ("network_pixels", c_int64),
        ("n_windows", c_int64),
        ("network_half", c_int64),
    )


class _Prepared(Structure):
    """`struct prepared` of native.c."""

    _fields_ = tuple(
        (name, c_void_p)
        for name in (
            "flux",
            "ivar",
            "network_flux",
            "network_ivar",
            "network_smooth",
            "sum_ormask",
            "unusual",
            "network_unusual",
        )
    )


class _Compiled:
    """The compiled preparation, with all arrays that it reads and writes."""

    def __init__(
        self,
        library: ctypes.CDLL,
        settings: Preparation,
        networks: NetworkPreparation | None,
    ) -> None:
        self._library, self._networks = library, networks
        library.lamostvac_prepare_space.argtypes = (c_int64, POINTER(_How))
        library.lamostvac_prepare_space.restype = c_int64
        library.lamostvac_prepare.argtypes = (
            c_void_p,
            *(c_int64,) * 2,
            POINTER(_How),
            POINTER(_Prepared),
            c_void_p,
        )
        library.lamostvac_normalise_networks.argtypes = (
            *(c_void_p,) * 4,
            *(c_int64,) * 2,
            *(c_float,) * 2,
            *(c_void_p,) * 3,
        )
        regions = np.array(settings.masked_regions, float).reshape(-1, 2)
        grid, width = networks.padded if networks else (np.empty(0), np.empty(0))
        windows = np.array([len(one.padded) for one in networks.grids] if networks else [], "i8")
        n_network = networks.n_pixels if networks else 0
        self._keep = [GRID, np.log(GRID), regions, grid, np.log(grid), width, windows]
        at = [_address(array) for array in self._keep]
        self._how = _How(
            *OPTICAL,
            *at[:3],
            len(GRID),
            len(regions),
            settings.median_window // 2,
            settings.min_good_fraction,
            *settings.flux_limits,
            *at[3:],
            len(grid),
            n_network,
            len(windows),
            networks.median_window // 2 if networks else 0,
        )
        # The structs of the spectra: four times where numbers are and of which type, length, redshift.
        self._spectra = np.zeros((BATCH, 10), np.int64)
        # One for all batches, since the first touch of new memory costs as much as a median.
        self._space = np.empty(0, np.uint8)
        self._flux, self._ivar = np.empty((2, BATCH, len(GRID)), np.float32)
        self._network = np.zeros((3, BATCH, n_network))  # flux, ivar, medians
        self._continuum = np.ones((BATCH, n_network))
        self._usable = np.zeros(BATCH, np.int64)
        self._network_flux, self._network_ivar = np.empty((2, BATCH, n_network), np.float32)
        self._sum_ormask = np.zeros(BATCH, np.int64)
        self._unusual = np.zeros((2, BATCH), bool)
        self._out = _Prepared(
            *(
                _address(array)
                for array in (
                    self._flux,
                    self._ivar,
                    *self._network,
                    self._sum_ormask,
                    *self._unusual,
                )
            )
        )

        self._at_networks = [
            _address(array)
            for array in (
                *self._network,
                self._continuum,
                self._network_flux,
                self._network_ivar,
                self._usable,
            )
        ]

    def prepare(
        self, spectra: Sequence[StoredSpectrum], redshifts: Sequence[float]
    ) -> list[tuple[list[Pixels | None], int]]:
        """`Preparer.prepare`, with None for what it leaves to the others."""
        count = len(spectra)
        if not count:
            return []
        pairs = zip(spectra, redshifts, strict=True)
        known = np.array([self._describe(row, *pair) for row, pair in enumerate(pairs)], bool)
        longest = int(self._spectra[:count, _LENGTH].max(initial=0))
        need = self._library.lamostvac_prepare_space(longest, byref(self._how))
        if need > self._space.nbytes:
            self._space = np.empty(need, np.uint8)
        self._library.lamostvac_prepare(
            _address(self._spectra),
            count,
            longest,
            byref(self._how),
            byref(self._out),
            _address(self._space),
        )
        usable = [~self._unusual[0, :count] & known]
        if self._networks:
            usable.append(~self._unusual[1, :count] & known)
            usable[1] &= self._normalise_networks(usable[1], self._networks)
        sums = self._sum_ormask[:count].tolist()
        systems = ((self._flux, self._ivar), (self._network_flux, self._network_ivar))
        return [
            (
                [
                    (flux[row], ivar[row]) if use[row] else None
                    for use, (flux, ivar) in zip(usable, systems, strict=False)
                ],
                sums[row],
            )
            for row in range(count)
        ]

    def _describe(self, row: int, spectrum: StoredSpectrum, redshift: float) -> bool:
        """Fill in the struct of a spectrum; False where the compiled code does not know its types."""
        arrays = (spectrum.wave, spectrum.flux, spectrum.ivar, spectrum.ormask)
        types = [_TYPES.get(array.dtype, -1) for array in arrays]
        known = min(types) >= 0 and max(types[:3]) < _FLOATS
        struct = self._spectra[row]
        # The compiled code relies on some pixels, as every reader asks for.
        known &= len(spectrum.wave) >= MIN_PIXELS
        if known and all(array.flags.c_contiguous for array in arrays):
            struct[0:8:2] = [array.__array_interface__["data"][0] for array in arrays]
            struct[1:8:2] = types
            struct[_LENGTH] = len(spectrum.wave)
            struct[9:].view(np.float64)[0] = redshift
            return True
        struct[_LENGTH] = 0  # passed over
        return False

    def _normalise_networks(
        self, rows: NDArray[np.bool_], settings: NetworkPreparation
    ) -> NDArray[np.bool_]:
        """Makes what networks see of some spectra; (rows,) whether enough pixels are usable."""
        for row in np.flatnonzero(rows).tolist():
            start = 0
            for window in settings.grids:
                part = slice(start, start + len(window.wave))
                self._continuum[row, part] = window.continuum_of_all(self._network[2, row, part])
                start = part.stop
        n = self._continuum.shape[1]
        self._library.lamostvac_normalise_networks(
            *self._at_networks[:4], len(rows), n, *settings.flux_limits, *self._at_networks[4:]
        )
        # As `normalise_network_spectrum` compares them, which says what is wrong with the others.
        return self._usable[: len(rows)] / n >= settings.min_good_fraction


def _address(array: NDArray[np.generic]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
