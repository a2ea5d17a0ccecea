"""A(band) / E(B-V) of the 14 bands, as their papers print them: the one place that has the numbers.

The section `extinction` of the configuration has them as defaults, the simulated survey has them by
nature; training sets and comparisons take those of the configuration. Two scales of E(B-V) are in
use: `sfd`, that of the map of Schlegel, Finkbeiner & Davis (1998), and the true one, `corrected`.
"""

from typing import Literal, NamedTuple

SFD_TO_TRUE = 0.86
"""True E(B-V) over that of Schlegel et al. (Schlafly & Finkbeiner 2011, section 5)."""


class Coefficient(NamedTuple):
    """A(band) over the E(B-V) of the scale `ebv`, and the paper that prints it."""

    value: float
    ebv: Literal["sfd", "corrected"]
    source: str


_CHEN = "Chen et al. 2018, true E(B-V)"
_YUAN = "Yuan et al. 2013, SFD E(B-V)"
_SCHLAFLY = "Schlafly & Finkbeiner 2011, SFD E(B-V)"

COEFFICIENTS = {
    "g_gaia": Coefficient(2.50, "corrected", _CHEN),
    "bp": Coefficient(3.24, "corrected", _CHEN),
    "rp": Coefficient(1.91, "corrected", _CHEN),
    "j": Coefficient(0.72, "sfd", _YUAN),
    "h": Coefficient(0.46, "sfd", _YUAN),
    "ks": Coefficient(0.306, "sfd", _YUAN),
    "w1": Coefficient(0.19, "sfd", _YUAN),
    "w2": Coefficient(0.15, "sfd", _YUAN),
    "b_apass": Coefficient(3.626, "sfd", _SCHLAFLY),
    "v_apass": Coefficient(2.742, "sfd", _SCHLAFLY),
    "r_apass": Coefficient(2.285, "sfd", _SCHLAFLY),
    "g_sdss": Coefficient(3.31, "sfd", _YUAN),
    "r_sdss": Coefficient(2.32, "sfd", _YUAN),
    "i_sdss": Coefficient(1.72, "sfd", _YUAN),
}
"""Keys in the order of `vocabulary.BANDS`."""


def printed(ebv: Literal["sfd", "corrected"]) -> dict[str, float]:
    """Band to its coefficient, for the bands whose numbers belong to that scale of E(B-V)."""
    return {band: one.value for band, one in COEFFICIENTS.items() if one.ebv == ebv}
