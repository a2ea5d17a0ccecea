"""From catalogue files and survey rows to training sets: joined, combined, cut, split, written.

Functions of data frames, one for each step; the scripts of the rules crossmatch and training string them
together. Nothing depends on the order in which rows come: tables are sorted by their content first, and
chance is a hash of the star and the seed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lamostvac.core.errors import UserError
from lamostvac.core.expressions import parse
from lamostvac.core.files import atomic
from lamostvac.external.joins import add_derived, positions
from lamostvac.external.match import (
    galactic_latitude,
    group_stars,
    match_identifiers,
    match_sky,
)
from lamostvac.external.read import read_table
from lamostvac.training.schema import (
    AbsoluteMagnitudes,
    Combine,
    Cut,
    Label,
    Split,
    TrainingSet,
    table_columns,
)

STEP_COLUMNS = ("set", "step", "cut", "n_spectra", "n_stars")
SPLITS = ("train", "test", "binary", "clipped")
_TO_MAGNITUDES = 5 / np.log(10)  # d(5 log10 d) / d(ln d)


class Accounting:
    """What is left after each step: rows of {set}_cuts.csv."""

    def __init__(self, name: str, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = [dict(row) for row in rows]

    def add(self, step: str, cut: str, n_spectra: int | None, n_stars: int | None) -> None:
        """Another step; None where the number has no meaning yet."""
        self.rows.append(dict(zip(STEP_COLUMNS, (self.name, step, cut, n_spectra, n_stars), strict=True)))

    def count(self, step: str, cut: str, table: pd.DataFrame) -> None:
        """Another step, with the spectra and stars of `table` (column `star`)."""
        self.add(step, cut, len(table), int(table["star"].nunique()))

    def table(self) -> pd.DataFrame:
        """All steps; missing numbers are blank in CSV."""
        table = pd.DataFrame(self.rows, columns=list(STEP_COLUMNS))
        return table.astype({"n_spectra": "Int64", "n_stars": "Int64"})

    def write(self, path: str | Path) -> None:
        """The steps as CSV."""
        with atomic(path) as temporary:
            self.table().to_csv(temporary, index=False, lineterminator="\n")

    @classmethod
    def read(cls, name: str, path: str | Path) -> "Accounting":
        """The steps that an earlier stage of the set wrote."""
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
        rows = table.to_dict("records")
        for row in rows:
            for column in ("n_spectra", "n_stars"):
                row[column] = int(row[column]) if row[column] else None
        return cls(name, [{str(key): value for key, value in row.items()} for row in rows])


# ---------------------------------------------------------------- measurements


def combine_measurements(table: pd.DataFrame, combine: Combine, root: str | Path = ".") -> pd.DataFrame:
    """One row per star from several measurements.

    A label is the mean of the star's measurements, weighted by 1 / (error^2 + floor^2) where errors are
    named; a measurement without one counts with the median error of the others. Its error `{label}_err` is the
    larger of what the errors say of the mean and what the measurements' scatter says; `{label}_n` is their
    number. Other columns come from the star's first row (by content) that has them.

    References are brought onto one scale before, as `combine.recalibration` says.

    Parameters
    ----------
    table : rows in the order of their content (`canonical_order`)
    root : folder that a file of offsets is relative to
    """
    stars, names = pd.factorize(table[combine.by], sort=True)
    known = stars >= 0
    if table[combine.by].dtype == object or pd.api.types.is_string_dtype(table[combine.by]):
        known &= np.asarray(table[combine.by] != "")
    table, stars = table[known].reset_index(drop=True), stars[known]
    present, stars = np.unique(stars, return_inverse=True)
    result = pd.DataFrame({combine.by: np.asarray(names)[present]})
    measured = list(combine.labels)
    errors = [label.error for label in combine.labels.values() if label.error is not None]
    for name in table.columns:
        if name not in (combine.by, *measured, *errors, combine.reference):
            result[name] = _first_present(np.asarray(table[name]), stars, len(present))
    offsets = _offsets(table, combine, stars, root)
    for label, how in combine.labels.items():
        values = np.asarray(table[label], np.float64) - offsets[label]
        error = np.asarray(table[how.error], np.float64) if how.error is not None else None
        mean, spread, number = weighted_means(values, error, stars, len(present), how.floor)
        result[label], result[f"{label}_err"], result[f"{label}_n"] = mean, spread, number
    return result


def _first_present(values: NDArray[Any], stars: NDArray[np.int64], n: int) -> NDArray[Any]:
    """The first value of each star that is not missing; missing where all are."""
    missing = values == "" if values.dtype.kind == "O" else values == -1 if values.dtype.kind == "i" else None
    if values.dtype.kind == "f":
        missing = np.isnan(values)
    if missing is None:
        missing = np.zeros(len(values), bool)
    # Rows without a value last, else in their order.
    order = np.lexsort((np.arange(len(values)), np.asarray(missing, bool), stars))
    first = np.searchsorted(stars[order], np.arange(n))
    return values[order[first]]


def weighted_means(
    values: NDArray[np.float64],
    errors: NDArray[np.float64] | None,
    stars: NDArray[np.int64],
    n: int,
    floor: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean, error and number of the finite measurements (m,) of each of n stars.

    The error of a mean of one measurement without an error is NaN.
    """
    used = np.isfinite(values)
    which = stars[used]
    number = np.bincount(which, minlength=n)
    given = np.full(len(values), np.nan) if errors is None else errors
    good = np.isfinite(given) & (given > 0)
    typical = float(np.median(given[good & used])) if np.any(good & used) else np.nan
    filled = np.where(good, given, typical if errors is not None else np.nan)
    variance = filled[used] ** 2 + floor**2
    weight = np.where(np.isfinite(variance) & (variance > 0), 1 / np.where(variance > 0, variance, 1), 1.0)
    total = np.bincount(which, weight, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(which, weight * values[used], n) / total
        formal = np.sqrt(1 / total) if np.isfinite(typical) else np.full(n, np.nan)
        residual = values[used] - mean[which]
        scatter = np.sqrt(np.bincount(which, weight * residual**2, n) / total / (number - 1))
    scatter[number < 2] = np.nan
    error = np.fmax(formal, scatter)
    error[number == 0] = np.nan
    return mean, error, number


def _offsets(
    table: pd.DataFrame, combine: Combine, stars: NDArray[np.int64], root: str | Path
) -> dict[str, NDArray[np.float64]]:
    """What to subtract from each measurement (m,), by label."""
    zero = {label: np.zeros(len(table)) for label in combine.labels}
    if combine.recalibration == "none" or combine.reference is None:
        return zero
    codes, names = pd.factorize(table[combine.reference].astype(str), sort=True)
    if combine.recalibration == "offsets":
        return {
            label: reference_offsets(np.asarray(table[label], np.float64), stars, codes, combine.min_common)[
                codes
            ]
            for label in combine.labels
        }
    path = Path(root) / combine.recalibration
    given = read_table(path, {"reference": "reference", **{label: label for label in combine.labels}})
    given["reference"] = given["reference"].astype(str)
    if given["reference"].duplicated().any():
        twice = given.loc[given["reference"].duplicated(), "reference"].iloc[0]
        raise UserError(f"{path}: the reference {twice} stands twice; keep one row of it")
    rows = given.set_index("reference").reindex(np.asarray(names).astype(str))
    return {label: np.nan_to_num(np.asarray(rows[label], np.float64))[codes] for label in combine.labels}


def reference_offsets(
    values: ArrayLike, stars: ArrayLike, references: ArrayLike, min_common: int = 5, iterations: int = 50
) -> NDArray[np.float64]:
    """Offset of each reference's scale: values = star + offset + noise, robustly.

    Iteratively reweighted least squares with Huber's weights (1.345 robust standard deviations of the
    residuals). The stars' values are eliminated, so that each step solves a system of the size of the number of
    references. A reference with fewer than `min_common` stars in common with others keeps offset 0. Offsets are
    relative: within each set of references that are linked by common stars, their mean, weighted by the number
    of measurements in common, is zero.

    Parameters
    ----------
    values : (m,) measurements; NaN counts as none
    stars, references : (m,) whole numbers from 0

    Returns
    -------
    (largest reference + 1,) offsets
    """
    values = np.asarray(values, np.float64)
    stars, references = np.asarray(stars, np.int64), np.asarray(references, np.int64)
    offsets = np.zeros(int(references.max(initial=-1)) + 1)
    used = np.isfinite(values)
    while True:
        # A measurement counts when another reference has the star; a reference when enough of its stars do.
        x, s, r = values[used], stars[used], references[used]
        pairs = np.unique(np.column_stack([s, r]), axis=0)
        several = np.bincount(pairs[:, 0], minlength=int(stars.max(initial=-1)) + 1) > 1
        common = np.bincount(pairs[several[pairs[:, 0]], 1], minlength=len(offsets))
        keep = several[s] & (common >= min_common)[r]
        if keep.all():
            break
        used[np.flatnonzero(used)[~keep]] = False
    if not len(x):
        return offsets
    star_names, s = np.unique(s, return_inverse=True)
    names, r = np.unique(r, return_inverse=True)
    n_stars, n = len(star_names), len(names)
    graph = coo_array((np.ones(len(x)), (s, n_stars + r)), shape=(n_stars + n,) * 2).tocsr()
    part = connected_components(graph, directed=False)[1][n_stars:]
    measurements = np.bincount(r, minlength=n).astype(np.float64)
    # One row per part: the weighted sum of its offsets, added as an equation that pins the free constant.
    pins = np.array([np.where(part == number, measurements, 0.0) for number in np.unique(part)])
    pins /= np.linalg.norm(pins, axis=1, keepdims=True)
    weight = np.ones(len(x))
    solution = np.zeros(n)
    for _ in range(iterations):
        total = np.bincount(s, weight, n_stars)
        design = coo_array((weight / np.sqrt(total)[s], (s, r)), shape=(n_stars, n)).tocsr()
        normal = np.diag(np.bincount(r, weight, n)) - (design.T @ design).toarray()
        star_mean = np.bincount(s, weight * x, n_stars) / total
        right = np.bincount(r, weight * (x - star_mean[s]), n)
        previous, solution = solution, np.linalg.solve(normal + pins.T @ pins, right)
        star = np.bincount(s, weight * (x - solution[r]), n_stars) / total
        residual = x - star[s] - solution[r]
        # The residuals of a star with two measurements are both half their difference.
        freedom = np.sqrt(1 - 1 / np.bincount(s)[s])
        scale = 1.4826 * np.median(np.abs(residual / freedom))
        if scale <= 0:
            break
        reduced = np.abs(residual / freedom) / scale
        weight = np.minimum(1.0, 1.345 / np.maximum(reduced, 1e-12))
        if np.abs(solution - previous).max() < 1e-4 * scale:
            break
    offsets[names] = solution
    return offsets


# ---------------------------------------------------------------- matching


def match_survey(
    survey: Mapping[str, NDArray[Any]], catalogue: pd.DataFrame, entry: TrainingSet
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The catalogue's row for each spectrum of the survey, -1 where none, and the distance in arcsec.

    Parameters
    ----------
    survey : `ra dec obsid gaia_source_id` (n,)
    catalogue : rows in the order of their content
    """
    assert entry.match is not None
    assert entry.catalogue is not None
    match = entry.match
    if match.by == "sky":
        ra, dec = positions(catalogue, entry.catalogue, match.epoch)
        magnitude = catalogue[entry.catalogue.magnitude] if entry.catalogue.magnitude else None
        return match_sky(
            survey["ra"], survey["dec"], ra, dec, match.radius,
            magnitude=magnitude, repeat_radius=match.repeat_radius,
        )  # fmt: skip
    key = "obsid" if match.by == "obsid" else "gaia_source_id"
    if len(survey[key]) and not np.any(survey[key] >= 0):
        raise UserError(
            f"training set {entry.name}: match by {match.by}, but the survey's catalogue has no {key}; match by "
            "sky, or name the column in survey.column_aliases"
        )
    star = match_identifiers(survey[key], catalogue[key])
    return star, np.full(len(star), np.nan)


def absolute_magnitudes(table: pd.DataFrame, settings: AbsoluteMagnitudes) -> pd.DataFrame:
    """M = m - 5 log10(d / 10 pc) - R E(B-V) and its error, for each band.

    The error adds those of magnitude, distance and E(B-V) in quadrature; one that is not named counts as 0, one
    that is missing in a row makes the error NaN.
    """

    def column(name: str | None) -> NDArray[np.float64]:
        return np.zeros(len(table)) if name is None else np.asarray(table[name], np.float64)

    distance = column(settings.distance)
    distance = np.where(distance > 0, distance, np.nan)
    modulus = 5 * np.log10(distance / 10)
    modulus_error = _TO_MAGNITUDES * column(settings.distance_error) / distance
    ebv, ebv_error = column(settings.ebv), column(settings.ebv_error)
    added = {}
    for label, band in settings.bands.items():
        added[label] = column(band.magnitude) - modulus - band.coefficient * ebv
        variance = column(band.error) ** 2 + modulus_error**2 + (band.coefficient * ebv_error) ** 2
        added[f"{label}_err"] = np.sqrt(variance)
    return table.assign(**added)


def candidates(
    spectra: pd.DataFrame, stars: pd.DataFrame, row: ArrayLike, separation: ArrayLike, entry: TrainingSet
) -> pd.DataFrame:
    """One row per matched spectrum, in the order of plate and fibre, with the columns of the entry.

    Parameters
    ----------
    spectra : (n) the survey's rows that matched
    stars : the catalogue's stars with everything joined
    row : (n,) row of `stars` of each spectrum
    separation : (n,) arcsec
    """
    assert entry.catalogue is not None
    assert entry.match is not None
    row = np.asarray(row, np.int64)
    table = stars.iloc[row].reset_index(drop=True)
    identifier = entry.catalogue.identifier
    names = (
        np.asarray(table[identifier].astype(str), object)
        if identifier is not None
        else np.asarray(spectra["obsid"].astype(str), object)
        if entry.match.by == "obsid"
        else np.asarray([f"{a:.6f}{d:+.6f}" for a, d in zip(table["ra"], table["dec"], strict=True)], object)
    )
    # Rows of the catalogue with one identifier are one star, whether it combines them or not.
    same = pd.factorize(names, sort=True)[0]
    spectra = spectra.reset_index(drop=True)
    longitude, latitude = galactic_latitude(spectra["ra"], spectra["dec"])
    added: dict[str, Any] = {
        "snr": spectra[entry.snr_band].astype(np.float64),
        "l": longitude,
        "b": latitude,
        "separation": np.asarray(separation, np.float64),
        "star": group_stars(spectra["ra"], spectra["dec"], entry.match.repeat_radius, same),
        "identifier": names,
    }
    wanted = [name for name in entry.columns() if name not in spectra and name not in added]
    own = [name for name in wanted if name in table]
    result = pd.concat([spectra.assign(**added), table[own]], axis=1)
    result = add_derived(result, entry.derived, f"training set {entry.name}: derived")
    if entry.absolute_magnitudes is not None:
        result = absolute_magnitudes(result, entry.absolute_magnitudes)
    result = result.sort_values(["lmjd", "planid", "spid", "fiberid"], kind="stable", ignore_index=True)
    return result[entry.columns()]


# ---------------------------------------------------------------- choosing


def apply_cuts(
    table: pd.DataFrame, cuts: Sequence[Cut], where: str, accounting: Accounting | None = None
) -> pd.DataFrame:
    """The rows that fulfil every condition, counted after each."""
    for cut in cuts:
        table = table[parse(cut.cut, where).holds(table)]
        if accounting is not None:
            accounting.count(cut.text or "cut", cut.cut, table)
    return table.reset_index(drop=True)


def label_values(
    table: pd.DataFrame, labels: Sequence[Label], where: str, accounting: Accounting | None = None
) -> pd.DataFrame:
    """`{label}` and `{label}_err` (float64) of every row; NaN where missing or where the label's own cuts fail.

    A label's cuts concern that label alone.
    """
    columns = {}
    for label in labels:
        good = np.isfinite(np.asarray(table[label.column], np.float64))
        for cut in label.cuts:
            good &= parse(cut.cut, f"{where}: {label.name}").holds(table)
        columns[label.name] = np.where(good, np.asarray(table[label.column], np.float64), np.nan)
        error = np.nan if label.error is None else np.asarray(table[label.error], np.float64)
        columns[f"{label.name}_err"] = np.where(good, error, np.nan)
        if accounting is not None:
            conditions = " and ".join(["isfinite", *(cut.cut for cut in label.cuts)])
            accounting.count(f"label {label.name} (others keep these rows)", conditions, table[good])
    return pd.DataFrame(columns, index=table.index)


def by_quality(table: pd.DataFrame) -> NDArray[np.int64]:
    """Place of each spectrum (n,) among its star's: 0 has the highest S/N; equals by spectrum_id."""
    order = np.lexsort((np.asarray(table["spectrum_id"], str), -np.asarray(table["snr"]), table["star"]))
    stars = np.asarray(table["star"])[order]
    first = np.searchsorted(stars, stars)
    place = np.empty(len(table), np.int64)
    place[order] = np.arange(len(table)) - first
    return place


def split_stars(table: pd.DataFrame, split: Split, seed: int, where: str) -> NDArray[np.str_]:
    """`train` or `test` for each spectrum (n,); "" for one that is left out.

    All spectra of a star are on one side. With a condition, a star trains when one of its spectra fulfils it;
    its spectra that do not are left out. With a fraction, stars that are preferred train, and of the others as
    many as the fraction of all stars asks for, in the order of a hash of seed and identifier.
    """
    star = np.asarray(table["star"])
    if split.train is not None:
        holds = parse(split.train, f"{where}: split").holds(table)
        trains = np.isin(star, star[holds])
        return np.where(holds, "train", np.where(trains, "", "test"))
    assert split.train_fraction is not None
    names, number = np.unique(star, return_inverse=True)
    preferred = np.zeros(len(table), bool)
    for text in split.prefer:
        preferred |= parse(text, f"{where}: split").holds(table)
    first = np.bincount(number[preferred], minlength=len(names)) > 0
    # A star's key is the smallest of its identifiers, so that it does not depend on the other stars.
    keys = pd.Series(np.asarray(table["identifier"], str)).groupby(number).min()
    order = np.array([star_hash(key, seed) for key in keys], np.uint64)
    ranked = np.lexsort((np.asarray(keys, str), order, ~first))
    trains = np.zeros(len(names), bool)
    trains[ranked[: max(int(first.sum()), round(split.train_fraction * len(names)))]] = True
    return np.where(trains[number], "train", "test")


def star_hash(key: str, seed: int) -> int:
    """A number of 64 bits that looks random but belongs to a star and a seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest(), "big")


def choose(
    table: pd.DataFrame, entry: TrainingSet, accounting: Accounting
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The candidates after all cuts, and their labels, row by row.

    Rows without any label are left out.
    """
    where = f"training set {entry.name}"
    table = apply_cuts(table, entry.cuts, where, accounting)
    labels = label_values(table, entry.labels, where, accounting)
    usable = np.asarray(labels[entry.label_names].notna().any(axis=1))
    table, labels = table[usable].reset_index(drop=True), labels[usable].reset_index(drop=True)
    accounting.count("at least one label", "", table)
    return table, labels


def training_table(
    table: pd.DataFrame, labels: pd.DataFrame, split: NDArray[np.str_], entry: TrainingSet
) -> pd.DataFrame:
    """The columns of the set's FITS file."""
    names = ["spectrum_id", "obsid", "ra", "dec", "spectral_type", "snr", "star", "identifier"]
    keys = table[names].reset_index(drop=True)
    result = pd.concat([keys, labels.reset_index(drop=True)], axis=1)
    return result.assign(split=np.asarray(split).astype(object))[table_columns(entry)]


def child_table(
    parent: pd.DataFrame, entry: TrainingSet, accounting: Accounting
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The table of a set that takes its rows from a parent, and which rows those are.

    Spectra, stars and the split are the parent's; cuts and labels are the set's own.
    """
    accounting.count(f"parent {entry.parent}", "", parent)
    numbered = parent.assign(_row=np.arange(len(parent)))
    chosen, labels = choose(numbered, entry, accounting)
    rows = np.asarray(chosen["_row"], np.int64)
    table = training_table(chosen, labels, np.asarray(chosen["split"], str), entry)
    count_split(table, accounting)
    return table, rows


def count_split(table: pd.DataFrame, accounting: Accounting) -> None:
    """A row of the accounting for each part of the split that has spectra, train and test in any case."""
    for name in SPLITS:
        part = table[table["split"] == name]
        if len(part) or name in ("train", "test"):
            accounting.count(f"split {name}", "", part)


# ---------------------------------------------------------------- file


def write_training(
    path: str | Path, table: pd.DataFrame, entry: TrainingSet, cards: Sequence[tuple[str, str, str]] = ()
) -> None:
    """The training set as FITS: one table, units and descriptions in the header, no dates.

    Parameters
    ----------
    cards : (keyword, value, comment) for the header
    """
    describe = {
        "spectrum_id": ("", "lmjd-planid-spid-fiberid of the LAMOST spectrum", "meta.id;meta.main"),
        "obsid": ("", "obsid of the LAMOST spectrum; -1 where it has none", "meta.id"),
        "ra": ("deg", "right ascension of the fibre", "pos.eq.ra;meta.main"),
        "dec": ("deg", "declination of the fibre", "pos.eq.dec;meta.main"),
        "spectral_type": ("", "OB A F G K M, after the survey's SUBCLASS", "src.spType"),
        "snr": ("", f"S/N per pixel, {entry.snr_band} of the LAMOST catalogue", "stat.snr"),
        "star": ("", "number of the star within this file", "meta.id"),
        "identifier": ("", "the star in the catalogue that the labels are from", "meta.id"),
        "split": ("", "train, test, binary or clipped", "meta.code"),
    }
    for label in entry.labels:
        describe[label.name] = (label.unit, label.description, label.ucd)
        describe[f"{label.name}_err"] = (
            label.unit,
            f"error of {label.name}",
            f"stat.error;{label.ucd}" if label.ucd else "stat.error",
        )
    columns = []
    for name in table_columns(entry):
        values = np.asarray(table[name])
        if values.dtype.kind in "OUST":
            text = (
                np.char.encode(values.astype(str), "ascii", "replace") if len(values) else np.empty(0, "S1")
            )
            width = max(1, text.dtype.itemsize)
            columns.append(fits.Column(name, f"{width}A", array=text.astype(f"S{width}")))
        elif values.dtype.kind in "iu":
            columns.append(fits.Column(name, "K", array=values.astype(np.int64)))
        else:
            columns.append(
                fits.Column(name, "D", array=values.astype(np.float64), unit=describe[name][0] or None)
            )
    hdu = fits.BinTableHDU.from_columns(columns, name="TRAINING")
    for number, name in enumerate(table_columns(entry), start=1):
        hdu.header.comments[f"TTYPE{number}"] = _ascii(describe[name][1])[:45]
        if describe[name][2]:
            hdu.header.set(f"TUCD{number}", describe[name][2], after=f"TFORM{number}")
    hdu.header["TRAINSET"] = (entry.name, "name of the training set")
    hdu.header["TITLE"] = _ascii(entry.title)[:68]
    for keyword, value, comment in cards:
        hdu.header[keyword] = (_ascii(value)[:68], _ascii(comment))
    for cut in entry.cuts:
        hdu.header["HISTORY"] = _ascii(f"cut: {cut.cut}")
    with atomic(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary, checksum=False)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


def read_training(path: str | Path) -> pd.DataFrame:
    """The table that `write_training` wrote."""
    with fits.open(path, memmap=False) as hdus:
        data = hdus[1].data
        columns: dict[str, Any] = {}
        for name in data.names:
            values = np.asarray(data[name])
            columns[name] = (
                values.astype(str).astype(object)
                if values.dtype.kind in "SU"
                else values.astype(values.dtype.newbyteorder("="))
            )
    return pd.DataFrame(columns)
