"""The report's first page: numbers beside the papers', lights by the limits, costs from benchmark files."""

import numpy as np
import pandas as pd
import pytest
import yaml
from html_checks import HOSTILE, check_page

from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import OVERVIEW_PATH
from lamostvac.report import overview
from lamostvac.report.overview import Limits, RunNumbers, load_limits, with_lights, write_overview
from lamostvac.report.stage_costs import stage_costs

SHIPPED = yaml.safe_load(OVERVIEW_PATH.read_text(encoding="utf-8"))


def limits_of(tmp_path, changed):
    path = tmp_path / "overview.yaml"
    path.write_text(yaml.safe_dump(changed))
    return path


@pytest.mark.parametrize(
    ("measure", "n", "light"),
    [
        (1.2, 50, "green"), (1.2001, 50, "yellow"), (2.0, 50, "yellow"), (2.1, 50, "red"), (0.1, 50, "green"),
        (1.0, 49, "none"), (np.nan, 500, "none"), (1.0, np.nan, "none"), (np.inf, 500, "none"),
    ],
)  # fmt: skip
def test_a_ratio_has_its_light(measure, n, light):
    assert Limits(title="", source="", green=1.2, yellow=2.0, min_n=50).light(measure, n) == light


@pytest.mark.parametrize(
    ("width", "light"),
    [(0.8, "green"), (0.79, "yellow"), (1.5, "yellow"), (0.5, "red"), (1.6, "red")],
)
def test_a_width_has_its_light_on_both_sides(width, light):
    assert Limits(title="", source="", green=(0.8, 1.2), yellow=(0.6, 1.5)).light(width, 1) == light


def test_the_shipped_limits_are_complete():
    assert tuple(load_limits()) == overview.CHECKS
    assert all(limit.note and limit.title and limit.source for limit in load_limits().values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.pop("pulls"), "the check pulls is missing"),
        (lambda c: c.update(pull=c["pulls"]), "pull is no check"),
        (
            lambda c: c["networks"].update(green=3.0),
            "networks: yellow must reach as far as green",
        ),
        (lambda c: c["networks"].update(red=3.0), "networks: red: there is no such key"),
        (lambda c: c["networks"].update(green="much"), "networks: green"),
    ],
)
def test_a_mistake_in_the_limits_is_named(tmp_path, change, sentence):
    content = yaml.safe_load(OVERVIEW_PATH.read_text(encoding="utf-8"))
    change(content)
    with pytest.raises(UserError, match=sentence):
        load_limits(limits_of(tmp_path, content))


def comparisons():
    columns = ["dataset", "subset", "label", "n", "offset", "sigma", "robust_sigma"]
    return pd.DataFrame(
        [
            ("crossvalidation_mastar", "FGK", "teff", 400, 0, 0, 75.0),
            ("crossvalidation_mastar", "FGK", "alpha_fe", 400, 0, 0, 0.1),
            ("crossvalidation_mastar", "all", "teff", 900, 0, 0, 500.0),
            ("crossvalidation_miles", "FGK", "teff", 400, 0, 0, 10.0),
            ("repeats", "unflagged S/N 40-80", "teff_pastel", 80, 0, 0, 100.0),
            ("repeats", "unflagged S/N 40-80", "feh_pastel", 80, 0, 0, 0.05),
            ("repeats", "all", "feh_pastel", 800, 0, 0, 9.0),
        ],
        columns=columns,
    )


def curves(source):
    row = {
        "scale": [100.0, 1.0], "published_a": [0.21, 0.028], "published_b": [1.229, 1.156],
        "published_c": [42.827, 5.817],
        "label": ["teff_pastel", "feh_pastel"], "source": [source, "training"], "n_pairs": [200, 300],
        "random_50": [84.0, 0.2], "published_random_50": [56.0, 0.0912],
    }  # fmt: skip
    return {"G": pd.DataFrame(row)}


