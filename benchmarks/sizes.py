"""How much the benchmarks do: `FULL` is what is measured, `TOY` only shows that each works."""

import os
from dataclasses import dataclass, field

from benchmarks.plan import N_SPECTRA
from lamostvac.simulate.settings import SimulationSettings

_STARS = {"OB": 60, "A": 120, "F": 180, "G": 240, "K": 180, "M": 120}
_FEW = {"OB": 2, "A": 2, "F": 2, "G": 4, "K": 2, "M": 2}


def _survey(stars: dict[str, int], n_library: int) -> SimulationSettings:
    return SimulationSettings(
        n_stars=stars,
        n_training={},
        n_other=0,
        n_low_snr=0,
        stars_per_plate=50,
        n_library=n_library,
    )


@dataclass(frozen=True)
class Size:
    """What each benchmark is given; the defaults are the full size.

    Attributes
    ----------
    survey : the simulated survey that spectra and library are taken from
    seconds : that each rate is measured for, at least
    cores : processes, or threads, of the benchmarks that use all cores
    chunk : files of a job of `end_to_end_rate`
    n_naive : stars that `naive_rate` fits
    sets, layers : networks of the usual size in each training set, and their hidden layers
    components : that their first layers see
    n_spectra : that the networks see
    square : rows and columns of the matrices that the peak is measured with
    n_mastar, k_mastar : spectra and components of the synthetic libraries, those of Liang+ 2024
    group : stars of a group of the grouped search
    n_scipy : library spectra that SciPy's process is measured with
    n_merged, n_vstack : rows that are merged, by the workflow and by astropy
    n_planned : spectra of the release that is planned
    """

    survey: SimulationSettings = field(default_factory=lambda: _survey(_STARS, 3000))
    seconds: float = 2.0
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    chunk: int = 500
    n_naive: int = 8
    sets: tuple[int, ...] = (3, 6, 14)
    layers: tuple[int, ...] = (512, 256, 64)
    components: int = 150
    n_spectra: int = 2048
    square: int = 4096
    n_mastar: int = 18_654
    k_mastar: int = 237
    group: int = 1000
    n_scipy: int = 8192
    n_merged: int = 10_000_000
    n_vstack: int = 200_000
    n_planned: int = N_SPECTRA


FULL = Size()
TOY = Size(
    survey=_survey(_FEW, 200),
    seconds=0.01,
    cores=1,
    chunk=10,
    n_naive=1,
    sets=(1, 1),
    components=10,
    layers=(16, 8),
    n_spectra=64,
    square=256,
    n_mastar=300,
    k_mastar=10,
    group=20,
    n_scipy=100,
    n_merged=2000,
    n_vstack=500,
    n_planned=20_000,
)
