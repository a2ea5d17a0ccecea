"""Labels of networks reach the catalogue whole, and the numbers about them are what they say they are."""

from collections import Counter

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.table import Table
from catalogue_chunks import CARDS, spectra, write_chunk
from claims import some

from lamostvac.catalog import files, merge
from lamostvac.catalog import flags as catalog_flags
from lamostvac.catalog import rows as catalog_rows
from lamostvac.catalog.registry import NetworkLabel, load_registry, network_labels
from lamostvac.configuration.root import configuration_hash
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import atomic_hdf5, write_columns
from lamostvac.core.paths import COLUMNS_PATH
from lamostvac.core.rejection import REASON_FLAGS, REASONS
from lamostvac.report import networks
from lamostvac.report.style import save
from lamostvac.training.load import load_training_sets
from lamostvac.validation import comparisons, statistics
from lamostvac.validation import comparisons as validation
from lamostvac.validation import networks as network_validation
from lamostvac.validation import subsets as validation_subsets
from lamostvac.validation import truth as validation_truth
from lamostvac.validation.match import match
from lamostvac.validation.schema import load_comparisons

pytestmark = pytest.mark.slow

TEFF = NetworkLabel(
    "teff_pastel", "K", "phys.temperature.effective", "effective temperature", "pastel"
)
MH = NetworkLabel("mh_apogee", "", "phys.abund.Z", "[M/H] in dex", "apogee")
LABELS = [TEFF, MH]
NAMES = [label.label for label in LABELS]
REGISTRY = load_registry(LABELS)
SHIPPED = [
    {
        "label": label.name,
        "set": entry.name,
        **label.model_dump(include={"unit", "ucd", "description"}),
    }
    for entry in load_training_sets(COLUMNS_PATH.parent / "training_sets.yaml")
    for label in entry.labels
]


def columns_of(label):
    return [
        label,
        f"{label}_err",
        f"{label}_err_random",
        f"{label}_spread",
        f"flag_{label}",
        f"flag_cloud_{label}",
    ]


# ---------------------------------------------------------------- registry


def test_every_label_has_six_columns_after_those_of_the_emulator():
    own = [name for label in NAMES for name in columns_of(label)]
    assert load_registry().names == [name for name in REGISTRY.names if name not in own]
    start = REGISTRY.names.index("fit_status") + 1
    assert REGISTRY.names[start : start + 12] == columns_of("teff_pastel") + columns_of("mh_apogee")
    assert REGISTRY.names[start + 12] == "l"
    column = REGISTRY["teff_pastel"]
    assert (column.unit, column.ucd) == ("K", "phys.temperature.effective")
    assert "effective temperature" in column.description
    assert "pastel" in column.origin
    assert REGISTRY["teff_pastel_err"].ucd == "stat.error;phys.temperature.effective"
    assert not any(
        "{" in text for c in REGISTRY for text in (c.name, c.unit, c.ucd, c.description, c.origin)
    )


def test_flags_of_networks_have_no_bit_but_are_flags():
    assert REGISTRY.flag_bits == load_registry().flag_bits
    assert set(REGISTRY.flags) - set(load_registry().flags) == {
        name for label in LABELS for name in label.flags
    }
    text = REGISTRY.datamodel()
    assert "stand for themselves" in text
    assert "`flag_cloud_mh_apogee`" in text
    assert "flag_cloud" not in load_registry().datamodel()


def test_the_shipped_training_sets_make_a_valid_registry():
    registry = load_registry(network_labels(SHIPPED))
    assert len(registry.names) == len(load_registry().names) + 6 * 24
    assert len(registry.header(3)) % 2880 == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ucd": "phys.temperature.cold"}, "label lithium: .*not UCD1"),
        ({"unit": "dex"}, "label lithium: .*FITS standard"),
        ({"label": "teff"}, "label teff: .*stands twice"),
        ({"description": "heat in °"}, "label lithium: .*ASCII"),
    ],
)
def test_a_mistake_in_a_users_set_names_set_and_label(change, complaint):
    entry = {
        "label": "lithium",
        "unit": "",
        "ucd": "phys.abund",
        "description": "A(Li)",
        "set": "mine",
    }
    with pytest.raises(UserError, match=f"training set mine: {complaint}"):
        load_registry([TEFF, NetworkLabel(**(entry | change))])


