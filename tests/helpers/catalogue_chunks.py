"""Chunks of a type as prepare and fit leave them, without spectra."""

import numpy as np
import pandas as pd

from lamostvac.core.hdf5 import atomic_hdf5, write_columns

CARDS = {"CREATOR": ("lamost-vac", "program"), "CONFHASH": ("0" * 64, "configuration")}
COMMON = {"layout": "table", "sum_ormask": 3}
LABELS = {"teff": 5500.0, "logg": 4.4, "feh": -0.2, "alpha_fe": 0.1}


def spectra(n, seed=1, plate="HD1"):
    """A manifest (n rows), not in the order of the catalogue."""
    rng = np.random.default_rng(seed)
    fibre = rng.permutation(n) + 1
    table = pd.DataFrame(
        {
            "lmjd": 58000 + fibre % 3,
            "planid": plate,
            "spid": fibre % 16 + 1,
            "fiberid": fibre,
            "obsid": 1000 + fibre,
            "designation": "LAMOST J000000.00+000000.0",
            "obsdate": "2020-01-01",
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-10, 60, n),
            "lamost_class": "STAR",
            "subclass": "G5",
            "redshift": rng.normal(0, 1e-4, n),
            "redshift_err": 1e-5,
            "path": "spectrum.fits.gz",
        }
    )
    for band in "ugriz":
        table[f"snr{band}"] = rng.uniform(5, 100, n)
    keys = zip(table["lmjd"], table["planid"], table["spid"], table["fiberid"], strict=True)
    return table.assign(
        spectrum_id=[f"{mjd}-{plan}-{spid:02d}-{fibre:03d}" for mjd, plan, spid, fibre in keys]
    )


def fitted(table):
    columns = {"spectrum_id": table["spectrum_id"], "obsid": table["obsid"]}
    for label, value in LABELS.items():
        columns[label] = value * (1 + 0.01 * (table["fiberid"] % 7))
        columns[f"{label}_err"] = 0.01 * abs(value)
        columns[f"{label}_first"] = value
    chi2 = 1 + 0.618 * table["fiberid"] % 1
    return pd.DataFrame(
        columns
        | {
            "chi2": chi2,
            "chi2_first": 2 * chi2,
            "n_pixels": 4000,
            "n_outliers": 0,
            "outlier_fraction": 0.0,
            "n_iterations": 5,
            "fit_status": np.int8(0),
            "in_library": False,
        }
    )


def rejections(table, stage, reason):
    return table[["spectrum_id", "obsid"]].assign(stage=stage, reason=reason, detail="because")


def write_chunk(folder, table, fates, unseen=None):
    """Files of one chunk.

    `fates` (n,) is 0 fitted, 1 unreadable, 2 rejected by fit, 3 rejected by the emulator's preparation.
    With `unseen` (n,), whether networks cannot use a spectrum, the chunk is prepared for networks.
    """
    fates = np.asarray(fates)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "chunk.parquet", folder / "prepared.h5", folder / "fit.h5"
    table.to_parquet(paths[0])
    with atomic_hdf5(paths[1]) as handle:
        meta = table[(fates == 0) | (fates == 2)].assign(n_masked=700, **COMMON)
        write_columns(handle.create_group("meta"), meta)
        common = rejections(table[fates == 1], "prepare", "corrupt_gzip")
        own = rejections(table[fates == 3], "prepare", "wavelength_coverage")
        write_columns(handle.create_group("rejected"), pd.concat([common, own]))
        if unseen is not None:
            readable = fates != 1
            meta = table[readable & ~unseen].assign(n_masked_network=7, **COMMON)
            write_columns(handle.create_group("network_meta"), meta)
            own = rejections(table[readable & unseen], "prepare", "too_few_pixels")
            write_columns(handle.create_group("network_rejected"), pd.concat([common, own]))
    with atomic_hdf5(paths[2]) as handle:
        write_columns(handle.create_group("fit"), fitted(table[fates == 0]))
        write_columns(
            handle.create_group("rejected"),
            rejections(table[fates == 2], "fit", "too_many_outliers"),
        )
    return paths
