"""No spectrum is lost, and the catalogue's bytes depend on nothing but its content."""

import dataclasses
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from catalogue_chunks import CARDS, LABELS, fitted, rejections, spectra, write_chunk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamostvac.catalog import files, flags, merge
from lamostvac.catalog import rows as catalog_rows
from lamostvac.catalog.registry import Registry, load_registry
from lamostvac.catalog.settings import SnrFlagThresholds
from lamostvac.configuration.root import configuration_hash
from lamostvac.core import vocabulary
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5, read_columns, write_columns
from lamostvac.core.manifest import REJECTED_COLUMNS

REGISTRY = load_registry()


def assembled(table, chunks, name="G"):
    return catalog_rows.assemble(name, len(table), chunks, REGISTRY, "mastar")


def finished(table, name="G"):
    """A type's rows with flags, all spectra accepted."""
    meta = table.assign(layout="table", n_masked=700, sum_ormask=3)
    accepted = meta.merge(fitted(table).drop(columns="obsid"), on="spectrum_id")
    rows, rejected = assembled(
        table, [(accepted, pd.DataFrame(columns=[*REJECTED_COLUMNS, "detail"]))], name
    )
    library = np.array([list(LABELS.values()), [6000.0, 4.0, 0.0, 0.0], [5000.0, 4.5, 0.0, 0.0]])
    flags.set_flags(rows, REGISTRY, library, "snrr", 8.0, 8.0, 7000.0, 0.02)
    return rows, rejected


def write_types(folder, sizes):
    """Tables of several types: name to path."""
    paths = {}
    for seed, (name, n) in enumerate(sizes.items()):
        rows, rejected = finished(spectra(n, seed, plate=f"P{name}"), name)
        paths[name] = folder / f"{name}.fits"
        files.write_type(
            paths[name], folder / f"{name}_rejected.csv", rows, rejected, REGISTRY, CARDS
        )
    return paths


# ---------------------------------------------------------------- accounting


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(fates=st.lists(st.integers(0, 2), min_size=0, max_size=40), cut=st.integers(0, 40))
def test_accepted_and_rejected_add_up_for_any_split(tmp_path, fates, cut):
    table, fates = spectra(len(fates)), np.array(fates, int)
    chunks = []
    for number, part in enumerate((slice(None, cut), slice(cut, None))):
        paths = write_chunk(tmp_path / str(number), table[part].reset_index(drop=True), fates[part])
        chunks.append(catalog_rows.read_chunk(*paths))
    rows, rejected = assembled(table, chunks)
    assert len(rows) == np.sum(fates == 0)
    assert sorted([*np.char.decode(rows["spectrum_id"]), *rejected["spectrum_id"]]) == sorted(
        table["spectrum_id"]
    )
    assert (rejected["stage"] == "fit").sum() == np.sum(fates == 2)
    files.write_type(tmp_path / "G.fits", tmp_path / "G.csv", rows, rejected, REGISTRY, CARDS)
    survey = tmp_path / "survey.csv"
    survey.write_text("spectrum_id,obsid,stage,reason\nx,-1,survey,not_a_star\n")
    counts = merge.merge_rejections(survey, {"G": tmp_path / "G.csv"}, tmp_path / "rejected.csv")
    balance = merge.accounting(len(fates) + 1, {"G": len(fates)}, {"G": len(rows)}, counts)
    assert balance["n_in"] == balance["n_accepted"] + balance["n_rejected"]
    assert sum(balance["rejected"]["by_reason"].values()) == balance["n_rejected"]
    merged = pd.read_csv(tmp_path / "rejected.csv")
    assert list(merged.columns) == [*REJECTED_COLUMNS]
    assert len(merged) == balance["n_rejected"]


