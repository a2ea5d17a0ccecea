"""The catalogue: chunks joined into one table per type, types merged, every spectrum accounted for.

A type's table is a record array in the byte order of FITS, filled chunk by chunk and sorted by plate
and fibre, so that the result does not depend on how the survey was cut into chunks. Merging copies
the rows' bytes block by block: its memory does not grow with the number of stars.
"""

import csv
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lamostvac.error_models import LabelErrors, systematic_part
from lamostvac.errors import REASONS, UserError
from lamostvac.files import REJECTED_COLUMNS, atomic, read_columns
from lamostvac.random_error import RandomErrorModel
from lamostvac.registry import NetworkLabel, Registry
from lamostvac.spectrum_names import fingerprint
from lamostvac.unique import best_spectra

CODE_VERSION = 4
TYPE_ORDER = ("OB", "A", "F", "G", "K", "M")
LABELS = ("teff", "logg", "feh", "alpha_fe")
# Codes of fit_status (lamostvac/refine.py).
CONVERGED, EDGE, NO_PROGRESS = 0, 1, 2
# Giants and dwarfs have different S/N thresholds (Liang et al. 2024, Table 2).
GIANT_LOGG = 3.8
# Rows of a Parquet row group, and of a block while merging (30 MB, with two dozen labels of networks 80 MB).
ROW_GROUP = 131072
_FITS_BLOCK = 2880


# ---------------------------------------------------------------- one type


