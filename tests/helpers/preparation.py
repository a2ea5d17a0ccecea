"""Preparations that mask nothing but what a test names."""

from lamostvac.spectra.settings import Preparation


def masking(*regions, **settings):
    """The default preparation with `regions` (A, observed frame) as the only ones that are masked."""
    return Preparation(
        telluric_regions=list(regions),
        extra_telluric_regions=[],
        dichroic_region=None,
        mask_diffuse_bands=False,
        **settings,
    )