def test_the_second_fit_gives_its_log_g_by_spectrum_or_none(tmp_path):
    table, fates = spectra(6), np.array([0, 0, 1, 0, 2, 0])
    paths = write_chunk(tmp_path, table, fates)
    seen = table[fates != 1].iloc[
        ::-1
    ]  # in another order, and what the first fit rejected is among them
    refused = seen["spectrum_id"] == table["spectrum_id"][1]
    other = fitted(seen[~refused]).assign(
        logg=seen["fiberid"] / 10, logg_err=0.3, logg_err_random=0.2, teff=1.0
    )
    second = tmp_path / "second.h5"
    with atomic_hdf5(second) as handle:
        write_columns(handle.create_group("fit"), other)
        write_columns(
            handle.create_group("rejected"), rejections(seen[refused], "fit", "fit_failed")
        )
    accepted, rejected = catalog_rows.read_chunk(*paths, second_fit=second)
    first, first_rejected = catalog_rows.read_chunk(*paths)
    pd.testing.assert_frame_equal(accepted[first.columns], first)
    pd.testing.assert_frame_equal(rejected, first_rejected)
    rows, _ = assembled(table, [(accepted, rejected)])
    expected = np.where(rows["fiberid"] == table["fiberid"][1], np.nan, rows["fiberid"] / 10)
    np.testing.assert_allclose(rows["logg_imig"], expected, rtol=1e-6)
    assert set(rows["logg_imig_err_random"][np.isfinite(expected)]) == {np.float32(0.2)}
    np.testing.assert_allclose(
        rows["logg_imig_err"], np.where(np.isnan(expected), np.nan, 0.3), rtol=1e-6
    )
    assert np.isnan(assembled(table, [(first, first_rejected)])[0]["logg_imig"]).all()

    with atomic_hdf5(second) as handle:
        write_columns(handle.create_group("fit"), other)
        write_columns(handle.create_group("rejected"), rejections(seen[:0], "fit", "fit_failed"))
    with pytest.raises(UserError, match=rf"second\.h5 .* 1 lost.*{table['spectrum_id'][1]}"):
        catalog_rows.read_chunk(*paths, second_fit=second)


def test_grouped_labels_come_by_spectrum_and_one_without_is_named(tmp_path):
    table = spectra(6)
    paths = write_chunk(tmp_path, table, np.array([0, 0, 1, 0, 2, 0]))
    chunk = Path(paths[0]).stem
    prepared = table.iloc[[5, 4, 3, 2, 1, 0]]  # in the order of the groups
    grouped = tmp_path / "groups.h5"

    def write(rows):
        with atomic_hdf5(grouped) as handle:
            handle.attrs["label_names"] = "teff,logg"
            handle.create_dataset("chunks", data=np.array(["other", chunk], dtype="S"))
            handle.create_dataset("limits", data=[0, 1, 1 + len(rows)])
            ids = np.array(["of another chunk", *rows["spectrum_id"]], dtype="S")
            handle.create_dataset("spectrum_id", data=ids)
            fiber = np.array([0, *rows["fiberid"]], dtype=float)
            handle.create_dataset("labels", data=np.column_stack([fiber, fiber / 10]))
            handle.create_dataset("chi2", data=fiber + 1)
            handle.create_dataset("fit_group", data=(fiber + 2).astype(np.int64))

    with open_hdf5(paths[1]) as handle:
        known = set(read_columns(handle["meta"])["spectrum_id"])
    write(prepared[prepared["spectrum_id"].isin(known)])
    rows, _ = assembled(table, [catalog_rows.read_chunk(*paths, grouped=grouped)])
    np.testing.assert_allclose(rows["teff_grouped"], rows["fiberid"])
    np.testing.assert_allclose(rows["logg_grouped"], rows["fiberid"] / 10, rtol=1e-6)
    np.testing.assert_allclose(rows["chi2_grouped"], rows["fiberid"] + 1)
    assert (rows["fit_group"] == rows["fiberid"] + 2).all()
    assert np.isnan(rows["feh_grouped"]).all()
    without, _ = assembled(table, [catalog_rows.read_chunk(*paths)])
    assert np.isnan(without["teff_grouped"]).all()
    assert (without["fit_group"] == -1).all()

    lost = prepared[prepared["spectrum_id"].isin(known)]
    write(lost[1:])
    with pytest.raises(UserError, match=rf"groups\.h5 .* 1 lost.*{lost['spectrum_id'].iloc[0]}"):
        catalog_rows.read_chunk(*paths, grouped=grouped)