def read_chunk(
    manifest: str | Path,
    prepared: str | Path,
    fit: str | Path,
    predicted: str | Path | None = None,
    labels: Sequence[NetworkLabel] = (),
    second_fit: str | Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One chunk's accepted and rejected spectra.

    Parameters
    ----------
    manifest : the chunk's rows as the survey stage wrote them (Parquet)
    prepared : HDF5 with groups `meta` and `rejected`
    fit : HDF5 with groups `fit` and `rejected`
    predicted : HDF5 with group `labels`, a row for each of `meta`; None in a run without networks
    labels : the labels of networks, in any order
    second_fit : like `fit`, by the second emulator; None in a run without one

    Returns
    -------
    accepted : one row per spectrum with a fit, columns of manifest, meta, fit and networks together, and with
        `second_fit` its log g as `logg_imig` with `_err` and `_random`, NaN where it rejected the spectrum
    rejected : `spectrum_id obsid stage reason detail` plus the manifest's sort key

    Raises
    ------
    UserError
        A spectrum of the manifest is in neither table, or in both, or a table has one that the
        manifest does not have; the sentence names it. Or `predicted` lacks a label.
    """
    rows = pd.read_parquet(manifest)
    with h5py.File(prepared) as handle:
        meta, bad = read_columns(handle["meta"]), read_columns(handle["rejected"])
    with h5py.File(fit) as handle:
        fitted, failed = read_columns(handle["fit"]), read_columns(handle["rejected"])
    _check_partition(rows["spectrum_id"], (meta, bad), str(prepared))
    _check_partition(meta["spectrum_id"], (fitted, failed), str(fit))
    extra = [name for name in meta.columns if name not in rows.columns]
    accepted = rows.merge(meta[["spectrum_id", *extra]], on="spectrum_id", validate="1:1")
    new = [name for name in fitted.columns if name not in accepted.columns]
    accepted = accepted.merge(fitted[["spectrum_id", *new]], on="spectrum_id", validate="1:1")
    if predicted is not None:
        found = _read_predicted(predicted, labels)
        _check_partition(meta["spectrum_id"], (found,), str(predicted))
        accepted = accepted.merge(found, on="spectrum_id", validate="1:1")
    if second_fit is not None:
        with h5py.File(second_fit) as handle:
            found = read_columns(handle["fit"], ["spectrum_id", "logg", "logg_err", "logg_random"])
            parts = found, read_columns(handle["rejected"])
        _check_partition(meta["spectrum_id"], parts, str(second_fit))
        found = found.set_axis(
            ["spectrum_id", *(f"logg_imig{part}" for part in ("", "_err", "_random"))], axis=1
        )
        accepted = accepted.merge(found, on="spectrum_id", how="left", validate="1:1")
    key = rows[["spectrum_id", "lmjd", "planid", "spid", "fiberid"]]
    rejected = pd.concat([table for table in (bad, failed) if len(table)] or [bad])
    rejected = key.merge(rejected[[*REJECTED_COLUMNS, "detail"]], on="spectrum_id", validate="1:1")
    return accepted, rejected


def _read_predicted(path: str | Path, labels: Sequence[NetworkLabel]) -> pd.DataFrame:
    """`spectrum_id` and the columns of each label, under the catalogue's names."""
    sources = {"spectrum_id": "spectrum_id"}
    for label in labels:
        name = label.label
        sources |= {f"{name}{suffix}": f"{name}{suffix}" for suffix in ("", "_err", "_random", "_spread")}
        sources |= dict(zip(label.flags, (f"flag_{name}", f"cloud_{name}"), strict=True))
    with h5py.File(path) as handle:
        group = handle["labels"]
        if missing := [name for name in sources.values() if name not in group]:
            raise UserError(f"{path} lacks {missing[0]}; delete the file and run again")
        found = read_columns(group, list(sources.values()))
    return found.set_axis(list(sources), axis=1)


def _check_partition(expected: pd.Series, parts: Sequence[pd.DataFrame], path: str) -> None:
    """Every expected spectrum is in exactly one of `parts`, and nothing else is."""
    wanted = Counter(expected)
    found = Counter(identity for part in parts for identity in part["spectrum_id"])
    if wanted == found and all(count == 1 for count in wanted.values()):
        return
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
) -> tuple[NDArray[np.void], pd.DataFrame]:
    """All chunks of a type in one table.

    Parameters
    ----------
    n_spectra : spectra of the type in the survey's manifest, an upper limit of the rows
    chunks : accepted and rejected tables of each chunk (`read_chunk`)

    Returns
    -------
    rows : (n,) records of the registry, flags not yet set, sorted by lmjd, planid, spid, fiberid
    rejected : `spectrum_id obsid stage reason detail`, sorted the same way

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
    rows["flags"] = 0
    rows = rows[np.lexsort((rows["fiberid"], rows["spid"], rows["planid"], rows["lmjd"]))]
    check_distinct(rows["spectrum_id"])
    rejected = pd.concat(
        [table for table in rejections if len(table)] or [pd.DataFrame(columns=[*REJECTED_COLUMNS])]
    )
    if len(rejected):
        rejected = rejected.sort_values(["lmjd", "planid", "spid", "fiberid"], kind="stable")
    return rows, rejected.reindex(columns=[*REJECTED_COLUMNS, "detail"])


def check_distinct(identities: NDArray[np.bytes_]) -> None:
    """Raise `UserError` naming a spectrum that stands twice."""
    values, counts = np.unique(identities, return_counts=True)
    if (counts > 1).any():
        name = values[counts > 1][0].decode()
        raise UserError(f"the spectrum {name} is in two chunks; run the survey stage again")


# ---------------------------------------------------------------- flags


def snr_flag(
    snr: NDArray[np.floating], logg: NDArray[np.floating], dwarf: float, giant: float
) -> NDArray[np.bool_]:
    """Where S/N is not above the threshold (n,); a missing S/N is not.

    `dwarf` and `giant` are the thresholds for log g >= 3.8 and below (Liang et al. 2024, Table 2).
    """
    return ~(snr > np.where(logg < GIANT_LOGG, giant, dwarf))


def chi2_flag(
    labels: NDArray[np.floating], chi2: NDArray[np.floating], reliable: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where chi2 exceeds its linear regression on the labels (Liang et al. 2024, section 4.4).

    Parameters
    ----------
    labels : (n, k); columns with no finite value are left out
    chi2 : (n,)
    reliable : (n,) the stars that the regression is fitted to: S/N above the threshold

    Returns
    -------
    (n,) True where chi2 exceeds the regression, or is missing. With fewer than ten stars per
    coefficient there is no regression, and only missing values are flagged.
    """
    expected = expected_chi2(labels, chi2, reliable)
    if expected is None:
        return ~np.isfinite(chi2)
    with np.errstate(invalid="ignore"):
        return ~(chi2 <= expected)


