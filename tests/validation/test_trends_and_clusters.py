"""Residual trends find the slope that was injected; clusters find the scatter, slope and step that were."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lamostvac.catalog.registry import NetworkLabel
from lamostvac.core.exceptions import UserError
from lamostvac.report import (
    colours,
    comparison_pages,
    comparisons,
    density,
    network_planes,
    papers,
    style,
)
from lamostvac.report import members as member_figures
from lamostvac.uncertainty.repeats import similar_pairs
from lamostvac.validation import comparisons as validation_comparisons
from lamostvac.validation import isochrones, subsets
from lamostvac.validation.clusters import (
    CLUSTER_COLUMNS,
    cluster_rows,
    intrinsic_scatter,
    one_per_star,
    outlying,
    slope,
)
from lamostvac.validation.trends import TREND_COLUMNS, bin_edges, trend_rows

pytestmark = pytest.mark.numeric


def stars(n=600, seed=1):
    rng = np.random.default_rng(seed)
    ref = {
        "teff": rng.uniform(4000, 7000, n),
        "logg": rng.uniform(1, 5, n),
        "feh": rng.uniform(-2, 0.5, n),
    }
    table = pd.DataFrame({f"ref_{name}": values for name, values in ref.items()})
    for name, error in (("teff", 100), ("logg", 0.2), ("feh", 0.1)):
        table[name] = table[f"ref_{name}"] + rng.normal(0, error, n)
        table[f"{name}_err"] = error
    table["feh"] += 0.1 * (table["ref_teff"] - 5500) / 1000
    table["snrg"], table["star"] = rng.uniform(5, 100, n), np.arange(n)
    table["spectrum_id"] = [f"s{i:04d}" for i in range(n)]
    table["mag_bp"], table["mag_rp"] = rng.uniform(12, 14, n), 12.0
    for flag in subsets.FIT_FLAGS:
        table[flag] = 0
    return table


def test_a_slope_shows_against_its_quantity_alone():
    rows = pd.DataFrame(trend_rows("x", stars(), ["feh"], "snrg", 1), columns=TREND_COLUMNS)
    assert set(rows["quantity"]) == {"teff", "logg", "feh", "snr", "bp_rp"}
    for name, part in rows.groupby("quantity"):
        assert len(part) == 12
        assert part["n"].sum() == 600
        expected = 0.1 * (part["x"] - 5500) / 1000 if name == "teff" else 0 * part["x"]
        pull = (part["offset"] - expected) / part["offset_err"]
        assert np.sqrt(np.mean(pull**2)) < 2
    by_teff = rows[rows["quantity"] == "teff"]
    assert by_teff["offset"].iloc[-1] - by_teff["offset"].iloc[0] == pytest.approx(0.275, abs=0.1)
    assert by_teff["robust_sigma"].median() == pytest.approx(0.1, rel=0.2)


def test_warned_rows_and_missing_values_are_in_no_bin():
    table = stars(100)
    table.loc[:9, "flag_edge"] = 1
    table.loc[10:19, "ref_feh"] = np.nan
    table.loc[20:29, "snrg"] = -9999
    rows = pd.DataFrame(trend_rows("x", table, ["feh"], "snrg"), columns=TREND_COLUMNS)
    assert rows.groupby("quantity")["n"].sum().to_dict() == {
        "bp_rp": 80, "feh": 80, "logg": 80, "snr": 70, "teff": 80,
    }  # fmt: skip


def test_bins_hold_equally_many_and_too_few_make_none():
    x = np.random.default_rng(0).normal(size=120)
    edges = bin_edges(x)
    assert np.histogram(x, edges)[0].tolist() == [12] * 10
    assert len(bin_edges(x[:23])) == 0
    assert len(bin_edges(np.zeros(100))) == 0


@pytest.mark.parametrize("injected", [0.0, 0.05, 0.2])
def test_scatter_beyond_the_errors_is_found(injected):
    rng = np.random.default_rng(3)
    found = []
    for _ in range(40):
        error = rng.uniform(0.03, 0.1, 200)
        found.append(intrinsic_scatter(rng.normal(0, np.hypot(error, injected)), error))
    if injected:
        assert np.mean(found) == pytest.approx(injected, rel=0.07)
    else:
        assert np.median(found) < 0.02
    assert np.isnan(intrinsic_scatter([1.0, 2.0, 3.0], [0.1, np.nan, 0.1]))


def test_slopes_of_members_cover_the_injected_one_and_ignore_a_stranger():
    rng = np.random.default_rng(4)
    pulls = []
    for trial in range(100):
        x = rng.uniform(4, 7, 60)
        y = 0.05 * x + rng.normal(0, 0.1, 60)
        y[0] = 5.0
        value, error = slope(x, y, np.arange(60), trial)
        pulls.append((value - 0.05) / error)
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(pulls)) < 0.4
    assert np.isnan(slope([1.0, 2.0], [1.0, 2.0], [0, 1])).all()


def members(seed=2):
    """Two clusters; A has a scatter of 0.05 beyond errors of 0.1, and giants 0.3 below; every star of B twice."""
    rng = np.random.default_rng(seed)
    n = 400
    giant = np.arange(n) < 100
    table = pd.DataFrame(
        {
            "cluster": ["A"] * n + ["B"] * 200,
            "star": [*range(n), *np.repeat(np.arange(n, n + 100), 2)],
            "teff": np.concatenate(
                [np.where(giant, 4700, rng.uniform(4500, 7000, n)), np.full(200, 5000.0)]
            ),
            "logg": np.concatenate([np.where(giant, 2.5, 4.5), np.full(200, 4.5)]),
            "c_n": np.concatenate(
                [
                    np.where(giant, -0.32, -0.02) + rng.normal(0, np.hypot(0.1, 0.05), n),
                    rng.normal(0, 0.1, 200),
                ]
            ),
            "c_n_err": 0.1,
            "snrg": rng.uniform(30, 90, n + 200),
        }
    )
    table["spectrum_id"] = [f"s{i:04d}" for i in range(len(table))]
    for flag in subsets.FIT_FLAGS:
        table[flag] = 0
    return table


def test_clusters_have_the_scatter_and_the_step_that_were_injected():
    rows = pd.DataFrame(
        cluster_rows("x", members(), "cluster", ["c_n"], "snrg"), columns=CLUSTER_COLUMNS
    )
    a, b = rows.set_index("cluster").loc["A"], rows.set_index("cluster").loc["B"]
    assert a["giants"] - a["dwarfs"] == pytest.approx(-0.3, abs=0.05)
    assert (a["n_giants"], a["n_dwarfs"]) == (100, 300)
    assert a["slope_logg"] == pytest.approx(0.15, abs=3 * a["slope_logg_err"])
    assert (b["n"], b["n_stars"]) == (200, 100)
    assert b["intrinsic"] < 0.06
    assert b["typical_error"] == pytest.approx(0.1)
    dwarfs = members()[lambda t: (t["cluster"] == "A") & (t["logg"] > 4)]
    alone = cluster_rows("x", dwarfs, "cluster", ["c_n"], "snrg")[0]
    assert alone["intrinsic"] == pytest.approx(0.05, abs=0.03)


def test_the_best_spectrum_stands_for_a_star():
    table = pd.DataFrame(
        {"star": [1, 1, 2, -1, -1], "snrg": [5.0, 9, 3, 1, 2], "spectrum_id": list("abcde")}
    )
    assert one_per_star(table, "snrg")["spectrum_id"].tolist() == ["b", "c", "d", "e"]


# ---------------------------------------------------------------- figures


def drawn(n):
    table = stars(n)
    rows = pd.DataFrame(trend_rows("x", table, ["teff", "feh"], "snrg"), columns=TREND_COLUMNS)
    yield comparison_pages.trends("x", rows)
    yield comparisons.comparison(
        "x",
        validation_comparisons.pairs("x", table, ["teff", "logg", "feh"]),
        ["teff", "logg", "feh"],
    )
    group = members().iloc[: max(n, 0)]
    pairs = validation_comparisons.pairs("x", group.assign(ref_c_n=0.0), ["c_n"], group="cluster")
    of_clusters = pd.DataFrame(
        cluster_rows("x", group, "cluster", ["c_n"], "snrg"), columns=CLUSTER_COLUMNS
    )
    yield comparison_pages.clusters("x", pairs, of_clusters, ["c_n"])
    rng = np.random.default_rng(1)
    wide = pd.DataFrame(
        {
            "teff_rec": table["teff"], "logg_rec": table["logg"], "ebv": 0.1, "mag_bp": table["mag_bp"], "mag_rp": 12.0,
            "dist": rng.uniform(0.1, 8, n), "dist_ks": rng.uniform(0.1, 8, n), "r_geo": rng.uniform(100, 8000, n),
            "parallax": 1.0, "parallax_err": 0.05, "teff": table["teff"], "logg": table["logg"], "spectral_type": "G",
            "flag_snr": rng.integers(0, 2, n), "flag_alpha_fe": 1,
        }
    )  # fmt: skip
    for band in ("bp", "rp", "g_gaia"):
        wide[f"abs_mag_{band}"], wide[f"flag_abs_mag_{band}"] = rng.normal(4, 2, n), 0
    yield papers.hr_diagrams(wide)
    yield papers.positions(*rng.normal(-8, 1, (3, n)), 8.1)
    yield papers.distances(wide)
    yield colours.colour_teff(
        wide, 1.33, pd.DataFrame({"teff": [4000.0, 7000], "bp_rp": [1.5, 0.3]})
    )
    yield papers.flags(wide, ["flag_snr", "flag_alpha_fe"])
    ra = np.repeat(np.arange(n // 2 + 1), 2)[:n] * 0.1
    pairs = similar_pairs(ra, np.zeros(n), np.arange(n), np.full(n, 30.0), 0.2)
    curve = pd.DataFrame({"label": ["feh"], "a": [0.1], "b": [1.0], "c": [1.0], "scale": [1.0]})
    yield papers.repeats(
        {"feh": pairs},
        {"feh": table["feh"].to_numpy()},
        {"feh": table["feh_err"].to_numpy()},
        curve,
    )


@pytest.mark.parametrize("n", [5000, 60, 1, 0])
def test_figures_are_drawn_for_many_few_and_no_stars_with_the_same_bytes(tmp_path, n):
    for number, (first, second) in enumerate(zip(drawn(n), drawn(n), strict=True)):
        for name, figure in (("a", first), ("b", second)):
            style.save(figure, tmp_path / f"{name}{number}.png")
        data = (tmp_path / f"a{number}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert data == (tmp_path / f"b{number}.png").read_bytes()


def test_an_isochrone_is_read_by_its_columns(tmp_path):
    (tmp_path / "iso.csv").write_text("age,teff,bp_rp\n1,5000,1.0\n1,6000,0.7\n")
    assert colours.read_isochrone(tmp_path / "iso.csv")["teff"].tolist() == [5000, 6000]


NETWORKS = [
    NetworkLabel("teff_x", "K", "phys.temperature.effective", "Teff", "x"),
    NetworkLabel("logg_x", "", "phys.gravity", "log g", "x"),
    NetworkLabel("feh_x", "", "phys.abund.Fe", "[Fe/H]", "x"),
    NetworkLabel("alpha_m_x", "", "phys.abund", "[alpha/M]", "x"),
    *(NetworkLabel(f"abs_mag_{band}", "mag", "phys.magAbs", "M", "y") for band in ("g_gaia", "bp", "rp")),
]  # fmt: skip
# As CMD 3.7 writes it; a star after the asymptotic giant branch has label 9.
CMD = """# File generated by CMD 3.7 (http://stev.oapd.inaf.it/cmd)
# Zini     MH   logAge Mini        int_IMF         Mass   logL    logTe  logg  label   mbolmag
0.0152   0.00000  9.60000 0.5000000   0.9  0.5000  -1.2  3.60000  4.600  1   5.2
0.0152   0.00000  9.60000 1.2000000   1.4  1.2000   0.9  3.75000  3.600  3   2.2
0.0152   0.00000  9.60000 1.3000000   1.4  0.6000   3.3  4.90000  3.600  9   2.2
# Zini     MH   logAge Mini        int_IMF         Mass   logL    logTe  logg  label   mbolmag
0.0152   0.00000  8.20000 0.5000000   0.9  0.5000  -1.2  3.61000  4.600  1   5.2
0.0060  -0.40000  8.20000 0.5000000   0.9  0.5000  -1.2  3.62000  4.600  1   5.2
#isochrone terminated
"""


def cluster_pairs(n):
    group = members().iloc[:n].assign(feh=0.0, spectral_type="A", mag_rp=12.0, ebv=0.1)
    group["mag_bp"] = 12.0 + group["teff"] / 10_000
    group.loc[group.index[:2], "feh"] = -1.5
    table = group.assign(
        feh_rec=group["feh"],
        feh_x=group["feh"],
        teff_rec=group["teff"],
        ref_teff_rec=group["teff"] * 1.4,
    )
    table = table.assign(**{f"ref_{label}": table["feh"] for label in ("feh_rec", "feh_x")})
    labels = ["feh_rec", "feh_x", "teff_rec"]
    return validation_comparisons.pairs("x", table, labels, group="cluster")


def of_the_papers(n, isochrones):
    rng = np.random.default_rng(1)
    pairs = cluster_pairs(n)
    yield member_figures.cluster_kiel("Title", pairs, isochrones)
    yield colours.colour_teff_beside("Title", pairs, ["A"], 1.33, None)
    table = pd.DataFrame({name.label: rng.normal(4, 1, n) for name in NETWORKS})
    table["teff_x"] = rng.uniform(4000, 9000, n)
    for name in list(table):
        table[f"flag_{name}"] = rng.integers(0, 2, n)
    panels = network_planes.diagrams(NETWORKS)
    yield network_planes.network_planes(table, panels)
    training = table.assign(split="train", teff=5000.0)
    yield member_figures.cluster_outliers("Title", pairs, NETWORKS, {"x": training})


@pytest.mark.parametrize("n", [300, 1, 0])
def test_the_papers_figures_are_drawn_for_many_one_and_no_stars_with_the_same_bytes(
    tmp_path, monkeypatch, n
):
    monkeypatch.setattr(density, "DENSE", 50)
    (tmp_path / "cmd.dat").write_text(CMD)
    curves = isochrones.read_isochrones(tmp_path / "cmd.dat")
    for run in ("a", "b") if n == 300 else ("a",):
        for number, figure in enumerate(of_the_papers(n, curves)):
            style.save(figure, tmp_path / f"{run}{number}.png")
    for number in range(4):
        data = (tmp_path / f"a{number}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        if n == 300:
            assert data == (tmp_path / f"b{number}.png").read_bytes()


def texts_of(figure):
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    plt.close(figure)
    return " ".join(found).replace("\n", " ")


def test_figures_of_the_papers_without_stars_say_so():
    found = [texts_of(figure) for figure in of_the_papers(0, None)]
    assert "no member has Teff, log g and [Fe/H]" in found[0]
    assert "too few stars with both Teff" in found[1]
    assert "No spectrum has the networks' labels" in found[2]
    assert "no member has a label of a network" in found[3]


def test_planes_of_networks_are_those_of_the_paper_and_leave_flagged_labels_out():
    panels = network_planes.diagrams(NETWORKS)
    assert [(panel.x, panel.y) for panel in panels] == [
        (("teff_x",), "logg_x"),
        (("teff_x",), "abs_mag_g_gaia"),
        (("abs_mag_bp", "abs_mag_rp"), "abs_mag_g_gaia"),
        (("feh_x",), "alpha_m_x"),
        (("feh_x",), "alpha_m_x"),
    ]
    assert [panel.giants for panel in panels] == [False, False, False, False, True]
    n = 40
    table = pd.DataFrame({name: np.full(n, 4.5) for name in network_planes.needed_columns(panels)})
    table[[name for name in table if name.startswith("flag_")]] = 0
    table["flag_abs_mag_bp"] = np.arange(n) % 2
    figure = network_planes.network_planes(table, panels)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    plt.close(figure)
    # Nothing is a giant.
    assert titles == ["40 spectra", "40 spectra", "20 spectra", "dwarfs, 40 spectra"]


def test_members_three_sigma_off_are_found_on_either_side_again_and_again():
    rng = np.random.default_rng(5)
    value = rng.normal(0, 0.05, 200)
    # The second is seen only when the first is out.
    value[0], value[1], value[2] = -5.0, -0.4, 0.4
    group = np.repeat(["a", "b"], 100)
    value[150] = np.nan
    side = outlying(value, group)
    assert side[:3].tolist() == [-1, -1, 1]
    assert np.count_nonzero(side[3:]) <= 3
    assert side[150] == 0
    assert outlying([0.0, 0, 0, 9], ["a"] * 4).tolist() == [0] * 4


# ---------------------------------------------------------------- isochrones of PARSEC


def test_isochrones_of_cmd_are_read_without_stars_after_the_giant_branch(tmp_path):
    (tmp_path / "cmd.dat").write_text(CMD)
    found = isochrones.read_isochrones(tmp_path / "cmd.dat")
    assert list(found) == ["mh", "log_age", "teff", "logg"]
    assert len(found) == 4
    assert found["teff"][1] == pytest.approx(10**3.75)
    near = isochrones.of_metallicity(found, -0.1)
    assert list(near) == [8.2, 9.6]
    assert near[9.6]["logg"].tolist() == [4.6, 3.6]
    assert list(isochrones.of_metallicity(found, -2.0)) == [8.2]
    assert isochrones.of_metallicity(found, float("nan")) == {}


def test_of_many_ages_six_are_drawn_with_the_first_and_the_last():
    ages = np.arange(6.6, 10.11, 0.1)
    table = pd.DataFrame({"mh": 0.0, "log_age": ages, "teff": 5000.0, "logg": 4.0})
    found = list(isochrones.of_metallicity(table, 0.0))
    assert len(found) == 6
    assert (found[0], found[-1]) == (ages[0], ages[-1])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (CMD.replace("logTe", "logT_e"), "has no column logTe; did you mean logT_e"),
        ("1 2 3\n", "has no line `# Zini MH logAge ...`"),
        (CMD.replace("3.75000", "hot"), "cannot be read as a table of CMD"),
        (CMD.replace("mbolmag", "logTe"), "that names its columns once"),
        ("", "has no line `# Zini MH logAge ...`"),
        (None, "there is no such file"),
    ],
)
def test_a_wrong_file_of_isochrones_is_answered_by_a_sentence_with_the_key(
    tmp_path, text, complaint
):
    if text is not None:
        (tmp_path / "cmd.dat").write_text(text)
    with pytest.raises(UserError, match=complaint) as raised:
        isochrones.read_isochrones(tmp_path / "cmd.dat")
    assert str(raised.value).startswith("validation.cluster_isochrones: ")
    assert "\n" not in str(raised.value)