@pytest.mark.parametrize("group", ["meta", "fit"])
def test_a_lost_spectrum_is_named(tmp_path, group):
    table = spectra(6)
    paths = write_chunk(tmp_path, table, np.zeros(6, int))
    lost = table["spectrum_id"][2]
    target = paths[1] if group == "meta" else paths[2]
    keep = table[table["spectrum_id"] != lost]
    with atomic_hdf5(target) as handle:
        content = (
            keep.assign(layout="table", n_masked=0, sum_ormask=0)
            if group == "meta"
            else fitted(keep)
        )
        write_columns(handle.create_group(group), content)
        write_columns(handle.create_group("rejected"), rejections(table[:0], "fit", "fit_failed"))
    with pytest.raises(UserError, match=f"1 lost.*{lost}"):
        catalog_rows.read_chunk(*paths)


def test_a_spectrum_both_accepted_and_rejected_is_named(tmp_path):
    table = spectra(4)
    paths = write_chunk(tmp_path, table, np.zeros(4, int))
    with atomic_hdf5(paths[2]) as handle:
        write_columns(handle.create_group("fit"), fitted(table))
        write_columns(handle.create_group("rejected"), rejections(table[:1], "fit", "fit_failed"))
    with pytest.raises(UserError, match=f"1 unexpected or twice .*{table['spectrum_id'][0]}"):
        catalog_rows.read_chunk(*paths)


def test_a_missing_chunk_fails(tmp_path):
    table = spectra(10)
    half = catalog_rows.read_chunk(*write_chunk(tmp_path, table[:5], np.zeros(5, int)))
    with pytest.raises(UserError, match="10 spectra of type G, but 5 are accepted and 0 rejected"):
        assembled(table, [half])


def test_a_spectrum_in_two_chunks_fails(tmp_path):
    table = spectra(5)
    chunk = catalog_rows.read_chunk(*write_chunk(tmp_path, table, np.zeros(5, int)))
    with pytest.raises(UserError, match="is in two chunks"):
        catalog_rows.assemble("G", 10, [chunk, chunk], REGISTRY, "mastar")
    with pytest.raises(UserError, match="more than the manifest's 5"):
        catalog_rows.assemble("G", 5, [chunk, chunk], REGISTRY, "mastar")


def test_a_lost_row_of_the_run_or_of_a_type_fails():
    rejected = {name: Counter() for name in ("survey", "G", "M")}
    rejected["survey"]["survey", "low_snr"] = 3
    rejected["G"]["prepare", "not_fits"] = 2
    accepted, expected = {"G": 5, "M": 0}, {"M": 0, "G": 7}
    balance = merge.accounting(10, expected, accepted, rejected)
    assert balance["rejected"] == {
        "by_stage": {"prepare": 2, "survey": 3},
        "by_reason": {"low_snr": 3, "not_fits": 2},
    }
    assert list(balance["types"]) == ["G", "M"]
    with pytest.raises(UserError, match="11 spectra in, 5 accepted, 5 rejected, 1 lost"):
        merge.accounting(11, expected, accepted, rejected)
    with pytest.raises(UserError, match="type G does not add up"):
        merge.accounting(10, expected, {"G": 4, "M": 0}, rejected)


def test_an_unknown_reason_fails(tmp_path):
    survey = tmp_path / "survey.csv"
    survey.write_text("spectrum_id,obsid,stage,reason\na,1,survey,bad_mood\n")
    with pytest.raises(UserError, match="bad_mood"):
        merge.merge_rejections(survey, {}, tmp_path / "rejected.csv")


# ---------------------------------------------------------------- tables


def test_chunks_do_not_change_the_bytes(tmp_path):
    table = spectra(30)
    fates = np.arange(30) % 5 // 3
    contents = []
    for run, cuts in enumerate(([], [7, 12])):
        chunks = [
            catalog_rows.read_chunk(
                *write_chunk(tmp_path / f"{run}{k}", table.iloc[index], fates[index])
            )
            for k, index in enumerate(np.split(np.arange(30) if run else np.arange(30)[::-1], cuts))
        ]
        rows, rejected = assembled(table, chunks[:: -1 if run else 1])
        paths = tmp_path / f"{run}.fits", tmp_path / f"{run}.csv"
        files.write_type(*paths, rows, rejected, REGISTRY, CARDS)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]


