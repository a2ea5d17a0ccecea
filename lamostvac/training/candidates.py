"""From catalogue files and survey rows to training sets: joined, combined, cut, split, written.

Functions of data frames, one for each step; the scripts of the rules crossmatch and training call
them in turn. Nothing depends on the order of rows: tables are first sorted by their content, and
random choices are a hash of the star and the seed.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.external.entries import Cut
from lamostvac.external.joins import add_derived, join_table, positions, read_source
from lamostvac.external.match import group_stars, match_identifiers, match_sky
from lamostvac.external.sky import galactic_coordinates
from lamostvac.training.accounting import Accounting
from lamostvac.training.measurements import absolute_magnitudes
from lamostvac.training.schema import TrainingSet


def match_survey(
    survey: Mapping[str, NDArray[Any]], catalogue: pd.DataFrame, entry: TrainingSet
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The catalogue's row for each spectrum of the survey, -1 for none, and the distance in arcsec.

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


def candidates(
    spectra: pd.DataFrame,
    stars: pd.DataFrame,
    row: ArrayLike,
    separation: ArrayLike,
    entry: TrainingSet,
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
        else np.asarray(
            [f"{a:.6f}{d:+.6f}" for a, d in zip(table["ra"], table["dec"], strict=True)], object
        )
    )
    # Rows of the catalogue with one identifier are one star, whether it combines them or not.
    same = pd.factorize(names, sort=True)[0]
    spectra = spectra.reset_index(drop=True)
    longitude, latitude = galactic_coordinates(spectra["ra"], spectra["dec"])
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
    result = result.sort_values(
        ["lmjd", "planid", "spid", "fiberid"], kind="stable", ignore_index=True
    )
    return result[entry.columns()]


def apply_cuts(
    table: pd.DataFrame, cuts: Sequence[Cut], where: str, accounting: Accounting | None = None
) -> pd.DataFrame:
    """The rows that fulfil every condition, counted after each."""
    for cut in cuts:
        table = table[parse(cut.cut, where).holds(table)]
        if accounting is not None:
            accounting.count(cut.text or "cut", cut.cut, table)
    return table.reset_index(drop=True)


def join_tables(
    stars: pd.DataFrame,
    number: NDArray[np.integer],
    entry: TrainingSet,
    root: str,
    accounting: Accounting,
    log: logging.Logger,
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The stars (m) of a set's catalogue with columns of further tables, and which stars are in all
    required tables.

    Parameters
    ----------
    number : (n,) star of each spectrum, for the accounting
    root : folder of the tables' files
    """
    assert entry.catalogue is not None
    kept = np.ones(len(stars), bool)
    for join in entry.join:
        other = read_source(join, root, None)
        stars = join_table(stars, entry.catalogue, other, join)
        has = np.asarray(stars[f"{join.name}_separation"].notna())
        log.info("%s: %d of %d stars", join.name, has.sum(), len(stars))
        if join.required:
            kept &= has
            n_spectra, n_stars = int(kept[number].sum()), int(kept.sum())
            accounting.add(f"in {join.name}", f"by {join.match.by}", n_spectra, n_stars)
    return stars, kept
