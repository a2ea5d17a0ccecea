"""Columns that were renamed are found by their former names, wherever a user names them."""

import numpy as np
import pytest
import yaml

from lamostvac.catalog.registry import load_registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse, renamed
from lamostvac.core.former_names import (
    LAST_RELEASE,
    former_name,
    new_name,
    present_name,
    take_notes,
)
from lamostvac.core.paths import PROJECT
from lamostvac.publish.choice import chosen_columns, chosen_rows
from lamostvac.recommend.definitions import load_definitions
from lamostvac.validation.schema import load_comparisons

REGISTRY = load_registry()
FORMER = (
    *("class", "z", "z_err", "x_gal", "y_gal_err", "network_masked"),
    *("feh_random", "teff_rec_random", "logg_imig_random"),
)


@pytest.fixture(autouse=True)
def nothing_met():
    take_notes()


@pytest.mark.parametrize("name", FORMER)
def test_a_former_name_leads_to_a_column_and_back(name):
    new = present_name(name, REGISTRY.names)
    assert new in REGISTRY.names
    assert former_name(new) == name
    assert name not in REGISTRY.names


def test_no_column_of_the_catalogue_has_a_name_that_is_a_former_one():
    assert [name for name in REGISTRY.names if new_name(name) != name] == []


def test_a_table_that_has_the_column_keeps_it():
    assert present_name("z", ["z", "redshift"]) == "z"
    assert present_name("z", ["magnitude"]) == "z"
    assert take_notes() == []
    columns = {"z": np.array([1.0]), "redshift": np.array([2.0])}
    assert parse("z > 1.5").holds(columns).tolist() == [False]


def test_former_names_in_conditions_mean_the_present_columns():
    columns = {"redshift": np.array([0.1, 3.0]), "feh_err_random": np.array([0.1, 0.1])}
    condition = parse("abs(z) < 1 and feh_random < 0.2")
    assert condition.holds(columns).tolist() == [True, False]
    assert condition.columns_of(list(columns)) == ("redshift", "feh_err_random")
    assert renamed("abs(z) < 1", list(columns)) == "abs(redshift) < 1"
    assert renamed("abs( redshift )<1", list(columns)) == "abs( redshift )<1"
    with pytest.raises(UserError, match="there is no column zz"):
        parse("zz > 1").holds(columns)


def test_they_are_said_once_with_the_last_release_that_knows_them():
    for _ in range(2):
        present_name("x_gal", REGISTRY.names)
    (said,) = take_notes()
    assert "x_gal is x_galcen" in said
    assert LAST_RELEASE in said
    assert take_notes() == []


def test_published_columns_and_rows_take_them():
    chosen = chosen_columns(["spectrum_id", "z", "feh_random"], REGISTRY)
    assert [column.name for column in chosen] == ["spectrum_id", "redshift", "feh_err_random"]
    condition = chosen_rows("z > 0 and network_masked < 10", REGISTRY)
    assert condition is not None
    assert condition.columns_of(REGISTRY.names) == ("redshift", "n_masked_network")


def test_sources_of_recommended_labels_take_them(tmp_path):
    content = yaml.safe_load((PROJECT / "config" / "recommended.yaml").read_text())
    source = content["recommended"][0]["sources"][0]
    source["where"], source["unless"] = "z < 0.1", ["network_masked"]
    source["within"] = {"teff_random": [None, 100, 10]}
    path = tmp_path / "recommended.yaml"
    path.write_text(yaml.safe_dump(content))
    found = load_definitions(path, REGISTRY.names)[0].sources[0]
    assert found.where == "redshift < 0.1"
    assert found.unless == ["n_masked_network"]
    assert list(found.within) == ["teff_err_random"]


def test_comparisons_take_them(tmp_path):
    entry = {
        "name": "own", "title": "Own", "file": "own.csv", "key": "obsid", "reference_key": "id",
        "labels": {"z": "velocity", "feh": "metallicity"}, "catalogue_cuts": ["z < 0.1"],
        "catalogue_derived": {"height": "abs(z_gal)"}, "subsets": {"far": "x_gal > 0"},
    }  # fmt: skip
    path = tmp_path / "comparisons.yaml"
    path.write_text(yaml.safe_dump({"comparisons": [entry]}))
    (found,) = load_comparisons(path, REGISTRY)
    assert set(found.labels) == {"redshift", "feh"}
    (said,) = take_notes()
    assert all(f"{old} is" in said for old in ("z", "z_gal", "x_gal"))
