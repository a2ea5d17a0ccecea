"""A small map of dust in the format of bayestar2019.h5."""

import h5py
import numpy as np

EDGES = np.linspace(4.0, 19.0, 120)  # the map's own distance moduli
COARSE, FINE = 8, 16


def write_map(path, change=lambda handle: None):
    """Pixels of two sizes: a northern half in the coarse ones, of which pixel 0 in four fine ones.

    The best fit of each pixel grows linearly with distance modulus, at a rate of its own.
    """
    north = [(COARSE, pixel) for pixel in range(1, 4 * COARSE**2)]
    pixels = [*((FINE, pixel) for pixel in range(4)), *north]
    dtype = [
        ("nside", "<u4"),
        ("healpix_index", "<u8"),
        ("n_stars", "<u4"),
        ("converged", "u1"),
        ("DM_reliable_min", "<f4"),
        ("DM_reliable_max", "<f4"),
    ]
    info = np.zeros(len(pixels), dtype)
    info["nside"], info["healpix_index"] = np.transpose(pixels)
    info["DM_reliable_min"], info["DM_reliable_max"] = 6.0, np.nan
    # Neither sizes nor pixels come in order.
    info = info[np.random.default_rng(3).permutation(len(info))]
    best = rate(info["nside"], info["healpix_index"])[:, None] * EDGES
    with h5py.File(path, "w") as handle:
        handle["pixel_info"] = info
        handle["pixel_info"].attrs["DM_bin_edges"] = EDGES.astype("<f4")
        handle["best_fit"] = best.astype("<f4")
        handle["samples"] = np.full((len(info), 5, len(EDGES)), 9.0, "<f4")
        change(handle)
    return path


def rate(nside, pixel):
    """Reddening of a pixel per magnitude of distance modulus."""
    return 0.001 * (np.asarray(pixel, float) + 1) + 0.1 * (np.asarray(nside) == FINE)
