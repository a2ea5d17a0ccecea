"""Stars for the experiments: random prepared spectra of a type, and their similarity to the
library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.hdf5 import open_hdf5, read_columns
from lamostvac.core.vocabulary import SPECTRAL_TYPES
from lamostvac.emulator.model import Emulator
from lamostvac.grouped import candidates, search
from lamostvac.grouped.cfi import correlation
from lamostvac.grouped.components import project
from lamostvac.library.library import SpectralLibrary

_BATCH = 256  # spectra compared with the library at once; bounds memory


@dataclass(frozen=True)
class Sample:
    """Stars of one type in the order in which groups are cut (`search.group_order`).

    Attributes
    ----------
    rows : (n,) row of each star in the arrays from which the sample was made
    components, residual : (n, k) and (n,), of `components.project`
    similarity : (n, N) correlation with the library's stars
    """

    rows: NDArray[np.int64]
    components: NDArray[np.float64]
    residual: NDArray[np.float64]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def candidates(
        self, emulator: Emulator, library_labels: NDArray[np.floating], matches: int
    ) -> NDArray[np.float64]:
        """(n, t, L) labels of each star's candidates, t = `matches` at most
        (`candidates.candidate_rows`).
        """
        rows = candidates.candidate_rows(emulator, self.similarity, library_labels, matches)
        return np.asarray(library_labels[rows], dtype=np.float64)

    def part(self, rows: slice | NDArray[np.integer]) -> "Sample":
        """Some of the stars."""
        return Sample(
            self.rows[rows], self.components[rows], self.residual[rows], self.similarity[rows]
        )


def make_sample(
    emulator: Emulator,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    names: NDArray[np.str_],
    library_flux: NDArray[np.floating],
    library_labels: NDArray[np.floating],
) -> Sample:
    """Sort stars by their first match, as for groups (Liang+ 2024 section 2.2 step 3).

    Parameters
    ----------
    flux, ivar : (n, 4901) prepared spectra of one type
    names : (n,) all different
    library_flux, library_labels : (N, 4901) and (N, L) of the stars from which candidates are
        chosen
    """
    reference = library_flux[:, emulator.pixels]
    similarity = np.empty((len(flux), len(reference)), dtype=np.float32)
    for first in range(0, len(flux), _BATCH):
        rows = slice(first, first + _BATCH)
        good = ivar[rows, emulator.pixels] > 0
        similarity[rows] = correlation(flux[rows, emulator.pixels], good, reference)
    components, residual = project(emulator, flux, ivar)
    order = search.group_order(library_labels[similarity.argmax(axis=1)], names)
    return Sample(order, components[order], residual[order], similarity[order])


def draw_spectra(
    paths: Sequence[str], count: int, seed: Sequence[int]
) -> tuple[NDArray[np.str_], NDArray[np.float32], NDArray[np.float32]]:
    """Random spectra of prepared chunks.

    The draw is among the sorted names of all spectra in these chunks, so it depends neither on
    their order nor on how the spectra are divided among chunks.

    Parameters
    ----------
    paths : prepared chunks of one type
    count : largest number of spectra
    seed : numbers that determine the draw

    Returns
    -------
    names : (n,) `spectrum_id`, ascending
    flux, ivar : (n, 4901)
    """
    places: list[tuple[str, str, int]] = []
    for path in paths:
        with open_hdf5(path) as handle:
            names = read_columns(handle["meta"], ["spectrum_id"])["spectrum_id"]
        places += [(name, path, row) for row, name in enumerate(names)]
    places.sort()
    chosen = np.random.default_rng(list(seed)).permutation(len(places))[:count]
    places = [places[i] for i in np.sort(chosen)]
    flux = np.empty((len(places), 4901), dtype=np.float32)
    ivar = np.empty_like(flux)
    for path in paths:
        mine = [(row, i) for i, (_, where, row) in enumerate(places) if where == path]
        if mine:
            rows, targets = np.array(sorted(mine)).T
            with open_hdf5(path) as handle:
                flux[targets], ivar[targets] = handle["flux"][rows], handle["ivar"][rows]
    return np.array([name for name, _, _ in places], dtype=str), flux, ivar


def read_samples(
    paths: Sequence[str], emulator: Emulator, library: SpectralLibrary, count: int, seed: int
) -> dict[str, Sample]:
    """At most `count` survey stars of each type; the types are the folders of the chunks.

    Types without spectra are left out; the hottest type is first.
    """
    by_type: dict[str, list[str]] = {name: [] for name in SPECTRAL_TYPES}
    for path in paths:
        by_type[Path(path).parent.name].append(path)
    samples = {}
    for spectral_type, chunks in by_type.items():
        names, flux, ivar = draw_spectra(chunks, count, [seed, *spectral_type.encode()])
        if len(names):
            samples[spectral_type] = make_sample(
                emulator, flux, ivar, names, library.flux, library.label_array()
            )
    return samples
