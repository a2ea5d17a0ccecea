"""The very metal-poor stars of Wang et al. (2022), section 5: list and counts."""

import numpy as np
import pytest
from registries import REGISTRY

from lamostvac.catalog.files import blocks_of
from lamostvac.catalog.published_samples import beside, published_samples, training_stars
from lamostvac.catalog.registry import load_registry
from lamostvac.core.exceptions import UserError
from lamostvac.publish.metal_poor import metal_poor

DEFINITION = published_samples().metal_poor


def catalogue():
    """Six stars, the third twice: one not metal-poor, one by a faint spectrum, the others down to
    [Fe/H] = -3.4, of which one has a flag and one is not recommended.
    """
    rows = REGISTRY.empty(7)
    rows["spectrum_id"] = [f"s{number}" for number in range(7)]
    rows["feh_vmp"] = [np.nan, -2.5, -2.2, -2.3, -2.0, -3.4, -3.0]
    rows["snrg"] = [90, 15, 40, 30, 25, 50, 60]
    rows["best_spectrum"] = [1, 1, 1, 0, 1, 1, 1]
    rows["recommended"] = [1, 1, 1, 1, 0, 1, 1]
    rows["flag_feh_vmp"] = [1, 0, 0, 0, 0, 0, 1]
    rows["flag_cloud_feh_vmp"] = 0
    return rows


@pytest.mark.parametrize("size", [2, 100])
def test_the_list_has_the_best_spectrum_of_each_star_below_minus_two_at_s_n_above_20(size):
    found, columns, _ = metal_poor(blocks_of(catalogue(), size), DEFINITION, REGISTRY)
    assert found["spectrum_id"].tolist() == [b"s2", b"s4", b"s5", b"s6"]
    assert columns.names == list(DEFINITION.columns)
    np.testing.assert_array_equal(found["feh_vmp"], np.float32([-2.2, -2.0, -3.4, -3.0]))


@pytest.mark.parametrize("size", [2, 100])
def test_counts_stand_beside_the_published_ones(size):
    _, _, counts = metal_poor(blocks_of(catalogue(), size), DEFINITION, REGISTRY)
    table = counts.set_index("name")
    assert table["n"].tolist() == [5, 4, 2]
    assert table["n_unflagged"].tolist() == [4, 3, 1]
    assert table["n_recommended"].tolist() == [3, 2, 1]
    assert table["published"].tolist() == [65465, 26868, 3952]
    assert table.loc["very_metal_poor", "share"] == pytest.approx(4 / 6)
    assert table.loc["very_metal_poor", "published_share"] == pytest.approx(0.0052, abs=1e-4)


def test_without_any_row_the_list_is_empty_and_shares_are_missing():
    found, _, counts = metal_poor([REGISTRY.empty(0)], DEFINITION, REGISTRY)
    assert len(found) == 0
    assert counts["n"].tolist() == [0, 0, 0]
    assert counts["share"].isna().all()


def test_a_run_without_the_label_is_told_which_column_is_missing():
    with pytest.raises(UserError, match=r"metal_poor: .*no column flag_feh_vmp"):
        metal_poor([], DEFINITION, load_registry())


def test_published_sizes_are_those_of_the_papers_text():
    sizes = published_samples()
    assert [
        (one.all, one.train, one.test) for one in sizes.training_sets.values()
    ] == [(1743, 1281, 462), (14877, 8753, 6124), (9086, 6000, None)]  # fmt: skip
    assert sizes.libraries["mastar"].spectra == 18654


def test_clipped_stars_count_among_those_for_training():
    steps = {"candidates": 90, "split train": 50, "split binary": 6, "split clipped": 4}
    assert training_stars(steps | {"split test": 20}) == {"all": 80, "train": 60, "test": 20}
    assert training_stars({}) == {"all": 0, "train": 0, "test": 0}


def test_a_sentence_says_how_far_off_a_size_is():
    sentence = beside("training set pastel, train, stars", 1300, 1281, "W22 section 3.1")
    assert sentence == (
        "training set pastel, train, stars: 1,300; W22 section 3.1 has 1,281, so this run is off by +1.5 %"
    )


def test_a_wrong_file_of_sizes_is_one_sentence(tmp_path):
    path = tmp_path / "samples.yaml"
    path.write_text("training_sets: {pastel: {all: many}}\n")
    with pytest.raises(UserError, match=r"samples\.yaml: "):
        published_samples(path)
