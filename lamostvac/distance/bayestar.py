"""E(B-V) of the three-dimensional map of Green et al. (2019) at a star's distance.

The map, `bayestar2019.h5`, is the user's (Harvard Dataverse, doi:10.7910/DVN/2EJ9TX); it is read by
the package `dustmaps`. Its unit is not E(B-V): https://argonaut.skymaps.info/usage gives 0.884 times
the map's number, which is the default of `photometry.bayestar_scale`.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.hdf5 import whole_file

_BLOCK = 500_000  # stars at a time; no result depends on it
_PIXEL = ("nside", "healpix_index", "DM_reliable_min", "DM_reliable_max")
_REMEDY = "give bayestar2019.h5 as it was downloaded, or photometry.bayestar: null"


def _check(path: Path) -> None:
    """Raise `UserError` if the file is not built like the map."""
    with whole_file(path, "photometry.bayestar: the map", _REMEDY) as handle:
        for name in ("pixel_info", "best_fit", "samples"):
            if name not in handle:
                raise ValueError(f"it has no dataset {name}")
        pixels, best, samples = (handle[name] for name in ("pixel_info", "best_fit", "samples"))
        if lacking := [name for name in _PIXEL if name not in (pixels.dtype.names or ())]:
            raise ValueError(f"its pixel_info lacks {', '.join(lacking)}")
        edges = np.asarray(pixels.attrs["DM_bin_edges"], np.float64)
        if best.shape != (len(pixels), len(edges)) or samples.ndim != 3:
            raise ValueError("the shapes of its datasets do not fit each other")
        if not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
            raise ValueError("its distances do not increase")


def open_map(path: str | Path) -> Any:
    """The map as a `dustmaps.bayestar.BayestarQuery` with its best fit only.

    The samples, five times as large, are not read.

    Raises
    ------
    UserError
        The file is not the map, or damaged.
    """
    _check(Path(path))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # That there is no configuration file, which only downloads would need.
        warnings.simplefilter("ignore")
        from dustmaps.bayestar import BayestarQuery

        return BayestarQuery(map_fname=str(path), max_samples=0)


def ebv_at_distance(
    path: str | Path,
    longitude: ArrayLike,
    latitude: ArrayLike,
    distance: ArrayLike,
    scale: float,
) -> NDArray[np.float32]:
    """E(B-V) (n,) in mag of the map's best fit, interpolated in distance modulus.

    NaN where the map has no pixel or the star no distance. Nearer than the map's first distance
    E(B-V) grows in proportion to the distance, beyond its last it stays.

    Parameters
    ----------
    path : the map's file
    longitude, latitude : (n,) Galactic, deg
    distance : (n,) pc; NaN where unknown
    scale : E(B-V) for 1 of the map

    Raises
    ------
    UserError
        The file is not the map, or damaged.
    """
    lon, lat, far = (np.asarray(x, np.float64) for x in (longitude, latitude, distance))
    found = np.full(len(far), np.nan, np.float32)
    with np.errstate(invalid="ignore"):
        known = np.flatnonzero(np.isfinite(far) & (far > 0))
    query = open_map(path)
    for start in range(0, len(known), _BLOCK):
        rows = known[start : start + _BLOCK]
        place = SkyCoord(
            lon[rows] * units.deg,
            lat[rows] * units.deg,
            distance=far[rows] * units.pc,
            frame="galactic",
        )
        found[rows] = scale * np.asarray(query(place, mode="best"), np.float64)
    return found
