"""One spectral type's rows of the catalogue: its chunks joined, its errors put in.

A type's table is a record array in the byte order of FITS, filled chunk by chunk and sorted by
plate and fibre, so that the result does not depend on how the survey was cut into chunks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.catalog.files import ROW_GROUP
from lamostvac.catalog.registry import EmulatorLabels, NetworkLabel, Registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import open_hdf5, read_columns, read_text
from lamostvac.core.manifest import REJECTED_COLUMNS
from lamostvac.core.rejection import REASON_FLAGS
from lamostvac.core.vocabulary import CONVERGED, NO_FIT
from lamostvac.spectra.names import among, check_distinct
from lamostvac.uncertainty.factors import Factors
from lamostvac.uncertainty.models import LabelErrors, systematic_part
from lamostvac.uncertainty.snr_curve import RandomErrorModel


def read_chunk(
    manifest: str | Path,
    prepared: str | Path,
    fit: str | Path,
    predicted: str | Path | None = None,
    labels: Sequence[NetworkLabel] = (),
    second_fit: str | Path | None = None,
    grouped: str | Path | None = None,
    further_fit: str | Path | None = None,
    emulators: Sequence[EmulatorLabels] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One chunk's accepted and rejected spectra.

    A spectrum is rejected when neither the emulator nor a network gives it a label.

    Parameters
    ----------
    manifest : the chunk's rows as the survey stage wrote them (Parquet)
    prepared : HDF5 with the tables of `lamostvac.spectra.chunk.prepare_chunk` as groups
    fit : HDF5 with groups `fit` and `rejected`
    predicted : HDF5 with group `labels`, a row for each of `network_meta`; None in a run without
        networks
    labels : the labels of networks, in any order
    second_fit : like `fit`, by the second emulator; None in a run without one
    grouped : HDF5 of `grouped.groups.write_labels`, of the chunk or of its type; None in a run
        without a grouped search
    further_fit : HDF5 with groups like those of `fit` in a group for each of `emulators`, the
        emulators beside the first; None in a run without any

    Returns
    -------
    accepted : one row per spectrum with labels, columns of manifest (`gaia_source_id` of the release
        as `gaia_source_id_release`), preparation, fit and networks
        together. Columns of a system that does not label the spectrum are missing (NaN, -1), and
        the flag of that system's reason (`REASON_FLAGS`) is 1; `fit_status` is NO_FIT without a fit. With
        `second_fit` its log g as `logg_imig` with `_err` and `_err_random`, NaN where it rejected the
        spectrum, with `grouped` the labels `{label}_grouped`, `chi2_grouped` and `fit_group`, and
        with `further_fit` the columns of `emulators`
    rejected : `spectrum_id obsid stage reason network_reason detail` plus the manifest's sort key

    Raises
    ------
    UserError
        A spectrum of the manifest is in neither table, or in both, or a table has one that the
        manifest does not have; the message names it. Or `predicted` lacks a label.
    """
    rows = pd.read_parquet(manifest).reset_index(drop=True)
    prepared_tables = _read_groups(prepared)
    meta, bad = prepared_tables["meta"], prepared_tables["rejected"]
    fit_tables = _read_groups(fit, ("fit", "rejected"))
    fitted, failed = fit_tables["fit"], fit_tables["rejected"]
    _check_partition(rows["spectrum_id"], (meta, bad), str(prepared))
    _check_partition(meta["spectrum_id"], (fitted, failed), str(fit))
    without_fit = pd.concat([table for table in (bad, failed) if len(table)] or [bad])
    own = [name for name in rows.columns if name != "spectrum_id"]
    emulator = meta.drop(columns=own, errors="ignore").merge(
        fitted.drop(columns=own, errors="ignore"), on="spectrum_id", how="left", validate="1:1"
    )
    if second_fit is not None:
        second = _read_groups(second_fit, ("fit", "rejected"))
        _check_partition(meta["spectrum_id"], tuple(second.values()), str(second_fit))
        names = {part: f"logg_imig{part.removeprefix('logg')}" for part in _SECOND}
        found = second["fit"][["spectrum_id", *_SECOND]].rename(columns=names)
        # What the first emulator cannot label has no labels of the emulator at all.
        found = found[among(found["spectrum_id"], fitted["spectrum_id"])]
        emulator = emulator.merge(found, on="spectrum_id", how="left", validate="1:1")
    if grouped is not None:
        found = _read_grouped(grouped, Path(manifest).stem)
        _check_partition(meta["spectrum_id"], (found,), str(grouped))
        found = found[among(found["spectrum_id"], fitted["spectrum_id"])]
        emulator = emulator.merge(found, on="spectrum_id", how="left", validate="1:1")
    table = rows.rename(columns={"gaia_source_id": "gaia_source_id_release"})
    table = table.merge(emulator, on="spectrum_id", how="left", validate="1:1")
    table["fit_status"] = table["fit_status"].fillna(NO_FIT).astype(np.uint8)
    table["in_library"] = table["in_library"].fillna(0).astype(np.uint8)
    for system in emulators:
        found = _read_further(str(further_fit), system, meta)
        table = table.merge(found, on="spectrum_id", how="left", validate="1:1")
        missing = {system.status: NO_FIT, f"in_library_{system.name}": 0}
        for name, value in missing.items():
            table[name] = table[name].fillna(value).astype(np.uint8)
    if grouped is not None:
        table["fit_group"] = table["fit_group"].fillna(-1).astype(np.int64)
    table = _with_reasons(table, "emulator", without_fit)
    labelled = among(table["spectrum_id"], fitted["spectrum_id"])
    reasons = without_fit.assign(network_reason="")
    if predicted is not None:
        seen, unseen = prepared_tables["network_meta"], prepared_tables["network_rejected"]
        _check_partition(rows["spectrum_id"], (seen, unseen), str(prepared))
        found = _read_predicted(predicted, labels)
        _check_partition(seen["spectrum_id"], (found,), str(predicted))
        table = _with_networks(
            table, seen.drop(columns=own, errors="ignore").merge(found, on="spectrum_id"), labels
        )
        table = _with_reasons(table, "networks", unseen)
        labelled |= table[[label.label for label in labels]].notna().any(axis=1)
        known = unseen.set_index("spectrum_id")["reason"]
        network_reason = reasons["spectrum_id"].map(known).astype(object).fillna("no_network")
        reasons["network_reason"] = network_reason.astype(object)
    key = rows.loc[~labelled, ["spectrum_id", "lmjd", "planid", "spid", "fiberid"]]
    rejected = key.merge(reasons[[*REJECTED_COLUMNS, "detail"]], on="spectrum_id", validate="1:1")
    return table[labelled].reset_index(drop=True), rejected


