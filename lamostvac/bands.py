"""The 14 bands of Wang et al. (2022), in the order of every array over bands."""

BANDS = (
    "g_gaia", "bp", "rp", "j", "h", "ks", "w1", "w2", "b_apass", "v_apass", "r_apass", "g_sdss", "r_sdss", "i_sdss",
)  # fmt: skip
"""Magnitudes are columns `mag_{band}`, the networks' labels `abs_mag_{band}`; errors end in `_err`."""