def test_a_label_without_ucd_has_the_most_general_one():
    registry = load_registry([NetworkLabel("age", "Gyr", "", "age", "mine")])
    assert (registry["age"].ucd, registry["age_err"].ucd) == ("stat.value", "stat.error;stat.value")


@pytest.mark.parametrize(
    ("section", "change", "complaint"),
    [
        ("columns", lambda flag: flag.pop("bit"), "say which `bit`"),
        ("network_columns", lambda flag: flag.pop("bit"), "say which `bit`"),
        (
            "network_columns",
            lambda flag: flag.update(description="{colour}"),
            "unknown word in braces",
        ),
    ],
)
def test_templates_and_flags_are_checked(tmp_path, section, change, complaint):
    content = yaml.safe_load(COLUMNS_PATH.read_text())
    flags = [entry for entry in content[section] if "bit" in entry]
    change(flags[-1])
    (tmp_path / "columns.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=complaint):
        load_registry(LABELS, tmp_path / "columns.yaml")


# ---------------------------------------------------------------- join


def predictions(table):
    """What the prediction stage writes."""
    columns = {"spectrum_id": table["spectrum_id"]}
    fibre = table["fiberid"].to_numpy(np.float32)
    for label, value in (("teff_pastel", 5000 + fibre), ("mh_apogee", -fibre / 100)):
        value = value.astype(np.float32)
        columns[label], columns[f"{label}_err"] = value, np.abs(value) / 100
        columns[f"{label}_err_random"] = np.abs(value) / 150
        columns[f"{label}_spread"] = np.abs(value) / 200
        columns[f"flag_{label}"] = np.isnan(value).astype(np.uint8)
        columns[f"cloud_{label}"] = (fibre % 2).astype(np.uint8)
    return pd.DataFrame(columns)


def write_predicted(path, table):
    with atomic_hdf5(path) as handle:
        write_columns(handle.create_group("labels"), table)
    return path


def chunk(folder, n=12):
    """Networks cannot use fibres 3 and 8, the emulator 6, 7 and 8; 5 is unreadable."""
    table = spectra(n)
    table["gaia_source_id"] = 2**62 + table["fiberid"]
    fibre = table["fiberid"].to_numpy()
    fates = np.select([fibre == 5, fibre == 6, (fibre == 7) | (fibre == 8)], [1, 2, 3], 0)
    unseen = (fibre == 3) | (fibre == 8)
    paths = write_chunk(folder, table, fates, unseen)
    seen = table[(fates != 1) & ~unseen].sample(frac=1, random_state=1)
    return table, paths, write_predicted(folder / "predicted.h5", predictions(seen))


def test_labels_of_networks_join_whatever_the_order_of_rows(tmp_path):
    table, paths, predicted = chunk(tmp_path)
    accepted, rejected = catalog_rows.read_chunk(*paths, predicted, LABELS)
    assert (len(accepted), len(rejected)) == (10, 2)
    both = rejected.set_index("spectrum_id").loc[
        [table.set_index("fiberid").loc[fibre, "spectrum_id"] for fibre in (5, 8)]
    ]
    assert both["reason"].tolist() == ["corrupt_gzip", "wavelength_coverage"]
    assert both["network_reason"].tolist() == ["corrupt_gzip", "too_few_pixels"]
    rows, _ = catalog_rows.assemble("G", 12, [(accepted, rejected)], REGISTRY, "mastar", "DR2")
    fibre = rows["fiberid"]
    seen = fibre != 3
    np.testing.assert_array_equal(rows["teff_pastel"][seen], 5000 + fibre[seen])
    np.testing.assert_allclose(rows["mh_apogee_spread"][seen], fibre[seen] / 20000, rtol=1e-6)
    np.testing.assert_array_equal(rows["flag_cloud_mh_apogee"][seen], fibre[seen] % 2)
    assert set(rows["gaia_source_id"]) == {-1}
    assert set(rows["gaia_release"]) == {b"DR2"}
    np.testing.assert_array_equal(rows["gaia_source_id_release"], 2**62 + fibre.astype(np.int64))
    unseen = rows[fibre == 3]
    assert all(
        np.isnan(unseen[f"{name}{end}"])
        for name in NAMES
        for end in ("", "_err", "_err_random", "_spread")
    )
    assert unseen["flag_teff_pastel"].tolist() == [1]
    assert np.isfinite(unseen["teff"]).all()
    assert set(table["spectrum_id"]) == {
        *np.char.decode(rows["spectrum_id"]), *rejected["spectrum_id"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda table: table.iloc[1:], "1 lost"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "1 unexpected or twice"),
        (lambda table: table.drop(columns="cloud_mh_apogee"), "lacks cloud_mh_apogee"),
    ],
)
def test_predictions_that_do_not_fit_the_chunk_are_refused(tmp_path, change, complaint):
    table, paths, predicted = chunk(tmp_path)
    content = predictions(table[~table["fiberid"].isin([3, 5, 8])])
    write_predicted(predicted, change(content))
    with pytest.raises(UserError, match=complaint):
        catalog_rows.read_chunk(*paths, predicted, LABELS)


