"""Recommended values and their errors move no faster than labels do: nothing jumps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamostvac.recommend.combine import apply, fit_all
from lamostvac.recommend.definitions import Definition, result_columns
from lamostvac.recommend.known import STEPS, KnownStars, places_of
from lamostvac.recommend.learned import LeftOut
from lamostvac.recommend.settings import Recommended, Settings

pytestmark = pytest.mark.numeric
SETTINGS = Settings(snr_band="snrr", **Recommended().model_dump(exclude={"definitions"}))
WITHIN = {"teff": [4200, 7000, 200], "feh_w": [-2.5, 0.6, 0.1]}
LABEL = Definition.model_validate(
    {
        "label": "feh", "scale": ["feh"], "prior": 0.3, "covariates": ["teff"],
        "sources": [
            {"column": "feh", "system": "emulator", "bit": 0},
            {"column": "feh_v", "system": "networks", "bit": 4, "within": {"feh_v": [None, -1, 0.3]}},
            {"column": "feh_w", "system": "networks", "bit": 2, "within": WITHIN},
            {"column": "feh_s", "system": "survey", "bit": 6},
        ],
    }
)  # fmt: skip
TRAINED = ("feh_v", "feh_w")
LENGTH, POINTS = 1.5, 1500  # of a path, in steps of label space
# Errors by which value and error may change over one step. A label's own movement is 1 to 6 of them.
STEEPEST = 25.0


def stars(rng, n):
    """True Teff, log g, [Fe/H] (n, 3) of two crowds and of stars here and there, some of them far off."""
    crowds = rng.normal([[5800, 4.4, -0.1]], [200, 0.15, 0.2], (n, 3))
    giants = rng.normal([[4800, 2.5, -0.4]], [150, 0.4, 0.3], (n, 3))
    others = rng.uniform([4300, 1.0, -3.0], [7500, 5.0, 0.5], (n, 3))
    kind = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    return np.choose(kind[:, None], [crowds, giants, others])


def survey(n=3000, seed=1):
    rng = np.random.default_rng(seed)
    true = stars(rng, n)
    columns = {"snrr": rng.uniform(20, 100, n)}
    columns |= {name: true[:, i] + rng.normal(0, s, n)
                for i, (name, s) in enumerate({"teff": 60, "logg": 0.1, "feh": 0.06}.items())}  # fmt: skip
    for name, slope, error in (("feh_v", 0.8, 0.1), ("feh_w", 0.7, 0.05), ("feh_s", 1.2, 0.08)):
        columns[name] = -0.15 + slope * true[:, 2] + rng.normal(0, error, n)
        columns[f"{name}_err"] = np.full(n, error)
    columns["feh_err"] = np.full(n, 0.06)
    types = {name: np.uint8 if "source" in name or "flag" in name else np.float64
             for name in result_columns("feh")}  # fmt: skip
    rows = np.zeros(n, [*((name, np.float64) for name in columns), *types.items()])
    for name, values in columns.items():
        rows[name] = values
    left_out = {}
    for name in TRAINED:
        some = rng.choice(n, 500, replace=False)
        left_out[name] = LeftOut(some, rows[name][some], true[some, 2], np.full(500, np.nan), some)
    library = np.column_stack([stars(rng, 400), np.zeros(400)])
    return rows, left_out, library


ROWS, LEFT_OUT, LIBRARY = survey()
FITTED = fit_all(ROWS, [LABEL], SETTINGS, None, LEFT_OUT, LIBRARY)


def start(rng, kind):
    """A star to begin at: any, a training star, one at the border of those with few known stars, one far
    from all.
    """
    if kind == "known":
        return int(rng.choice(LEFT_OUT["feh_w"].rows))
    if kind == "any":
        return int(rng.integers(len(ROWS)))
    library = KnownStars.of_library(LIBRARY, "feh")
    distance = library.nearest(places_of(ROWS), np.full(len(ROWS), -1))[-1]
    wanted = np.abs(distance - 1.0) < 0.2 if kind == "border" else distance > 2.0
    return int(rng.choice(np.flatnonzero(wanted)))


def along(rng, kind):
    """A straight path (POINTS,) from a star in a random direction, all systems' labels with it, and what
    its networks' training sets have of the star.
    """
    row = start(rng, kind)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    way = np.linspace(0, LENGTH, POINTS)
    path = np.repeat(ROWS[row : row + 1], POINTS)
    theta, logg, feh = direction * STEPS
    path["teff"] = 5040.0 / (5040.0 / path["teff"] + way * theta)
    path["logg"] += way * logg
    path["feh"] += way * feh
    for name in ("feh_v", "feh_w", "feh_s"):
        path[name] += way * feh * rng.uniform(0, 1)
    own = {}
    for name, known in LEFT_OUT.items():
        same = np.full(POINTS * (row in known.rows), row)
        rows = np.arange(len(same))
        own[name] = LeftOut(rows, path[name][rows], same * 0.0, same * np.nan, same)
    return path, own


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
@pytest.mark.parametrize("kind", ["any", "known", "border", "far"])
def test_nothing_jumps_along_a_path_through_label_space(kind, seed):
    path, own = along(np.random.default_rng(seed), kind)
    apply(path, FITTED, [LABEL], SETTINGS, own, LIBRARY)
    value, error = path["feh_rec"], path["feh_rec_err"]
    assert np.isfinite(value).all()
    least = np.minimum(error[1:], error[:-1])
    step = LENGTH / (POINTS - 1)
    # Results have 32 bits.
    rounding = 1e-6 * (1.0 + np.abs(value[1:])) / least
    assert (np.abs(np.diff(value)) / least < STEEPEST * step + rounding).all()
    assert (np.abs(np.diff(error)) / least < STEEPEST * step + rounding).all()