def test_values_arrive_in_the_table(tmp_path):
    table = spectra(12)
    rows, _ = assembled(
        table, [catalog_rows.read_chunk(*write_chunk(tmp_path, table, np.zeros(12, int)))]
    )
    expected = table.merge(fitted(table), on=["spectrum_id", "obsid"]).sort_values(
        ["lmjd", "spid", "fiberid"]
    )
    for name in (
        "obsid",
        "ra",
        "redshift",
        "snrr",
        "teff",
        "teff_err",
        "feh_first",
        "chi2_first",
        "fit_status",
    ):
        np.testing.assert_allclose(rows[name], expected[name], rtol=1e-6)
    assert set(rows["spectral_type"]) == {b"G"}
    assert set(rows["library"]) == {b"mastar"}
    assert set(rows["layout"]) == {b"table"}


def test_merged_files_hold_the_same_in_the_right_order(tmp_path):
    paths = write_types(tmp_path, {"M": 11, "OB": 7, "G": 23})
    counts = merge.merge_tables(
        paths, tmp_path / "all.fits", tmp_path / "all.parquet", REGISTRY, CARDS, block=5
    )
    assert counts["accepted"] == {"OB": 7, "G": 23, "M": 11}
    assert counts["layouts"] == {"table": 41}
    table, frame = Table.read(tmp_path / "all.fits"), files.read_table(tmp_path / "all.parquet")
    assert counts["n_recommended"] == (frame["recommended"] == 1).sum() > 0
    assert frame["spectral_type"].tolist() == ["OB"] * 7 + ["G"] * 23 + ["M"] * 11
    for column in REGISTRY:
        values, missing = frame[column.name], column.missing
        none = values.isna() | (values == (missing.decode() if column.is_string else missing))
        assert (column.name in counts["empty"]) == (none.all() and column.dtype != "uint8")
    assert {"dist", "gaia_source_id"} <= set(counts["empty"])
    assert "Without a value in this run: " in REGISTRY.datamodel(counts["empty"])
    parts = [row for name in ("OB", "G", "M") for row in Table.read(paths[name])["spectrum_id"]]
    assert frame["spectrum_id"].tolist() == parts
    assert table.colnames == list(frame.columns) == REGISTRY.names
    with fits.open(tmp_path / "all.fits") as hdus:
        hdus.verify("exception")
        for column in REGISTRY:
            stored = hdus[1].data[column.name]
            np.testing.assert_array_equal(
                np.asarray(stored), frame[column.name].to_numpy(stored.dtype.type)
            )
    metadata = pq.read_schema(tmp_path / "all.parquet").metadata
    assert metadata[b"creator"] == b"lamost-vac"


def test_block_size_and_repetition_do_not_change_the_bytes(tmp_path):
    paths = write_types(tmp_path, {"F": 40, "K": 17})
    merged = []
    for number, block in enumerate((1000, 1000, 7)):
        targets = tmp_path / f"{number}.fits", tmp_path / f"{number}.parquet"
        merge.merge_tables(paths, *targets, REGISTRY, CARDS, block)
        merged.append([target.read_bytes() for target in targets])
    assert merged[0] == merged[1]
    assert merged[0][0] == merged[2][0]
    pd.testing.assert_frame_equal(
        files.read_table(tmp_path / "0.parquet"), files.read_table(tmp_path / "2.parquet")
    )


def test_no_time_stamp_in_the_headers(tmp_path):
    paths = write_types(tmp_path, {"F": 3})
    with fits.open(paths["F"]) as hdus:
        assert not {"DATE", "CHECKSUM", "DATASUM"} & {*hdus[0].header, *hdus[1].header}