def test_a_spectrum_that_one_system_cannot_label_has_the_labels_of_the_other(tmp_path):
    _, paths, predicted = chunk(tmp_path)
    rows, _ = catalog_rows.assemble(
        "G", 12, [catalog_rows.read_chunk(*paths, predicted, LABELS)], REGISTRY, "mastar"
    )
    own = rows[np.isin(rows["fiberid"], [6, 7])]
    assert np.isfinite(own["teff_pastel"]).all()
    for name in ("teff", "teff_err", "logg_first", "chi2", "logg_imig", "outlier_fraction"):
        assert np.isnan(own[name]).all(), name
    assert own["fit_status"].tolist() == [3, 3]
    assert own["n_pixels"].tolist() == [-1, -1]
    assert sorted(own["n_masked"]) == [-1, 700]
    assert (own["layout"] == b"table").all()
    assert own["sum_ormask"].tolist() == [3, 3]
    assert own["n_masked_network"].tolist() == [7, 7]
    (other,) = rows[rows["fiberid"] == 3]
    assert (other["n_masked"], other["n_masked_network"], other["layout"]) == (700, -1, b"table")


def test_without_networks_what_the_emulator_rejects_is_rejected(tmp_path):
    _, paths, _ = chunk(tmp_path)
    accepted, rejected = catalog_rows.read_chunk(*paths)
    assert (len(accepted), len(rejected)) == (8, 4)
    assert set(rejected["network_reason"]) == {""}
    assert Counter(rejected["stage"]) == {"prepare": 3, "fit": 1}


def test_without_a_network_that_is_applied_the_emulators_rejection_rejects(tmp_path):
    table, paths, predicted = chunk(tmp_path)
    content = predictions(table[~table["fiberid"].isin([3, 5, 8])])
    blank = content["spectrum_id"] == table.set_index("fiberid").loc[7, "spectrum_id"]
    content.loc[blank, NAMES] = np.nan
    write_predicted(predicted, content)
    accepted, rejected = catalog_rows.read_chunk(*paths, predicted, LABELS)
    assert (len(accepted), len(rejected)) == (9, 3)
    assert "no_network" in set(rejected["network_reason"])


