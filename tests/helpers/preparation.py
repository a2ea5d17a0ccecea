"""Spectra to be prepared, and preparations that mask nothing but what a test names."""

import numpy as np

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.settings import Preparation

LAMOST = (10 ** (3.5682 + 1e-4 * np.arange(3909))).astype(np.float32).astype(np.float64)
"""(3909,) A, wavelengths as LAMOST's files have them."""


def masking(*regions, **settings):
    """The default preparation with `regions` (A, observed frame) as the only ones that are masked."""
    return Preparation(
        telluric_regions=list(regions),
        extra_telluric_regions=[],
        dichroic_region=None,
        mask_diffuse_bands=False,
        **settings,
    )


def outcome(prepare, *arguments):
    """What comes out, or why nothing does."""
    try:
        return prepare(*arguments)
    except SpectrumRejected as rejection:
        return rejection.reason


def wild_spectrum(rng, n, bad):
    """Noise of any size over a slope, with runs of bad pixels of every kind."""
    flux = 10 ** rng.uniform(-3, 5) * (1 + rng.uniform(-0.5, 0.5) * np.linspace(-1, 1, n))
    flux *= 1 + 10 ** rng.uniform(-3, 1) * rng.standard_normal(n)
    ivar = 10 ** rng.uniform(-6, 4) * rng.random(n)
    for start in rng.integers(0, n, bad):
        pixels = slice(start, start + int(rng.integers(1, n // 20 + 2)))
        ivar[pixels] = rng.choice([0, -1, np.nan, np.inf, ivar[start]])
        flux[pixels] = rng.choice([0, np.nan, np.inf, -np.inf, flux[start]])
    return flux.astype(np.float32), ivar.astype(np.float32)
