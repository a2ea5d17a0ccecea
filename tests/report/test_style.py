"""Places of panels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lamostvac.report.style import STYLE, lay_out, lay_out_grid


def panels(title):
    """Three lines of panels that share rows and columns, labelled at the left and below."""
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(3, 3, figsize=(6, 5), sharex="col", sharey="row", squeeze=False)
        for number, axes in enumerate(grid[:, 0]):
            axes.plot([0, 1], [0, 10.0 ** (3 * number)])
            axes.set_ylabel("a label\nof two lines")
        for axes in grid[-1]:
            axes.set_xlabel("below")
        figure.suptitle(title)
    return figure, grid


@pytest.mark.parametrize("title", ["one line", "two\nlines"])
def test_panels_with_shared_axes_get_the_places_that_all_of_them_would(title):
    (one, grid), (other, all_asked) = panels(title), panels(title)
    lay_out_grid(one, grid, -1)
    lay_out(other)
    places = [
        np.array([axes.get_position().bounds for axes in drawn.flat]) for drawn in (grid, all_asked)
    ]
    size = np.array([6, 5, 6, 5]) * 150
    assert np.abs((places[0] - places[1]) * size).max() < 3  # pixels
    assert all(axes.get_in_layout() for axes in grid.flat)
    plt.close("all")