def test_cross_validation_is_that_of_the_library_and_of_FGK_stars():
    found = overview.crossvalidation_check(comparisons(), "mastar")
    assert found["what"].tolist() == ["teff"]
    assert found["measure"].tolist() == [0.5]
    assert found["n"].tolist() == [400]


def test_repeats_are_taken_from_curves_that_were_fitted_to_repeats():
    found = overview.repeats_check(curves("repeats"), comparisons()).set_index("what")
    assert found.loc["teff_pastel, type G, S/N 50", "measure"] == pytest.approx(1.5)
    # Nothing of repeats in the other's curve: the bin from 40 to 80 beside the published curve at its middle.
    published = 0.028 + 5.817 / np.sqrt(40 * 80) ** 1.156
    assert found.loc["feh_pastel, S/N 40 to 80", "measure"] == pytest.approx(0.05 / published)
    assert len(found) == 2
    found = overview.repeats_check(curves("training"), comparisons())
    assert found["what"].tolist() == ["teff_pastel, S/N 40 to 80", "feh_pastel, S/N 40 to 80"]


def test_without_repeats_there_is_nothing_to_compare():
    assert overview.repeats_check({}, comparisons().iloc[:0]).empty
    assert with_lights({"repeats": overview.repeats_check({}, comparisons())}, load_limits()).empty


def test_internal_errors_networks_and_pulls():
    summary = pd.DataFrame(
        {
            "luminosity_class": ["giant"] * 3, "spectral_type": ["G"] * 3, "quantity": ["teff_err", "chi2", "feh_err"],
            "n": [30, 30, 30], "mean": [160.0, 2.0, 0.1], "published_mean": [80.0, 1.0, np.nan],
        }
    )  # fmt: skip
    assert overview.internal_check(summary)[["what", "measure"]].values.tolist() == [
        ["giant G teff", 2.0]
    ]
    networks = pd.DataFrame(
        {
            "label": ["a", "b", "c"],
            "set": ["pastel", "pastel", "mine"],
            "n_train": [100, 100, 100],
            "n_test": [40, 40, 40],
            "sigma_test": [0.3, 1.0, 0.3],
            "published_test": [0.1, np.nan, 0.1],
        }
    )
    # With four times the stars the paper has half of the scatter that as many would give.
    found = overview.network_check(networks, {"pastel": 400})
    assert found["measure"].tolist() == pytest.approx([1.5, 3.0])
    found = overview.network_check(networks, {"pastel": 50})
    assert found["measure"].tolist() == pytest.approx([3.0, 3.0])
    pulls = pd.DataFrame(
        {
            "label": ["teff", "teff"],
            "subset": ["all", "G"],
            "n": [99, 9],
            "mean": [-0.5, 0],
            "width": [1.1, 9],
        }
    )
    assert overview.pull_check(pulls)["measure"].tolist() == [1.1]
    bias = overview.bias_check(pulls)
    assert bias["measure"].tolist() == [0.5]
    assert bias["run"].tolist() == [-0.5]


ACCOUNTING = {
    "n_in": 1000,
    "n_accepted": 880,
    "n_rejected": 120,
    "n_recommended": 700,
    "repeats": {"stars": 90, "differ": 4},
    "rejected": {
        "by_stage": {"survey": 100, "prepare": 15, "fit": 5},
        "by_reason": {"not_a_star": 100, "nan_flux": 20},
    },
    "types": {"G": {"n_in": 900, "n_accepted": 880, "n_rejected": 20}},
}  # fmt: skip


def test_what_is_lost_is_lost_of_the_selected():
    found = overview.lost_check(ACCOUNTING).set_index("what")["measure"]
    assert found["all"] == pytest.approx(20 / 900)
    assert found["fit"] == pytest.approx(5 / 900)
    assert "survey" not in found


def benchmarks(folder):
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    jobs = {
        "fit/G/0000": (30, 500), "fit/K/0000": (10, 700), "merge": (5, "-"), "stars/1": (99, 1), "overview": (99, 1),
        "train/a": (20, 100),
    }  # fmt: skip
    for name, (seconds, memory) in jobs.items():
        path = folder / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + f"{seconds}\t0:00:30\t{memory}\t-\t-\t-\t-\t-\t90\t{seconds - 1}\n")
    return folder