def expected_chi2(
    labels: NDArray[np.floating], chi2: NDArray[np.floating], reliable: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    """The regression (n,) that `chi2_flag` compares chi2 with, or None where there are too few stars for one."""
    labels = labels[:, np.isfinite(labels).any(axis=0)].astype(np.float64)
    complete = np.isfinite(labels).all(axis=1) & np.isfinite(chi2)
    used = reliable & complete
    if used.sum() < 10 * (labels.shape[1] + 1):
        return None
    centre, scale = labels[used].mean(axis=0), labels[used].std(axis=0)
    design = np.column_stack([np.ones(len(labels)), (labels - centre) / np.where(scale > 0, scale, 1.0)])
    coefficients = np.linalg.lstsq(design[used], chi2[used].astype(np.float64), rcond=None)[0]
    with np.errstate(invalid="ignore"):
        return np.asarray(design @ coefficients)


def outside_library(labels: NDArray[np.floating], library: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where the nearest library star is too far for the emulator to interpolate.

    Distances are in labels scaled by the library's standard deviation, with log Teff. Too far is
    farther than 99 % of the library's stars are from their own nearest neighbour: the library
    itself sets the scale, there is nothing to tune.

    Parameters
    ----------
    labels : (n, k), Teff in K first; rows that are not finite count as outside
    library : (m, k), rows that are not finite are left out
    """
    distances, limit = library_distances(labels, library)
    return np.asarray(~(distances <= limit))


def library_distances(
    labels: NDArray[np.floating], library: NDArray[np.floating]
) -> tuple[NDArray[np.float64], float]:
    """What `outside_library` compares.

    Returns
    -------
    distances : (n,) to the nearest library star; NaN for rows that are not finite
    limit : infinite, and the distances 0, without two different library stars
    """
    usable = [column for column in range(library.shape[1]) if np.isfinite(library[:, column]).any()]
    stars, points = _log_teff(library[:, usable]), _log_teff(labels[:, usable])
    stars = np.unique(stars[np.isfinite(stars).all(axis=1)], axis=0)
    finite = np.asarray(np.isfinite(points).all(axis=1))
    distances = np.where(finite, 0.0, np.nan)
    if len(stars) < 2 or not finite.any():
        return distances, np.inf
    scale = stars.std(axis=0)
    scale[scale == 0] = 1.0
    tree = cKDTree(stars / scale)
    neighbours, _ = tree.query(stars / scale, k=[2])
    distances[finite] = np.ravel(tree.query(points[finite] / scale, k=[1])[0])
    return distances, float(np.quantile(neighbours, 0.99))


def _log_teff(labels: NDArray[np.floating]) -> NDArray[np.float64]:
    scaled = labels.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled[:, 0] = np.log10(scaled[:, 0])
    scaled[~np.isfinite(scaled)] = np.nan
    return scaled


def set_flags(
    rows: NDArray[np.void],
    registry: Registry,
    library_labels: NDArray[np.floating],
    snr_band: str,
    dwarf_snr: float,
    giant_snr: float,
    alpha_max_teff: float,
    outlier_fraction: float,
) -> None:
    """Compute every flag of `rows` (n,) in place, and their sum of bits `flags`."""
    labels = np.column_stack([rows[label].astype(np.float32) for label in LABELS])
    low_snr = snr_flag(rows[snr_band], rows["logg"], dwarf_snr, giant_snr)
    flags = {
        "flag_snr": low_snr,
        "flag_chi2": chi2_flag(labels, rows["chi2"].astype(np.float64), ~low_snr),
        "flag_alpha_fe": ~(rows["teff"] <= alpha_max_teff) | ~np.isfinite(rows["alpha_fe"]),
        "flag_edge": rows["fit_status"] == EDGE,
        "flag_no_convergence": rows["fit_status"] == NO_PROGRESS,
        "flag_outside_library": outside_library(labels, library_labels),
        "flag_outliers": rows["outlier_fraction"] > outlier_fraction,
    }
    total = np.zeros(len(rows), np.int32)
    for name, bit in registry.flag_bits.items():
        rows[name] = flags[name]
        total |= flags[name].astype(np.int32) << bit
    rows["flags"] = total


# ---------------------------------------------------------------- files


def provenance(project: Path, version: str, config_hash: str, library: str) -> dict[str, tuple[str, str]]:
    """Header cards that say what made the catalogue; no times, no host names.

    `config_hash` is the SHA-256 of the configuration's parts that results depend on.
    """
    return {
        "CREATOR": (f"lamost-vac {version}", "program"),
        "GITHASH": (git_commit(project), "commit of the program"),
        "CONFHASH": (config_hash, "SHA-256 of the configuration"),
        "LIBRARY": (library, "spectral library"),
        "PYVER": (platform.python_version(), "Python"),
        "NPVER": (np.__version__, "NumPy"),
    }


def input_cards(inputs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Header cards with name and SHA-256 of each input (name, hash): INPUT1, INHASH1, INPUT2, ...

    Of a path only the file's name, so that the header does not depend on where files lie.
    """
    cards = {}
    for number, (name, digest) in enumerate(inputs, start=1):
        cards[f"INPUT{number}"] = (Path(name).name, "input")
        cards[f"INHASH{number}"] = (digest, "SHA-256")
    return cards


def read_cards(path: str | Path) -> dict[str, str]:
    """The cards of provenance in a table that `write_fits` wrote: keyword to value."""
    structure = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "HISTORY", ""}
    return {
        keyword: str(value) for keyword, value in fits.getheader(path, 0).items() if keyword not in structure
    }


def git_commit(project: Path) -> str:
    """The commit of the checkout, with -dirty after uncommitted changes; `unknown` without git."""
    command = ["git", "-C", str(project), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write_fits(
    path: str | Path,
    blocks: Iterable[NDArray[np.void]],
    n: int,
    registry: Registry,
    cards: Mapping[str, tuple[Any, str]],
) -> None:
    """Write `n` rows that arrive in blocks; the file has its full size from the start.

    Raises ValueError when the blocks do not add up to `n` rows.
    """
    header = registry.header(n, cards)
    size = len(header) + n * registry.record.itemsize
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        handle.truncate(size + -size % _FITS_BLOCK)
        handle.write(header)
        written = 0
        for block in blocks:
            handle.write(np.ascontiguousarray(block).data)
            written += len(block)
        if written != n:
            raise ValueError(f"{written} rows were written, {n} announced")


def blocks_of(rows: NDArray[np.void], size: int = ROW_GROUP) -> Iterator[NDArray[np.void]]:
    """`rows` in pieces of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def count_rows(path: str | Path) -> int:
    """Rows of a table that `write_fits` wrote, from its header."""
    return int(fits.getheader(path, 1)["NAXIS2"])


def _place_of_rows(path: str | Path, registry: Registry) -> tuple[int, int]:
    """Number of rows, and the byte where they begin, of a table that `write_fits` wrote with this registry."""
    with fits.open(path, memmap=True, lazy_load_hdus=True) as hdus:
        header = hdus[1].header
        names = [header[f"TTYPE{number}"] for number in range(1, header["TFIELDS"] + 1)]
        forms = [header[f"TFORM{number}"] for number in range(1, header["TFIELDS"] + 1)]
        if names != registry.names or forms != [column.tform for column in registry]:
            raise UserError(
                f"{path} was written with other columns than config/columns.yaml has; delete it and run again"
            )
        return int(header["NAXIS2"]), int(hdus[1].fileinfo()["datLoc"])


def read_blocks(path: str | Path, registry: Registry, size: int = ROW_GROUP) -> Iterator[NDArray[np.void]]:
    """The rows of a table that `write_fits` wrote, `size` at a time.

    Raises `UserError` when the table was written with another registry.
    """
    n, offset = _place_of_rows(path, registry)
    with open(path, "rb") as handle:
        handle.seek(offset)
        for start in range(0, n, size):
            yield np.fromfile(handle, registry.record, min(size, n - start))


def read_rows(path: str | Path, registry: Registry) -> NDArray[np.void]:
    """All rows (n,) of a table that `write_rows` wrote."""
    for rows in read_blocks(path, registry, max(count_rows(path), 1)):
        return rows
    return registry.empty(0)


def read_fields(path: str | Path, registry: Registry, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Some columns (n,) of a table that `write_rows` wrote, in native byte order; the rows never stand in memory."""
    record, n = registry.record, count_rows(path)
    fields: dict[str, NDArray[Any]] = {name: np.empty(n, record[name].newbyteorder("=")) for name in names}
    start = 0
    for rows in read_blocks(path, registry):
        for name, values in fields.items():
            values[start : start + len(rows)] = rows[name]
        start += len(rows)
    return fields


def apply_errors(
    rows: NDArray[np.void], models: Mapping[str, LabelErrors], snr_band: str, block: int = ROW_GROUP
) -> None:
    """Put the errors of `models` into the columns `{label}_err` and `{label}_random` of rows (n,), in place."""
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        snr = part[snr_band].astype(np.float64)
        for label, model in models.items():
            theta = np.column_stack([part[name].astype(np.float64) for name in model.theta])
            theta[part["fit_status"] != CONVERGED] = np.nan
            random = part[f"{label}_random"].astype(np.float64)
            systematic = systematic_part(part[f"{label}_err"].astype(np.float64), random)
            part[f"{label}_err"], part[f"{label}_random"] = model.apply(theta, snr, random, systematic)


def read_some(path: str | Path, registry: Registry, at: NDArray[np.integer], column: str) -> NDArray[Any]:
    """One column of the rows `at` (m,) of a table that `write_fits` wrote, without reading the others."""
    if not len(at):
        return np.empty(0, registry.record[column])
    n, offset = _place_of_rows(path, registry)
    return np.asarray(np.memmap(path, registry.record, "r", offset, (n,))[column][at])


def apply_curves(rows: NDArray[np.void], curves: Mapping[str, RandomErrorModel], snr_band: str) -> None:
    """Put the errors of `curves`, functions of S/N alone, into rows (n,) in place where there is a label."""
    snr = rows[snr_band].astype(np.float64)
    for label, model in curves.items():
        known = np.isfinite(rows[label])
        rows[f"{label}_err"] = np.where(known, model.total(snr), np.nan)
        rows[f"{label}_random"] = np.where(known, model.evaluate(snr), np.nan)


def write_rows(
    path: str | Path, rows: NDArray[np.void], registry: Registry, cards: Mapping[str, tuple[Any, str]]
) -> None:
    """Write rows (n,) in memory to a table."""
    write_fits(path, blocks_of(rows), len(rows), registry, cards)


def write_type(
    path: str | Path,
    rejected_path: str | Path,
    rows: NDArray[np.void],
    rejected: pd.DataFrame,
    registry: Registry,
    cards: Mapping[str, tuple[Any, str]],
) -> None:
    """Write one type's table and its rejections."""
    write_rows(path, rows, registry, cards)
    with atomic(rejected_path) as temporary:
        rejected.to_csv(temporary, index=False, lineterminator="\n")


# ---------------------------------------------------------------- all types


def merge_tables(
    tables: Mapping[str, str | Path],
    fits_path: str | Path,
    parquet_path: str | Path,
    registry: Registry,
    cards: Mapping[str, tuple[Any, str]],
    block: int = ROW_GROUP,
) -> dict[str, Any]:
    """Merge the tables of the types into one FITS file and one Parquet file.

    The order is OB A F G K M, within a type as in its table. A Parquet row group holds at most
    `block` rows of one type. The rows are copied, but for `best_spectrum` and `n_spectra`, which count
    the star's spectra of all types (`lamostvac.unique`).

    Parameters
    ----------
    tables : spectral type to the FITS table that `write_type` wrote

    Returns
    -------
    dict with `accepted` (rows per type), `layouts` (rows per layout of the spectra's files) and
    `flags` (flagged rows per flag)

    Raises
    ------
    UserError
        A spectrum is in two types.
    """
    order = [name for name in TYPE_ORDER if name in tables]
    accepted = {name: count_rows(tables[name]) for name in order}
    n = sum(accepted.values())
    best, n_spectra = _survey_stars({name: tables[name] for name in order}, accepted, registry, block)
    layouts: Counter[str] = Counter()
    flagged: Counter[str] = Counter(dict.fromkeys(registry.flags, 0))
    metadata = {keyword.lower(): str(value) for keyword, (value, _) in cards.items()}

    with (
        atomic(parquet_path) as temporary,
        pq.ParquetWriter(
            temporary,
            registry.schema(metadata),
            compression="zstd",
            use_dictionary=repeated_texts(registry),
            write_statistics=True,
        ) as writer,
    ):

        def pieces() -> Iterator[NDArray[np.void]]:
            done = 0
            for name in order:
                for rows in read_blocks(tables[name], registry, block):
                    here = slice(done, done + len(rows))
                    rows["best_spectrum"], rows["n_spectra"] = best[here], n_spectra[here]
                    done += len(rows)
                    table = registry.to_arrow(rows, metadata)
                    layouts.update(
                        {
                            pair["values"]: pair["counts"]
                            for pair in table["layout"].value_counts().to_pylist()
                        }
                    )
                    flagged.update({flag: int(np.count_nonzero(rows[flag])) for flag in registry.flags})
                    writer.write_table(table, row_group_size=block)
                    yield rows

        write_fits(fits_path, pieces(), n, registry, cards)
    return {"accepted": accepted, "layouts": dict(sorted(layouts.items())), "flags": dict(flagged)}


def repeated_texts(registry: Registry) -> list[str]:
    """Columns that Parquet stores as a dictionary; one of numbers would only add to them."""
    return [
        column.name
        for column in registry
        if column.is_string and column.name not in ("spectrum_id", "designation")
    ]


def _survey_stars(
    tables: Mapping[str, str | Path], accepted: Mapping[str, int], registry: Registry, block: int
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """`best_spectrum` and `n_spectra` (n,) over all types; raises `UserError` where a spectrum is in two."""
    n = sum(accepted.values())
    fingerprints = np.empty(n, np.uint64)
    ra, dec, snr = np.empty(n), np.empty(n), np.empty(n, np.float32)
    done = 0
    for path in tables.values():
        for rows in read_blocks(path, registry, block):
            here = slice(done, done + len(rows))
            fingerprints[here] = fingerprint(rows["spectrum_id"])
            ra[here], dec[here], snr[here] = rows["ra"], rows["dec"], rows["snrg"]
            done += len(rows)
    _check_types_disjoint(fingerprints, tables, registry)
    ends = np.cumsum([accepted[name] for name in tables])

    def identities(at: NDArray[np.int64]) -> NDArray[np.bytes_]:
        found = np.empty(len(at), registry.record["spectrum_id"])
        for end, (name, path) in zip(ends, tables.items(), strict=True):
            mine = (at < end) & (at >= end - accepted[name])
            found[mine] = read_some(path, registry, at[mine] - (end - accepted[name]), "spectrum_id")
        return found

    return best_spectra(ra, dec, snr, identities)


def _check_types_disjoint(
    fingerprints: NDArray[np.uint64],
    tables: Mapping[str, str | Path],
    registry: Registry,
) -> None:
    """Sorts `fingerprints` (n,) in place."""
    fingerprints.sort()
    same = fingerprints[1:][fingerprints[1:] == fingerprints[:-1]]
    if not len(same):
        return
    # Rare: either a real repetition or two names with one fingerprint; compare the names.
    suspects = [
        rows["spectrum_id"][np.isin(fingerprint(rows["spectrum_id"]), same)]
        for path in tables.values()
        for rows in read_blocks(path, registry)
    ]
    check_distinct(np.concatenate(suspects))


def merge_rejections(
    survey: str | Path, types: Mapping[str, str | Path], path: str | Path
) -> dict[str, Counter[tuple[str, str]]]:
    """Write all rejections to one file: the survey's, then each type's in the order of types.

    Returns
    -------
    Per source (`survey` or the type) the number of rows by (stage, reason)

    Raises
    ------
    UserError
        A reason is none of `lamostvac.errors.REASONS`.
    """
    counts: dict[str, Counter[tuple[str, str]]] = {}
    sources = {"survey": survey, **{name: types[name] for name in TYPE_ORDER if name in types}}
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(REJECTED_COLUMNS)
        for source, name in sources.items():
            counts[source] = Counter()
            with open(name, newline="", encoding="utf-8") as handle:
                for row in csv.DictReader(handle):
                    if row["reason"] not in REASONS:
                        raise UserError(
                            f"{name} rejects {row['spectrum_id']} for the unknown reason {row['reason']!r}"
                        )
                    counts[source][row["stage"], row["reason"]] += 1
                    writer.writerow([row[column] for column in REJECTED_COLUMNS])
    return counts


def accounting(
    n_in: int,
    expected: Mapping[str, int],
    accepted: Mapping[str, int],
    rejected: Mapping[str, Counter[tuple[str, str]]],
) -> dict[str, Any]:
    """The balance of the run.

    Parameters
    ----------
    n_in : rows of the release's catalogue
    expected : spectra per type that the survey handed on
    accepted : rows per type
    rejected : per source (`survey` or type) the rejections by (stage, reason)

    Returns
    -------
    dict, ready for JSON: `n_in n_accepted n_rejected`, `rejected` by stage and by reason, `types`

    Raises
    ------
    UserError
        in = accepted + rejected does not hold for the run or for a type.
    """
    types = {}
    for name in TYPE_ORDER:
        if name not in expected:
            continue
        n_rejected = rejected[name].total()
        if accepted[name] + n_rejected != expected[name]:
            raise UserError(
                f"type {name} does not add up: {expected[name]} in, {accepted[name]} accepted, {n_rejected} rejected"
            )
        types[name] = {"n_in": expected[name], "n_accepted": accepted[name], "n_rejected": n_rejected}
    total = sum(rejected.values(), Counter())
    n_accepted, n_rejected = sum(accepted.values()), total.total()
    if n_in != n_accepted + n_rejected:
        raise UserError(
            f"the run does not add up: {n_in} spectra in, {n_accepted} accepted, {n_rejected} rejected, "
            f"{n_in - n_accepted - n_rejected} lost; the survey handed on {sum(expected.values())}"
        )
    by_stage: Counter[str] = Counter()
    by_reason: Counter[str] = Counter()
    for (stage, reason), count in total.items():
        by_stage[stage] += count
        by_reason[reason] += count
    return {
        "n_in": n_in,
        "n_accepted": n_accepted,
        "n_rejected": n_rejected,
        "rejected": {
            "by_stage": dict(sorted(by_stage.items())),
            "by_reason": dict(sorted(by_reason.items())),
        },
        "types": types,
    }


def write_json(path: str | Path, content: Any) -> None:
    """JSON with two spaces of indent, in the order given."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The merged catalogue (Parquet) as a data frame, all columns or some."""
    table: pa.Table = pq.read_table(path, columns=list(columns) if columns is not None else None)
    return table.to_pandas()
