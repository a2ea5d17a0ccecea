"""Figures of many stars as in the papers: density of points, limits of axes, quartiles."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from lamostvac.report.style import (
    point_size,
)
from lamostvac.validation.trends import bin_edges

DENSE = 4000


def density(
    axes: Axes, x: NDArray[Any], y: NDArray[Any], limits: tuple[float, float, float, float]
) -> Any:
    """Points, or their density where there are many; the mappable of a density, else None."""
    inside = (x >= limits[0]) & (x <= limits[1]) & (y >= limits[2]) & (y <= limits[3])
    x, y = x[inside], y[inside]
    if len(x) > DENSE:
        return axes.hexbin(
            x, y, gridsize=70, extent=limits, norm=LogNorm(), mincnt=1, cmap="magma_r", linewidths=0
        )
    axes.scatter(x, y, s=point_size(len(x)), color="#495057", linewidths=0)
    return None


def axis_limits(values: NDArray[Any], low: float = 0.3, high: float = 99.7) -> tuple[float, float]:
    bottom, top = (float(value) for value in np.percentile(values, [low, high]))
    margin = 0.05 * (top - bottom) or 0.1
    return bottom - margin, top + margin


def quartiles(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Median of x and quartiles of y in bins of equally many (k, 4); none for too few points."""
    edges = bin_edges(x)
    if not len(edges):
        return np.empty((0, 4))
    which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    bins = [which == number for number in range(len(edges) - 1)]
    return np.array(
        [[np.median(x[part]), *np.percentile(y[part], [25, 50, 75])] for part in bins if part.any()]
    )