_SECOND = ("logg", "logg_err", "logg_err_random")


def _read_further(path: str, emulator: EmulatorLabels, meta: pd.DataFrame) -> pd.DataFrame:
    """`spectrum_id` and the columns of an emulator beside the first, under the catalogue's names."""
    with open_hdf5(path) as handle:
        if emulator.name not in handle:
            raise UserError(f"{path} lacks {emulator.name}; delete the file and run again")
        tables = {name: read_columns(handle[emulator.name][name]) for name in ("fit", "rejected")}
    _check_partition(meta["spectrum_id"], tuple(tables.values()), path)
    names = {"spectrum_id": "spectrum_id", "chi2": f"chi2_{emulator.name}"}
    names |= {"fit_status": emulator.status, "in_library": f"in_library_{emulator.name}"}
    for label, column in emulator.columns.items():
        names |= {f"{label}{part}": f"{column}{part}" for part in ("", "_err", "_err_random")}
    return tables["fit"][list(names)].rename(columns=names)


def _read_groups(path: str | Path, names: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
    """Tables of an HDF5 file by the names of their groups, all or some."""
    with open_hdf5(path) as handle:
        return {name: read_columns(handle[name]) for name in names or handle}


def _with_networks(
    table: pd.DataFrame, found: pd.DataFrame, labels: Sequence[NetworkLabel]
) -> pd.DataFrame:
    """`table` with the networks' columns; what both preparations say is taken from either."""
    table = table.merge(found, on="spectrum_id", how="left", validate="1:1", suffixes=("", "_too"))
    for name in ("layout", "sum_ormask"):
        own, other = table[name], table.pop(f"{name}_too")
        table[name] = own.fillna(other) if own.notna().any() else other
    table["n_masked_network"] = table["n_masked_network"].fillna(-1)
    for label in labels:
        # Missing is beyond the grid; nothing was compared with the training cloud.
        beyond, unlike = label.flags
        table[beyond], table[unlike] = table[beyond].fillna(1), table[unlike].fillna(0)
    return table


def _with_reasons(table: pd.DataFrame, system: str, rejected: pd.DataFrame) -> pd.DataFrame:
    """`table` with the flags (`REASON_FLAGS`) of a system that rejected some of its spectra."""
    reason = table["spectrum_id"].map(rejected.set_index("spectrum_id")["reason"])
    flags = {flag: (reason == name).astype(np.uint8) for name, flag in REASON_FLAGS[system].items()}
    return table.assign(**flags)


def _read_predicted(path: str | Path, labels: Sequence[NetworkLabel]) -> pd.DataFrame:
    """`spectrum_id` and the columns of each label, under the catalogue's names."""
    sources = {"spectrum_id": "spectrum_id"}
    for label in labels:
        name = label.label
        sources |= {
            f"{name}{suffix}": f"{name}{suffix}"
            for suffix in ("", "_err", "_err_random", "_spread")
        }
        sources |= dict(zip(label.flags, (f"flag_{name}", f"cloud_{name}"), strict=True))
    with open_hdf5(path) as handle:
        group = handle["labels"]
        if missing := [name for name in sources.values() if name not in group]:
            raise UserError(f"{path} lacks {missing[0]}; delete the file and run again")
        found = read_columns(group, list(sources.values()))
    return found.set_axis(list(sources), axis=1)


def _read_grouped(path: str | Path, chunk: str) -> pd.DataFrame:
    """What the grouped search found for a chunk's spectra, under the catalogue's names."""
    with open_hdf5(path) as handle:
        chunks = [name.decode() for name in handle["chunks"][()]]
        number = chunks.index(chunk) if chunk in chunks else None
        rows = slice(0, 0) if number is None else slice(*handle["limits"][number : number + 2])
        names = read_text(handle.attrs, "label_names").split(",")
        found = handle["labels"][rows].T
        labels = {f"{name}_grouped": found[i] for i, name in enumerate(names)}
        return pd.DataFrame(
            {
                "spectrum_id": handle["spectrum_id"][rows].astype(str),
                **labels,
                "chi2_grouped": handle["chi2"][rows],
                "fit_group": handle["fit_group"][rows],
            }
        )


def _check_partition(expected: pd.Series, parts: Sequence[pd.DataFrame], path: str) -> None:
    """Every expected spectrum is in exactly one of `parts`, and nothing else is."""
    named = pd.concat([part["spectrum_id"] for part in parts if len(part)] or [expected[:0]])
    if (
        len(named) == len(expected)
        and named.is_unique
        and expected.is_unique
        and bool(among(expected, named).all())
    ):
        return
    # By name, which takes ten times as long.
    wanted = Counter(expected)
    found = Counter(identity for part in parts for identity in part["spectrum_id"])
    for trouble, names in (
        ("lost: neither accepted nor rejected", wanted - found),
        ("unexpected or twice", found - wanted),
        ("twice in the manifest", wanted - Counter(set(wanted))),
    ):
        if names:
            listed = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            raise UserError(
                f"{path} does not account for its spectra: {names.total()} {trouble} ({listed}); "
                f"delete the file and run again, and report it if it comes back"
            )


def assemble(
    spectral_type: str,
    n_spectra: int,
    chunks: Iterable[tuple[pd.DataFrame, pd.DataFrame]],
    registry: Registry,
    library: str,
    gaia_release: str = "",
) -> tuple[NDArray[np.void], pd.DataFrame]:
    """All chunks of a type in one table.

    Parameters
    ----------
    n_spectra : spectra of the type in the survey's manifest, an upper limit of the rows
    chunks : accepted and rejected tables of each chunk (`read_chunk`)
    gaia_release : Gaia's data release of the survey's identifiers; empty where it is not known

    Returns
    -------
    rows : (n,) records of the registry, flags not yet set, sorted by lmjd, planid, spid, fiberid
    rejected : `REJECTED_COLUMNS` and `detail`, sorted the same way

    Raises
    ------
    UserError
        Accepted and rejected do not add up to `n_spectra`, or a spectrum is in two chunks.
    """
    rows = registry.empty(n_spectra)
    rejections = []
    n = n_rejected = 0
    for accepted, rejected in chunks:
        if n + n_rejected + len(accepted) + len(rejected) > n_spectra:
            raise UserError(
                f"the chunks of type {spectral_type} hold more than the manifest's {n_spectra} spectra"
            )
        registry.fill(rows[n : n + len(accepted)], accepted)
        n += len(accepted)
        n_rejected += len(rejected)
        rejections.append(rejected)
    if n + n_rejected != n_spectra:
        raise UserError(
            f"the manifest has {n_spectra} spectra of type {spectral_type}, but {n} are accepted and {n_rejected} "
            f"rejected; delete the results of that type and run again"
        )
    rows = rows[:n]
    rows["spectral_type"] = spectral_type.encode()
    rows["library"] = library.encode()
    known = rows["gaia_source_id_release"] >= 0
    rows["gaia_release"] = np.where(known, gaia_release.encode(), b"")
    rows["flags"] = 0
    rows = rows[np.lexsort((rows["fiberid"], rows["spid"], rows["planid"], rows["lmjd"]))]
    check_distinct(rows["spectrum_id"])
    rejected = pd.concat(
        [table for table in rejections if len(table)] or [pd.DataFrame(columns=[*REJECTED_COLUMNS])]
    )
    if len(rejected):
        rejected = rejected.sort_values(["lmjd", "planid", "spid", "fiberid"], kind="stable")
    return rows, rejected.reindex(columns=[*REJECTED_COLUMNS, "detail"])


def apply_errors(
    rows: NDArray[np.void], models: Mapping[str, LabelErrors], block: int = ROW_GROUP
) -> None:
    """Put the errors of `models` into `{label}_err` and `{label}_err_random` of rows (n,), in place.

    Errors are within a hundredth of those of `LabelErrors.apply` (`uncertainty.factors`).
    """
    alike: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for label, model in models.items():
        alike.setdefault((model.snr_band, model.theta, model.status), []).append(label)
    factors = {
        key: Factors([part for name in labels for part in models[name].processes])
        for key, labels in alike.items()
    }
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        for (band, names, status), labels in alike.items():
            theta = np.column_stack([part[name].astype(np.float64) for name in names])
            theta[part[status] != CONVERGED] = np.nan
            found = factors[band, names, status](theta, part[band].astype(np.float64))
            for number, label in enumerate(labels):
                random = part[f"{label}_err_random"].astype(np.float64)
                systematic = systematic_part(part[f"{label}_err"].astype(np.float64), random)
                part[f"{label}_err"], part[f"{label}_err_random"] = models[label].corrected(
                    found[:, 2 * number], found[:, 2 * number + 1], random, systematic
                )


def apply_curves(
    rows: NDArray[np.void], curves: Mapping[str, RandomErrorModel], keep: bool
) -> list[str]:
    """Put errors of `curves`, functions of S/N alone, into rows (n,) in place, where a label is.

    Returns the labels whose curve or method error is unknown. Where `keep` they keep the errors
    that they have, else they have none.
    """
    unknown = []
    for label, model in curves.items():
        if not np.isfinite(model.total(1.0)):
            unknown.append(label)
            if keep:
                continue
        known = np.isfinite(rows[label])
        snr = rows[model.snr_band].astype(np.float64)
        rows[f"{label}_err"] = np.where(known, model.total(snr), np.nan)
        rows[f"{label}_err_random"] = np.where(known, model.evaluate(snr), np.nan)
    return unknown
