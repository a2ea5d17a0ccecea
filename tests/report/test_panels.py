"""Many panels in one pair of axes: places, ticks, and that nothing leaves its panel."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.transforms import Bbox

from lamostvac.report.panels import Page, Scale, clipped, scale_of
from lamostvac.report.style import STYLE, VIRIDIS

BOX = Bbox.from_bounds(1.0, 1.0, 2.0, 1.0)


@pytest.fixture
def panel():
    page = Page(4.0, 3.0)
    panel = page.panel(1.0, 1.0, 2.0, 1.0)
    panel.x, panel.y = Scale(0.0, 10.0), Scale(-1.0, 1.0)
    yield panel
    plt.close(page.figure)


def drawn(panel):
    return panel.page.finish().axes[0].collections


def test_values_have_places_on_straight_logarithmic_and_inverted_axes():
    assert Scale(10.0, 20.0).unit([10, 15, 20]).tolist() == [0.0, 0.5, 1.0]
    assert Scale(1.0, 100.0, log=True).unit([1, 10, 100]) == pytest.approx([0.0, 0.5, 1.0])
    assert np.isnan(Scale(1.0, 100.0, log=True).unit([0.0, -3.0])).all()
    assert Scale(5.0, 0.0).unit([5.0, 0.0]).tolist() == [0.0, 1.0]
    for scale in (Scale(10.0, 20.0), Scale(1.0, 100.0, log=True), Scale(5.0, 0.0)):
        assert scale.unit(scale.at(0.3)) == pytest.approx(0.3)


@pytest.mark.parametrize(("low", "high"), [(-0.13, 0.21), (3720.0, 9100.0), (2.0, -0.4)])
def test_ticks_and_their_labels_are_those_of_matplotlib(low, high):
    with plt.rc_context(STYLE | {"figure.constrained_layout.use": False}):
        figure = plt.figure(figsize=(4, 3))
        axes = figure.add_axes((0.25, 0.25, 0.5, 0.5))
        axes.set_ylim(low, high)
        figure.canvas.draw()
        theirs = {
            text.get_text(): place
            for place, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
            if min(low, high) <= place <= max(low, high)
        }
    plt.close(figure)
    ticks, texts, minor = Scale(low, high).ticks(int(1.5 * 72 / 16))
    assert dict(zip(texts, ticks, strict=True)) == pytest.approx(theirs)
    assert len(minor) == 0


def test_logarithmic_axes_have_as_many_ticks_as_there_is_room_for():
    scale = Scale(2.0, 240.0, log=True)
    texts = {most: scale.ticks(most)[1] for most in (7, 5, 2)}
    assert texts[7] == ["2", "5", "10", "20", "50", "100", "200"]
    assert texts[5] == ["3", "10", "30", "100"]
    assert texts[2] == ["10", "100"]
    assert Scale(2.0, 9e4, log=True).ticks(9)[1] == ["10", "100", "1000", "10000"]
    assert scale.ticks(5)[2].tolist() == [*range(2, 10), *range(20, 100, 10), 200.0]


def test_a_scale_of_values_has_all_of_them_and_a_margin():
    assert scale_of([1.0, np.nan, 3.0]) == Scale(0.9, 3.1)
    found = scale_of([1.0, 100.0, -5.0], log=True)
    assert (found.low, found.high) == pytest.approx((10**-0.1, 10**2.1))
    assert scale_of([]) == Scale(0.0, 1.0)
    assert scale_of([2.0, 2.0]).low < 2.0 < scale_of([2.0, 2.0]).high


def test_a_line_ends_at_the_edge_of_the_panel():
    across = clipped(np.array([[0.0, 1.5], [4.0, 1.5]]), BOX)
    assert [piece.tolist() for piece in across] == [[[1.0, 1.5], [3.0, 1.5]]]
    corner = clipped(np.array([[0.5, 1.0], [2.0, 2.5]]), BOX)
    assert [piece.tolist() for piece in corner] == [[[1.0, 1.5], [1.5, 2.0]]]
    assert clipped(np.array([[0.0, 0.0], [4.0, 0.5]]), BOX) == []
    assert clipped(np.array([[0.0, 3.0], [0.0, 0.0]]), BOX) == []


def test_lines_break_where_a_value_is_missing_and_stay_in_the_panel(panel):
    panel.line([0, 5, np.nan, 5, 20], [0, 1, 0, -1, 0], "red")
    (lines,) = drawn(panel)
    pieces = [np.round(path.vertices, 9).tolist() for path in lines.get_paths()]
    assert pieces == [[[1.0, 1.5], [2.0, 2.0]], [[2.0, 1.0], [3.0, 1.166666667]]]


def test_bands_and_points_stay_in_the_panel(panel):
    panel.band([2, 4, 6], [-3.0, -0.5, 0.0], [0.5, 3.0, 0.5], "blue", 0.25)
    panel.points([1, 5, 11, 5], [0.0, 0.5, 0.0, np.nan], color="blue", s=4)
    areas, points = drawn(panel)
    assert (type(areas), type(points)) == (PolyCollection, PathCollection)
    corners = areas.get_paths()[0].vertices
    assert (corners >= BOX.min - 1e-9).all()
    assert (corners <= BOX.max + 1e-9).all()
    assert points.get_offsets().tolist() == [[1.2, 1.5], [2.0, 1.75]]


def test_a_page_has_one_pair_of_axes_and_one_artist_for_what_looks_alike(panel):
    other, norm = panel.page.panel(1.0, 2.2, 2.0, 0.5), plt.Normalize(0, 100)
    for one in (panel, other):
        one.x, one.y = Scale(0.0, 10.0), Scale(-1.0, 1.0)
        one.line([0, 10], [0, 0], "red")
        one.points([5], [0], [50.0], norm=norm, cmap=VIRIDIS, s=4)
        one.frame(beside=False)
    figure = panel.page.finish()
    assert len(figure.axes) == 1
    kinds = [type(one) for one in figure.axes[0].collections]
    # Of the lines one artist has the red ones, one the frames and ticks.
    assert kinds.count(LineCollection) == 2
    assert kinds.count(PathCollection) == 1
    assert [text.get_text() for text in figure.axes[0].texts].count("10") == 2


def test_axes_over_a_panel_have_its_place_and_scales(panel):
    panel.x = Scale(1.0, 100.0, log=True)
    axes = panel.overlay()
    assert axes.get_position().bounds == pytest.approx((0.25, 1 / 3, 0.5, 1 / 3))
    assert (axes.get_xscale(), axes.get_xlim(), axes.get_ylim()) == (
        "log",
        (1.0, 100.0),
        (-1.0, 1.0),
    )