def test_costs_of_the_stages(tmp_path):
    costs = stage_costs(benchmarks(tmp_path), 1000)
    assert costs["stage"].tolist() == ["fit", "train", "merge"]
    assert costs["seconds"].tolist() == [40, 20, 5]
    assert costs["jobs"].tolist() == [2, 1, 1]
    assert costs["longest"].tolist() == [30, 20, 5]
    assert costs["memory_mb"].tolist()[:2] == [700, 100]
    assert np.isnan(costs["memory_mb"].iloc[2])
    assert costs["per_spectrum_ms"].tolist()[0] == 40
    assert np.isnan(costs["per_spectrum_ms"].iloc[1])
    assert stage_costs(tmp_path / "none", 10).empty


def test_hostile_names_are_text(tmp_path):
    """Names of a configuration, a file or a header cannot become markup."""
    limits = {
        name: limit.model_copy(update={"title": HOSTILE, "source": HOSTILE, "note": HOSTILE})
        for name, limit in load_limits().items()
    }
    lights = with_lights({"flagged": overview.flag_check({HOSTILE: 500}, 880)}, limits)
    accounting = ACCOUNTING | {
        "rejected": {"by_stage": {HOSTILE: 120}, "by_reason": {HOSTILE: 120}},
        "types": {HOSTILE: {"n_in": 900, "n_accepted": 880, "n_rejected": 20}},
    }
    costs = stage_costs(benchmarks(tmp_path), 1000).assign(stage=HOSTILE)
    numbers = RunNumbers(
        accounting, HOSTILE, np.arange(880.0), 700, 380, {HOSTILE: HOSTILE}, (HOSTILE, 5),
        {HOSTILE: (3, 400, 500)},
    )  # fmt: skip
    write_overview(tmp_path / "a.html", numbers, lights, limits, costs)
    said = check_page(tmp_path / "a.html")
    # Two cards, a training set, provenance twice, of each check the title, of one the source and the details.
    assert said.count(HOSTILE) == 2 + 1 + 2 + len(limits) + 1 + 3 + 3 + len(costs)


@pytest.mark.parametrize("full", [True, False])
def test_the_page(tmp_path, full):
    limits = load_limits()
    checks = {
        "crossvalidation": overview.crossvalidation_check(comparisons(), "mastar"),
        "repeats": overview.repeats_check(curves("repeats"), comparisons()),
        "lost": overview.lost_check(ACCOUNTING),
        "flagged": overview.flag_check({"any <flag>": 500, "flag_snr": 10}, 880),
    }
    lights = with_lights(checks if full else {}, limits)
    costs = stage_costs(benchmarks(tmp_path) if full else tmp_path / "none", 1000)
    numbers = RunNumbers(
        ACCOUNTING, "snrr", np.arange(880.0) if full else np.empty(0), 700, 380, {"githash": "abc"}, ("mastar", 5),
        {"pastel": (3, 400, 500)} if full else {},
    )  # fmt: skip
    for name in ("a", "b"):
        write_overview(
            tmp_path / f"{name}.html",
            numbers,
            lights,
            limits,
            costs,
            comparisons() if full else None,
        )
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    said = check_page(tmp_path / "a.html")
    assert "880 accepted, 88.0 %" in said
    assert "120 rejected, 12.0 %" in said
    assert "abc" in said
    assert "not_a_star" in said
    if full:
        # 500 of 880 rows and 2.2 % lost: red and yellow by the shipped limits.
        assert lights.set_index("what").loc["any <flag>", "light"] == "red"
        assert "median run / paper 0.50" in said
        assert "56.8 %" in said
        assert "Beside other catalogues" in said
        assert "2.2 %" in said
        assert "3 labels, 400 to 500 training stars" in said
    else:
        assert said.count("Nothing to compare in this run") == 1
        assert all(limit.title in said for limit in limits.values())