def test_a_type_without_spectra_is_an_empty_table(tmp_path):
    paths = write_types(tmp_path, {"G": 4})
    rows, rejected = assembled(spectra(0), [], "M")
    flags.set_flags(rows, REGISTRY, np.ones((3, 4)), "snrr", 10.0, 10.0, 7000.0, 0.02)
    files.write_type(
        tmp_path / "M.fits", tmp_path / "M_rejected.csv", rows, rejected, REGISTRY, CARDS
    )
    assert len(Table.read(tmp_path / "M.fits")) == 0
    assert (
        tmp_path / "M_rejected.csv"
    ).read_text() == "spectrum_id,obsid,stage,reason,network_reason,detail\n"
    both = {**paths, "M": tmp_path / "M.fits"}
    counts = merge.merge_tables(both, tmp_path / "a.fits", tmp_path / "a.parquet", REGISTRY, CARDS)
    assert counts["accepted"] == {"G": 4, "M": 0}
    only_m = {"M": tmp_path / "M.fits"}
    merge.merge_tables(only_m, tmp_path / "b.fits", tmp_path / "b.parquet", REGISTRY, CARDS)
    assert (
        len(Table.read(tmp_path / "b.fits")) == len(files.read_table(tmp_path / "b.parquet")) == 0
    )


def test_a_spectrum_in_two_types_fails(tmp_path):
    for name in ("F", "G"):
        rows, rejected = finished(spectra(8), name)
        files.write_type(
            tmp_path / f"{name}.fits", tmp_path / f"{name}.csv", rows, rejected, REGISTRY, CARDS
        )
    tables = {name: tmp_path / f"{name}.fits" for name in ("F", "G")}
    with pytest.raises(UserError, match="is in two chunks"):
        merge.merge_tables(tables, tmp_path / "a.fits", tmp_path / "a.parquet", REGISTRY, CARDS)
    assert not (tmp_path / "a.parquet").exists()