def test_every_reason_of_one_system_alone_has_a_flag():
    for flag_of in some(REASON_FLAGS.values()):
        assert set(flag_of) <= set(REASONS)
        assert set(flag_of.values()) <= set(REGISTRY.flag_bits)


def test_flags_of_networks_are_counted_but_not_in_flags(tmp_path):
    _, paths, predicted = chunk(tmp_path)
    rows, rejected = catalog_rows.assemble(
        "G", 12, [catalog_rows.read_chunk(*paths, predicted, LABELS)], REGISTRY, "mastar"
    )
    library = np.array([[5500.0, 4.4, -0.2, 0.1], [6000.0, 4.0, 0.0, 0.0], [5000.0, 4.5, 0.0, 0.0]])
    catalog_flags.set_flags(rows, REGISTRY, library, "snrr", 8.0, 8.0, 7000.0, 0.02)
    bits = REGISTRY.flag_bits
    known = {
        flag: 1 << bits[flag] for flag in bits if flag.startswith(("flag_no_fit", "flag_no_net"))
    }
    raised = rows["flags"] & sum(known.values())
    by_fibre = dict(zip(rows["fiberid"].tolist(), raised.tolist(), strict=True))
    assert {fibre: bit for fibre, bit in by_fibre.items() if bit} == {
        3: known["flag_no_net_pixels"],
        6: known["flag_no_fit_outliers"],
        7: known["flag_no_fit_coverage"],
    }
    files.write_type(tmp_path / "G.fits", tmp_path / "G.csv", rows, rejected, REGISTRY, CARDS)
    counts = merge.merge_tables(
        {"G": tmp_path / "G.fits"}, tmp_path / "a.fits", tmp_path / "a.parquet", REGISTRY, CARDS
    )
    assert counts["flags"]["flag_teff_pastel"] == 1
    assert counts["flags"]["flag_cloud_mh_apogee"] == int(
        (rows["fiberid"][rows["fiberid"] != 3] % 2).sum()
    )
    assert Table.read(tmp_path / "a.fits").colnames == REGISTRY.names
    assert files.read_table(tmp_path / "a.parquet")["teff_pastel"].isna().sum() == 1


def test_the_hash_knows_the_training_sets_but_not_where_they_are():
    base = {
        "networks": {"root": "/a", "training_sets": "a.yaml", "members": 5},
        "training_sets": {"x": {"cut": 1}},
    }
    moved = {**base, "networks": {"root": "/b", "training_sets": "b.yaml", "members": 5}}
    assert configuration_hash(base) == configuration_hash(moved)
    other = {**base, "training_sets": {"x": {"cut": 2}}}
    assert configuration_hash(base) != configuration_hash(other)


# ---------------------------------------------------------------- validation


