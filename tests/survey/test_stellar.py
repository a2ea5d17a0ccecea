"""Radial velocities go from the release's stellar catalogues to its spectra by exact obsid."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from lamostvac.core.exceptions import UserError
from lamostvac.survey.catalogue import COLUMNS, read_catalogue
from lamostvac.survey.stellar import add_velocities, read_velocities

LARGE = 9_007_199_254_740_993  # 2^53 + 1, which no float64 holds


def general(tmp_path, **columns):
    n = len(columns["obsid"])
    row = {"lmjd": 55859, "planid": "F5902", "spid": 1, "ra": 10.0, "dec": 20.0, "class": "STAR"}
    frame = pd.DataFrame(columns, dtype=object).assign(**row, subclass="G5", z=0.0)
    path = tmp_path / "general.csv"
    frame.assign(fiberid=range(1, n + 1)).to_csv(path, sep="|", index=False)
    return read_catalogue(path)


def stellar(path, **columns):
    pd.DataFrame(columns, dtype=object).to_csv(path, sep="|", index=False)
    return path


def test_velocities_are_joined_by_all_digits_of_the_obsid(tmp_path):
    table = general(tmp_path, obsid=[LARGE - 1, LARGE, 7, None])
    path = stellar(tmp_path / "s.csv", obsid=[LARGE, 8], rv=[12.5, 1.0], rv_err=[3.0, 1.0])
    found, n = add_velocities(table, read_velocities(path))
    assert n == 1
    assert found["rv"].to_pylist() == [None, 12.5, None, None]
    assert found["rv_err"].to_pylist() == [None, 3.0, None, None]
    assert found.schema == table.schema
    assert found.drop_columns(["rv", "rv_err"]) == table.drop_columns(["rv", "rv_err"])


def test_a_velocity_of_the_general_catalogue_stays_with_its_own_error(tmp_path):
    table = general(tmp_path, obsid=[1, 2, 3], rv=[5.0, -9999, ""], rv_err=[-9999, 2.0, ""])
    path = stellar(tmp_path / "s.csv", obsid=[1, 2, 3], rv=[50, 60, 70], rv_err=[1, 1, -9999])
    found, n = add_velocities(table, read_velocities(path))
    assert n == 2
    assert found["rv"].to_pylist() == [5.0, 60.0, 70.0]
    assert found["rv_err"].to_pylist() == [None, 1.0, None]


def test_what_a_stellar_catalogue_does_not_know_is_left_to_the_next(tmp_path):
    table = general(tmp_path, obsid=[1, 2])
    first = stellar(tmp_path / "a.csv", obsid=[1, 2], rv=[-9999, 20], rv_err=[-9999, 2])
    second = stellar(tmp_path / "b.csv", obsid=[1, 2], rv=[11, 22], rv_err=[1, 1])
    for path in (first, second):
        table, _ = add_velocities(table, read_velocities(path))
    assert table["rv"].to_pylist() == [11.0, 20.0]
    assert table["rv_err"].to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize("kind", ["csv", "fits.gz"])
def test_other_names_and_formats_are_read_and_errors_may_be_absent(tmp_path, kind):
    path = tmp_path / f"stars.{kind}"
    columns = {"combined_obsid": [LARGE, 3], "VRAD": [-7.25, 8.0]}
    frame = pd.DataFrame(columns)
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        Table.from_pandas(frame).write(path)
    found = read_velocities(path, {"vrad": "rv"})
    assert found["obsid"].tolist() == [LARGE, 3]
    assert found["rv"].tolist() == [-7.25, 8.0]
    assert np.isnan(found["rv_err"]).all()
    assert found["rv"].dtype == COLUMNS["rv"].to_pandas_dtype()


@pytest.mark.parametrize("name", ["obsid", "rv"])
def test_a_stellar_catalogue_without_a_needed_column_is_refused_by_name(tmp_path, name):
    columns = {"obsid": [1], "rv": [2.0], "teff": [5000]}
    columns["other"] = columns.pop(name)
    path = stellar(tmp_path / "s.csv", **columns)
    with pytest.raises(UserError, match=rf"stellar_catalogues: .*s\.csv has no column {name}; if"):
        read_velocities(path)
    assert len(read_velocities(path, {"other": name})["obsid"]) == 1