def test_merging_needs_the_memory_of_a_block_and_of_the_positions(tmp_path):
    """Not of the table: finding stars takes some 320 bytes per spectrum, holding the rows would take 360 more."""
    peaks, sizes = [], (20_000, 60_000)
    for n in sizes:
        rows = REGISTRY.empty(n)
        rows["spectrum_id"] = np.char.mod("%d", np.arange(n))
        rows["ra"], rows["dec"] = np.random.default_rng(1).uniform(0, 90, (2, n))
        files.write_fits(tmp_path / "G.fits", [rows], n, REGISTRY, CARDS)
        del rows
        tracemalloc.start()
        merge.merge_tables(
            {"G": tmp_path / "G.fits"},
            tmp_path / "a.fits",
            tmp_path / "a.parquet",
            REGISTRY,
            CARDS,
            2000,
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (sizes[1] - sizes[0]) < 400


def test_a_table_of_another_registry_is_refused(tmp_path):
    paths = write_types(tmp_path, {"G": 2})
    other = Registry(
        (dataclasses.replace(REGISTRY.columns[0], dtype="string[40]"), *REGISTRY.columns[1:])
    )
    with pytest.raises(UserError, match=r"other columns than config/columns\.yaml"):
        list(files.read_blocks(paths["G"], other))


def test_announced_rows_must_arrive(tmp_path):
    with pytest.raises(ValueError, match="1 rows were written, 2 announced"):
        files.write_fits(tmp_path / "x.fits", [REGISTRY.empty(1)], 2, REGISTRY, CARDS)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- flags


def test_snr_flag_knows_giants_and_missing_values():
    snr, logg = np.array([5.0, 5.1, 8.0, 8.1, np.nan]), np.array([4.0, 3.8, 3.7, 3.7, 4.0])
    assert flags.snr_flag(snr, logg, 5.0, 8.0).tolist() == [True, False, True, False, True]
    assert SnrFlagThresholds().of("OB") == (5.0, 8.0)
    assert SnrFlagThresholds().of("K") == (8.0, 8.0)


def test_chi2_flag_is_the_published_regression():
    rng = np.random.default_rng(2)
    labels = np.column_stack(
        [rng.uniform(4000, 7000, 300), rng.normal(size=(300, 2)), np.full(300, np.nan)]
    )
    chi2 = 1 + labels[:, 0] / 5000 + 0.1 * labels[:, 1] + rng.normal(0, 0.1, 300)
    reliable = rng.random(300) < 0.7
    design = np.column_stack([np.ones(300), labels[:, :3]])
    coefficients, *_ = np.linalg.lstsq(design[reliable], chi2[reliable])
    expected = chi2 > design @ coefficients
    np.testing.assert_array_equal(flags.chi2_flag(labels, chi2, reliable), expected)
    few = flags.chi2_flag(
        labels[:20], np.where(np.arange(20) == 3, np.nan, chi2[:20]), reliable[:20]
    )
    assert np.flatnonzero(few).tolist() == [3]


def test_cold_giants_are_those_of_the_paper():
    teff = np.array([4499.0, 4499, 4499, 4499, 4500, 4499, np.nan], np.float32)
    logg = np.array([2.0, 4.0, 1.99, 4.01, 3.0, np.nan, 3.0], np.float32)
    assert flags.cold_giants(teff, logg).tolist() == [True, True, *[False] * 5]
    assert not flags.cold_giants(teff, logg, max_teff=0.0).any()
    assert flags.cold_giants(teff, logg, limits=(1.0, 2.0)).tolist() == [
        True, False, True, *[False] * 4
    ]  # fmt: skip


def test_recommended_is_what_the_paper_asks_for():
    # Stars that nothing is wrong with, but for one thing each of the first: S/N, how the fit ended,
    # distance from the library, a cold giant, no fit, chi2; heat and outliers do not count.
    rows, _ = finished(spectra(200))
    rows["snrr"], rows["chi2"], rows["fit_status"], rows["outlier_fraction"] = 50, 1, 0, 0
    rows["teff"], rows["logg"], rows["feh"], rows["alpha_fe"] = 5500, 4.4, -0.2, 0.1
    rows["snrr"][1], rows["fit_status"][2], rows["fit_status"][3] = 5, 1, 2
    rows["teff"][4], rows["teff"][5], rows["logg"][5] = 20000, 4400, 3
    rows["fit_status"][6], rows["chi2"][7] = 3, np.nan
    rows["teff"][8], rows["outlier_fraction"][9] = 7200, 0.5
    library = np.array(
        [
            [teff, logg, -0.2, 0.1]
            for teff, logg in ((5500, 4.4), (5400, 4.4), (4400, 3), (7200, 4.4))
        ]
    )
    twice = flags.Chi2Regression(coefficients=(2.0,))
    flags.set_flags(rows, REGISTRY, library, "snrr", 8.0, 8.0, 7000.0, 0.02, regression=twice)
    assert np.flatnonzero(rows["recommended"] == 0).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert rows["flag_cold_giant"].nonzero()[0].tolist() == [5]
    assert rows["flags"][5] == 1 << REGISTRY["flag_cold_giant"].bit
    assert (rows["flag_alpha_fe"][8], rows["flag_outliers"][9]) == (1, 1)


def test_the_description_of_recommended_names_its_flags():
    said = REGISTRY["recommended"].description
    assert [name for name in REGISTRY.flag_bits if name in said] == [*flags.NOT_RECOMMENDED]


def test_outside_library_against_brute_force():
    rng = np.random.default_rng(4)
    library = np.column_stack(
        [10 ** rng.uniform(3.55, 4.3, 200), rng.uniform(0, 5, 200), rng.normal(size=200)]
    )
    library = np.column_stack([library, np.full(200, np.nan)])
    library[3, 1] = np.nan
    points = np.column_stack(
        [10 ** rng.uniform(3.4, 4.5, 100), rng.uniform(-1, 6, 100), rng.normal(0, 2, 100)]
    )
    points = np.column_stack([points, np.full(100, np.nan)])
    points[5, 0] = np.nan

    def scaled(values):
        return np.column_stack([np.log10(values[:, 0]), values[:, 1], values[:, 2]])

    stars = scaled(np.delete(library, 3, axis=0))
    spread = stars.std(axis=0)
    own = np.linalg.norm((stars[:, None] - stars[None]) / spread, axis=2) + np.diag(
        np.full(len(stars), np.inf)
    )
    limit = np.quantile(own.min(axis=1), 0.99)
    distance = np.linalg.norm((scaled(points)[:, None] - stars[None]) / spread, axis=2).min(axis=1)
    np.testing.assert_array_equal(flags.outside_library(points, library), ~(distance <= limit))


def test_flags_and_their_bits():
    rows = REGISTRY.empty(4)
    rows["snrr"], rows["logg"], rows["feh"], rows["chi2"] = 50, 4.4, -0.2, 1
    rows["teff"], rows["alpha_fe"] = [5500, 8000, 5500, 5500], [0.1, 0.1, np.nan, 0.1]
    rows["outlier_fraction"] = [0.0, 0.03, 0.02, 0.01]
    rows["fit_status"] = [
        vocabulary.CONVERGED,
        vocabulary.CONVERGED,
        vocabulary.EDGE,
        vocabulary.NO_PROGRESS,
    ]
    library = np.array([[5500, 4.4, -0.2], [8000, 4.4, -0.2], [6000, 4.0, 0.0]])
    library = np.column_stack([library, [0.1, 0.1, 0.0]])
    flags.set_flags(rows, REGISTRY, library, "snrr", 8.0, 8.0, 7000.0, 0.02)
    bits = REGISTRY.flag_bits
    assert rows["flag_alpha_fe"].tolist() == [0, 1, 1, 0]
    assert rows["flag_edge"].tolist() == [0, 0, 1, 0]
    assert rows["flag_no_convergence"].tolist() == [0, 0, 0, 1]
    assert rows["flag_outliers"].tolist() == [0, 1, 0, 0]
    for row in rows:
        assert row["flags"] == sum(int(row[name]) << bit for name, bit in bits.items())


def test_a_library_without_alpha_leaves_the_column_empty():
    rows, _ = finished(spectra(5))
    rows["alpha_fe"] = np.nan
    library = np.array(
        [[5500.0, 4.4, -0.2, np.nan], [5600.0, 4.5, -0.2, np.nan], [6000.0, 4.0, 0.0, np.nan]]
    )
    flags.set_flags(rows, REGISTRY, library, "snrr", 0.0, 0.0, 7000.0, 0.02)
    assert rows["flag_alpha_fe"].all()
    assert not rows["flag_outside_library"].all()


# ---------------------------------------------------------------- provenance


def test_configuration_hash_ignores_places_and_the_cut_into_jobs():
    base = {
        "run": {"results": "results", "seed": 1},
        "survey": {"root": "/a", "chunk_size": 10, "snr_band": "snrr"},
        "validation": {"enabled": True},
        "publication": {"title": "a"},
        "explorer": {"max_rows": 1},
    }
    moved = json.loads(json.dumps(base))
    moved["run"]["results"], moved["survey"]["root"], moved["survey"]["chunk_size"] = "r", "/b", 99
    moved["validation"]["enabled"], moved["publication"]["title"] = False, "b"
    moved["explorer"]["max_rows"] = 2
    assert configuration_hash(moved) == configuration_hash(base)
    moved["survey"]["snr_band"] = "snrg"
    assert configuration_hash(moved) != configuration_hash(base)


def test_without_git_the_commit_is_unknown(tmp_path):
    assert files.git_commit(tmp_path) == "unknown"
    cards = files.provenance(tmp_path, "0.1", "abc", "miles")
    assert cards["LIBRARY"][0] == "miles"
    assert all(len(keyword) <= 8 for keyword in cards)


def test_a_run_that_accepts_nothing_does_not_end_well():
    rejected = {"survey": Counter(), "G": Counter({("prepare", "missing_file"): 3})}
    with pytest.raises(
        UserError, match=r"none of the 3 spectra could be labelled \(3 missing_file\)"
    ):
        merge.require_some(merge.accounting(3, {"G": 3}, {"G": 0}, rejected))
    merge.require_some({"n_accepted": 1})