def catalogue(path, n=400, seed=3, **columns):
    """A catalogue as Parquet (three row groups) in which the networks are off by known amounts."""
    rng = np.random.default_rng(seed)
    rows = REGISTRY.empty(n)
    rows["spectrum_id"] = [f"s{i:04d}" for i in range(n)]
    rows["spectral_type"], rows["lmjd"] = b"G", 58000
    rows["ra"], rows["dec"] = np.arange(n) * 0.1, 20.0
    for band in "ugriz":
        rows[f"snr{band}"] = np.linspace(5, 120, n)
    for label, value, error in (
        ("teff", 5500, 80),
        ("logg", 4.3, 0.1),
        ("feh", -0.2, 0.1),
        ("alpha_fe", 0.1, 0.05),
    ):
        rows[label], rows[f"{label}_err"] = value, error
    rows["teff_pastel"], rows["teff_pastel_err"] = 5500 + rng.normal(0, 50, n), 50
    rows["mh_apogee"], rows["mh_apogee_err"] = -0.2 + rng.normal(0, 0.05, n), 0.05
    for name, values in columns.items():
        rows[name] = values
    pq.write_table(REGISTRY.to_arrow(rows), path, row_group_size=max(n // 3, 1))
    return rows


def by_key(rows):
    return {(row["subset"], row["label"]): row for row in rows}


def test_the_truth_of_a_label_is_named_without_its_set():
    expected = {
        "teff_pastel": "teff", "logg_apogee": "logg", "feh_apogee": "feh", "mh_apogee": "feh",
        "alpha_m_apogee": "alpha_fe", "c_fe_apogee": "c_fe", "n_fe_apogee": "n_fe", "feh_vmp": "feh",
        "abs_mag_g_gaia": "abs_mag_g_gaia", "abs_mag_bp": "abs_mag_bp",
    }  # fmt: skip
    found = {label.label: validation_truth.truth_column(label) for label in network_labels(SHIPPED)}
    assert {name: found[name] for name in expected} == expected
    assert (
        validation_truth.truth_column(NetworkLabel("age_mine", "Gyr", "", "age", "mine")) == "age"
    )


def test_truth_of_networks_leaves_out_stars_they_learned_from(tmp_path):
    rows = catalogue(tmp_path / "c.parquet", flag_teff_pastel=np.arange(400) % 4 == 0)
    truth = pd.DataFrame(
        {
            "spectrum_id": np.char.decode(rows["spectrum_id"]),
            "star_id": np.arange(400) // 2,
            "teff": 5490.0,
            "feh": -0.2,
        }
    )
    truth["is_binary"], truth["is_emission"] = np.arange(400) >= 380, np.arange(400) == 300
    truth.to_csv(tmp_path / "truth.csv", index=False)
    known = validation_truth.read_truth(tmp_path / "truth.csv", LABELS)
    table = validation_truth.match_spectra(tmp_path / "c.parquet", known, NAMES, REGISTRY)
    trained = network_validation.mark_trained(table, ["s0010", "s0381"])
    # The other spectrum of the same star too.
    assert table.loc[trained, "spectrum_id"].tolist() == ["s0010", "s0011", "s0380", "s0381"]
    subsets = network_validation.truth_subsets(table, "teff_pastel", trained, "snrg")
    sizes = {name: len(part) for name, part in subsets.items()}
    assert (sizes["all"], sizes["unflagged"]) == (377, 283)
    assert (sizes["training stars"], sizes["binaries"], sizes["emission"]) == (2, 14, 0)
    assert sum(sizes[name] for name in validation_subsets.snr_bins()) == 377
    assert sum(sizes[f"unflagged {name}"] for name in validation_subsets.snr_bins()) == 283
    numbers = by_key(comparisons.comparison_rows("truth", subsets, ["teff_pastel"]))[
        "unflagged", "teff_pastel"
    ]
    assert numbers["offset"] == pytest.approx(10, abs=8)
    assert numbers["sigma"] == pytest.approx(50, rel=0.15)
    pull = by_key(statistics.pull_rows(subsets, ["teff_pastel"]))["unflagged", "teff_pastel"]
    assert pull["width"] == pytest.approx(1, abs=0.15)


def test_unknown_truth_gives_empty_rows(tmp_path):
    catalogue(tmp_path / "c.parquet", n=3)
    pd.DataFrame({"spectrum_id": ["s0001"]}).to_csv(tmp_path / "truth.csv", index=False)
    known = validation_truth.read_truth(tmp_path / "truth.csv", LABELS)
    table = validation_truth.match_spectra(tmp_path / "c.parquet", known, NAMES, REGISTRY)
    trained = network_validation.mark_trained(table, ["s0001"])
    assert trained.tolist() == [True]
    subsets = network_validation.truth_subsets(table, "mh_apogee", trained, "snrg")
    assert all(
        row["n"] == 0 for row in comparisons.comparison_rows("truth", subsets, ["mh_apogee"])
    )


def training_set(rows):
    """Every spectrum of the catalogue, off by 20 K in training and 60 K in the test."""
    n = len(rows)
    split = np.array(["train", "test", "test", "clipped"])[np.arange(n) % 4]
    shift = np.select([split == "train", split == "test"], [20.0, 60.0], 500.0)
    return pd.DataFrame(
        {
            "spectrum_id": np.char.decode(rows["spectrum_id"]), "snr": rows["snrr"].astype(float),
            "teff_pastel": rows["teff_pastel"].astype(float) - shift, "split": split,
        }
    )  # fmt: skip


def test_training_comparisons_find_injected_numbers(tmp_path):
    rows = catalogue(tmp_path / "c.parquet")
    training = training_set(rows)
    table = validation_truth.match_spectra(
        tmp_path / "c.parquet",
        network_validation.with_references(training, ["teff_pastel"]),
        ["teff_pastel"],
        REGISTRY,
    )
    left = training[training["split"] == "train"]
    rng = np.random.default_rng(1)
    left = pd.DataFrame(
        {"spectrum_id": left["spectrum_id"], "snr": left["snr"], "reference": left["teff_pastel"],
         "left_out": left["teff_pastel"] + 30 + rng.normal(0, 40, len(left)), "clipped": False}
    )  # fmt: skip
    left.loc[left.index[:10], ["reference", "left_out"]] = [8000.0, 8030.0]
    # A clipped star is no star of the training set.
    left = pd.concat([left, left.iloc[:1].assign(left_out=1e6, clipped=True)])
    training.loc[left.index[:10], "teff_pastel"] = 8000.0
    teff = network_validation.reference_teff(training, [TEFF], table)
    tables = {"teff_pastel": network_validation.left_out_table(left, "teff_pastel", teff)}
    found = network_validation.training_rows("pastel", table, tables)
    assert {row["dataset"] for row in found} == {"training_pastel"}
    numbers = {row["subset"]: row for row in found}
    assert (numbers["train"]["n"], numbers["train"]["sigma"]) == (100, pytest.approx(0, abs=1e-3))
    assert numbers["train"]["offset"] == pytest.approx(20, abs=1e-3)
    assert (numbers["test"]["n"], numbers["clipped"]["n"]) == (200, 100)
    assert numbers["test"]["offset"] == pytest.approx(60, abs=1e-3)
    assert sum(numbers[f"test {name}"]["n"] for name in validation_subsets.snr_bins()) == 200
    assert numbers["left out"]["offset"] == pytest.approx(30, abs=10)
    cool = numbers["left out FGK S/N>20"]
    bright = (left["snr"] > 20) & (left["reference"] < 7000)
    assert cool["n"] == bright.sum() < 100
    assert cool["sigma"] == pytest.approx(40, rel=0.25)


def test_without_a_temperature_of_its_own_a_set_takes_the_catalogues(tmp_path):
    rows = catalogue(tmp_path / "c.parquet", teff=np.linspace(4000, 9000, 400))
    training = training_set(rows).rename(columns={"teff_pastel": "mh_apogee"})
    table = validation_truth.match_spectra(
        tmp_path / "c.parquet",
        network_validation.with_references(training, ["mh_apogee"]),
        ["mh_apogee"],
        REGISTRY,
    )
    teff = network_validation.reference_teff(training, [MH], table)
    assert teff["s0399"] == pytest.approx(9000)


def test_repeats_find_the_injected_scatter(tmp_path):
    n = 3000
    rng = np.random.default_rng(5)
    star, visit = np.arange(n) // 3, np.arange(n) % 3
    # The third visit is in the night of the second; S/N differs by a factor between the first two.
    columns = {
        "ra": star * 0.1 + rng.uniform(0, 1, n) / 3600, "dec": 10.0,
        "lmjd": 58000 + np.minimum(visit, 1),
        "teff_pastel": 5500 + star + rng.normal(0, 50, n) + 30 * (visit > 0),
        "teff": 5500 + star + rng.normal(0, 20, n),
        "alpha_fe": rng.normal(0, 0.1, n), "flag_alpha_fe": star % 2,
        "flag_cloud_teff_pastel": (star < 100) & (visit == 0),
        "teff_pastel_err_random": 50.0,
        "teff_err_random": np.where(star < 200, 1.0, 1000.0),
    }  # fmt: skip
    for band in "ugriz":
        columns[f"snr{band}"] = np.where(star % 2, 30.0, np.where(visit == 0, 30.0, 60.0))
    catalogue(tmp_path / "c.parquet", n, **columns)
    found = network_validation.repeat_rows(
        tmp_path / "c.parquet", dict.fromkeys([*validation.LABELS, *NAMES], "snrg"), REGISTRY
    )
    assert {row["dataset"] for row in found} == {"repeats"}
    numbers = by_key(found)
    network = numbers["all", "teff_pastel"]
    assert network["n"] == 2000
    assert network["offset"] == pytest.approx(30, abs=6)
    assert network["sigma"] == pytest.approx(50, rel=0.05)
    assert network["robust_sigma"] == pytest.approx(50, rel=0.1)
    assert numbers["all", "teff"]["sigma"] == pytest.approx(20, rel=0.05)
    assert numbers["unflagged", "teff_pastel"]["n"] == 1800
    # Some 3 in 1000 of those with right errors and an offset of 0.4 sigma; most of those with 1 K.
    assert 0 < numbers["beyond 3 sigma", "teff_pastel"]["n"] < 30
    far = numbers["beyond 3 sigma", "teff"]
    assert 300 < far["n"] < 400
    assert far["robust_sigma"] > 3
    assert numbers["beyond 3 sigma", "alpha_fe"]["n"] == 0
    # Only every other star has both spectra in one bin, and alike.
    assert numbers["S/N 20-40", "teff"]["n"] == numbers["S/N alike", "teff"]["n"] == 1000
    assert numbers["S/N 40-80", "teff"]["n"] == 0
    assert numbers["all", "alpha_fe"]["n"] == 1000


def test_a_catalogue_without_repeats_or_rows_has_none(tmp_path):
    for n in (5, 0):
        catalogue(tmp_path / f"{n}.parquet", n)
        bands = dict.fromkeys(NAMES, "snrg")
        found = network_validation.repeat_rows(tmp_path / f"{n}.parquet", bands, REGISTRY)
        assert found
        assert all(row["n"] == 0 for row in found)


def test_the_table_of_networks_puts_published_numbers_beside():
    rows = [
        {
            "dataset": "training_pastel",
            "subset": "left out",
            "label": "teff_pastel",
            "n": 7,
            "sigma": 70.0,
        },
        {
            "dataset": "training_pastel",
            "subset": "test",
            "label": "teff_pastel",
            "n": 5,
            "sigma": 90.0,
        },
        {
            "dataset": "truth",
            "subset": "unflagged S/N>=80",
            "label": "teff_pastel",
            "n": 5,
            "sigma": 60.0,
        },
    ]
    table = network_validation.networks_table(LABELS, rows, network_validation.load_published())
    assert table["label"].tolist() == NAMES
    first = table.iloc[0]
    assert (first["sigma_left_out"], first["sigma_test"], first["published_test"]) == (70, 90, 156)
    assert (first["n_test"], first["n_train"], first["sigma_truth_above_80"]) == (5, 0, 60)
    published = network_validation.load_published()
    assert set(published) == {label["label"] for label in SHIPPED}


def test_comparisons_can_name_labels_of_networks(tmp_path):
    rows = catalogue(
        tmp_path / "c.parquet", obsid=np.arange(400), flag_teff_pastel=np.arange(400) % 2
    )
    path = tmp_path / "comparisons.yaml"
    entry = {"name": "other", "title": "t", "file": "o.csv", "key": "obsid", "reference_key": "id",
             "labels": {"teff_pastel": "T"}, "missing": [-9999],
             "subsets": {"good": "flag_teff_pastel == 0"}}  # fmt: skip
    path.write_text(yaml.safe_dump({"comparisons": [entry]}))
    with pytest.raises(UserError, match="entry other: labels: this run has no label teff_pastel"):
        load_comparisons(path, load_registry())
    (comparison,) = load_comparisons(path, REGISTRY)
    (tmp_path / "o.csv").write_text("id,T\n3,5000\n4,5000\n5,-9999\n")
    table = match(tmp_path / "c.parquet", comparison, tmp_path / "o.csv", REGISTRY)
    found = by_key(comparisons.compare(table, comparison))
    assert (found["all", "teff_pastel"]["n"], found["good", "teff_pastel"]["n"]) == (2, 1)
    assert found["good", "teff_pastel"]["offset"] == pytest.approx(
        rows["teff_pastel"][4] - 5000, abs=1e-3
    )


# ---------------------------------------------------------------- figures


def every_figure(path, n):
    rows = catalogue(path, n, flag_teff_pastel=np.arange(n) % 5 == 0)
    training = training_set(rows).assign(teff=5500.0)
    table = validation_truth.match_spectra(
        path,
        network_validation.with_references(training, ["teff_pastel"]),
        ["teff_pastel"],
        REGISTRY,
    )
    drawn = pd.concat(
        [comparisons.pairs("training_pastel", table[table["split"] == part], ["teff_pastel"], subset=part)
         for part in ("train", "test")]
    )  # fmt: skip
    subsets = network_validation.truth_subsets(
        table.assign(binary=False, emission=False),
        "teff_pastel",
        np.zeros(len(table), bool),
        "snrg",
    )
    pulls = pd.DataFrame(
        statistics.pull_rows(subsets, ["teff_pastel"]), columns=statistics.PULL_COLUMNS
    )
    curves = np.vstack(
        [np.geomspace(1, 0.1, 20), np.r_[np.geomspace(1, 0.2, 10), np.full(10, np.nan)]]
    )
    histories = {"teff_pastel": {"loss": curves, "validation": curves * 1.5}} if n else {}
    return [
        networks.learning_curves(histories),
        networks.predictions("Title", drawn, ["teff_pastel"]),
        networks.training_planes("Title", training, [TEFF]),
        networks.residuals_by_snr(drawn, ["teff_pastel"]),
        networks.network_pulls(pulls, ["teff_pastel"]),
    ]


@pytest.mark.parametrize("n", [400, 1, 0])
def test_figures_are_drawn_for_many_one_and_no_stars_with_the_same_bytes(tmp_path, n):
    for run in ("a", "b") if n == 400 else ("a",):
        for number, figure in enumerate(every_figure(tmp_path / "c.parquet", n)):
            save(figure, tmp_path / f"{run}{number}.png")
    if n == 400:
        for path in some(tmp_path.glob("b*.png")):
            assert path.read_bytes() == (tmp_path / path.name.replace("b", "a", 1)).read_bytes()
    assert len(list(tmp_path.glob("a*.png"))) == 5


def test_planes_of_the_shipped_sets():
    labels = network_labels(SHIPPED)

    def of(name):
        return [
            (plane.x, plane.y) for plane in networks.planes([x for x in labels if x.set == name])
        ]

    assert of("pastel") == [(("teff_pastel",), "logg_pastel"), (("teff_pastel",), "feh_pastel")]
    assert (("mh_apogee",), "alpha_m_apogee") in of("apogee")
    assert of("apogee")[0] == (("teff",), "logg_apogee")
    assert (("abs_mag_bp", "abs_mag_rp"), "abs_mag_g_gaia") in of("lgmwas")
    assert of("vmp") == [(("teff",), "feh_vmp")]
