"""Which S/N a label's errors are functions of, and which pairs of spectra show them.

A star's S/N differs between bands: that of LAMOST's M stars in r is 2.6 times that in g. So errors
are learned, evaluated and compared in one band (docs/errors.md).
"""

from collections.abc import Iterable, Mapping

from lamostvac.catalog.registry import NetworkLabel
from lamostvac.uncertainty.repeats import Alike


def snr_bands(
    networks: Iterable[NetworkLabel], emulator: Iterable[str], emulator_band: str
) -> dict[str, str]:
    """Label to column of S/N: of the emulator's labels, then of the networks'."""
    return dict.fromkeys(emulator, emulator_band) | {one.label: one.snr_band for one in networks}


def repeat_conditions(
    networks: Iterable[NetworkLabel],
    emulator: Iterable[str],
    emulator_band: str,
    tolerances: Mapping[str, float],
) -> dict[str, Alike]:
    """Label to how alike S/N of two spectra must be, of the emulator's labels and the networks'.

    Parameters
    ----------
    tolerances : of the systems, `emulator` and `networks` (`errors.pair_snr_tolerance`)
    """
    found = dict.fromkeys(emulator, Alike(emulator_band, tolerances["emulator"]))
    return found | {one.label: Alike(one.snr_band, tolerances["networks"]) for one in networks}
