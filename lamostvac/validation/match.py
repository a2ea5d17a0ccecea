"""Matches of the catalogue's spectra with another catalogue, and the labels of both."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy import units
from numpy.typing import NDArray

from lamostvac.catalog.registry import Registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.external.match import group_stars, match_sky
from lamostvac.external.read import read_table
from lamostvac.external.sky import propagate
from lamostvac.validation.schema import POSITION, Comparison
from lamostvac.validation.subsets import label_columns, network_flags, read_catalogue

# Of more rows than this, in a file or in the catalogue as its own reference, evenly spaced ones are
# compared.
MOST_MATCHES = 2_000_000
# Spectra within this show one star, arcsec, as in the whole workflow.
STAR_RADIUS = 3.0
_CONTEXT = ("teff", "logg", "feh", "teff_rec", "logg_rec", "feh_rec", "mag_bp", "mag_rp", "ebv")
_IDENTITY = (
    "spectrum_id", "obsid", "gaia_source_id", "designation", "lmjd", "planid", "spid", "fiberid", "ra", "dec",
)  # fmt: skip


def read_reference(comparison: Comparison, path: str | Path, registry: Registry) -> pd.DataFrame:
    """The comparison's file, cut, with derived columns.

    Rows without a key, or with the key of an earlier row, are left out.

    Returns
    -------
    `key` (text; or `ra dec`, degrees at the catalogue's epoch, and `brightness` for sky),
    `ref_{label}`, `ref_{label}_err` where the entry names errors, and `ref_{name}` for its columns
    and formulas

    Raises
    ------
    UserError
        A column that the entry names is not in the file.
    """
    where = f"comparison {comparison.name}"
    columns = dict(comparison.columns)
    own = {**comparison.columns, **comparison.derived}
    for label, source in comparison.all_labels.items():
        if source is not None and source not in own:
            columns[f"label {label}"] = source
    for label, source in comparison.errors.items():
        if source not in own:
            columns[f"error {label}"] = source
    if comparison.key != "sky":
        columns["key"] = str(comparison.reference_key)
    numeric = comparison.key in ("obsid", "gaia_id") and comparison.key_pattern is None
    conversions = {
        name: unit
        for name, unit in comparison.units.items()
        if name in comparison.columns and ("->" in unit or name in ("ra", "dec"))
    }
    try:
        frame = read_table(
            path,
            columns,
            identifiers=["key"] if numeric else [],
            missing=comparison.missing,
            conversions=conversions,
        )
        for name, formula in comparison.derived.items():
            frame = frame.assign(**{name: parse(formula, f"derived.{name}").values(frame)})
        for label, source in comparison.all_labels.items():
            if source is not None:
                frame[label] = _values(comparison, frame, f"label {label}", source, label, registry)
        for label, source in comparison.errors.items():
            frame[f"{label}_err"] = _values(
                comparison, frame, f"error {label}", source, label, registry
            )
        for cut in comparison.cuts:
            frame = frame[parse(cut.cut, "cuts").holds(frame)]
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if comparison.group is not None and comparison.group_names:
        groups = frame[comparison.group].astype(str).str.strip().map(comparison.group_names)
        frame = frame.assign(**{comparison.group: groups})[groups.notna()]
    kept = [
        name
        for name in map(str, frame)
        if not name.startswith(("label ", "error ")) and name != "key"
    ]
    reference = pd.DataFrame(
        {f"ref_{name}": frame[name] for name in kept if name not in POSITION}, index=frame.index
    )
    if comparison.key == "sky":
        epoch = frame.get("ref_epoch", comparison.sky.epoch)
        ra, dec = propagate(
            frame["ra"],
            frame["dec"],
            frame.get("pmra"),
            frame.get("pmdec"),
            epoch,
            comparison.sky.catalogue_epoch,
        )
        magnitude = comparison.sky.magnitude
        brightness = frame[magnitude] if magnitude else np.full(len(frame), np.nan)
        return reference.assign(ra=ra, dec=dec, brightness=brightness).reset_index(drop=True)
    keys = frame["key"].astype("string").str.strip()
    keys = keys.mask(keys.isin(["", "-1"]))
    if comparison.key_pattern is not None:
        keys = part_of(keys, comparison.key_pattern)
    reference["key"] = comparison.key_prefix + keys
    return reference.dropna(subset=["key"]).drop_duplicates("key").reset_index(drop=True)


def read_other(comparison: Comparison, path: str | Path) -> pd.DataFrame | None:
    """The labels of another catalogue that an entry compares in the place of ours.

    Returns
    -------
    The labels by the catalogue's key (text) in the index, the first of rows with the same; None for
    an entry without `other`

    Raises
    ------
    UserError
        A column that the entry names is not in the file.
    """
    other = comparison.other
    if other is None:
        return None
    try:
        frame = read_table(
            path,
            {**other.columns, "key": other.reference_key},
            identifiers=["key"] if other.key in ("obsid", "gaia_id") else [],
            missing=other.missing,
        )
    except UserError as error:
        raise UserError(f"comparison {comparison.name}: other: {error}") from None
    keys = frame["key"].astype("string").str.strip()
    values = {
        other.label(name): pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        for name in other.columns
    }
    table = pd.DataFrame(values, index=pd.Index(keys.mask(keys.isin(["", "-1"])), name="key"))
    return table[table.index.notna() & ~table.index.duplicated()]


def with_other(
    block: pd.DataFrame, comparison: Comparison, labels: pd.DataFrame | None
) -> pd.DataFrame:
    """Those rows of the catalogue that `read_other` has labels for, with these.

    Nothing in our catalogue warns of another's labels, so their flags are 0.
    """
    if comparison.other is None or labels is None:
        return block
    keys = catalogue_key(block, comparison.other.key)
    block = block[keys.isin(labels.index)]
    found = labels.reindex(keys[block.index]).set_axis(block.index)
    names = map(comparison.other.label, comparison.other.columns)
    flags = {flag: np.uint8(0) for name in names for flag in network_flags(name)}
    return block.join(found).assign(**flags)


def part_of(keys: pd.Series, pattern: str) -> pd.Series:
    """The first group of a regular expression in each text, missing where it does not match.

    Uses RE2, whose time is linear in the text's length; Python's `re` would not end for some
    patterns.
    """
    texts = pa.array(keys, pa.string(), from_pandas=True)
    anywhere = f"^(?s:.*?)(?:{pattern})(?s:.*)$"
    matched = pc.fill_null(pc.match_substring_regex(texts, anywhere), False)
    part = pc.replace_substring_regex(texts, anywhere, r"\1")
    return pd.Series(
        pc.if_else(matched, part, pa.scalar(None, pa.string())).to_pandas(), dtype="string"
    ).set_axis(keys.index)


def _values(
    comparison: Comparison,
    frame: pd.DataFrame,
    column: str,
    source: str,
    label: str,
    registry: Registry,
) -> NDArray[np.float64]:
    """A label's values (n,) in our unit, from its column, or a column or formula of the entry."""
    own = source in comparison.columns or source in comparison.derived
    values = pd.to_numeric(frame[source if own else column], errors="coerce").to_numpy(np.float64)
    unit = comparison.units.get(label)
    if unit is None or "->" in unit or label not in registry.names:
        return values
    return np.asarray(units.Quantity(values, unit).to_value(registry[label].unit), np.float64)


def catalogue_key(table: pd.DataFrame, key: str) -> pd.Series:
    """The catalogue's side of a comparison's key, as text (n,)."""
    if key == "file_name":
        return pd.Series(
            [
                f"spec-{lmjd}-{planid}_sp{spid:02d}-{fiberid:03d}.fits"
                for lmjd, planid, spid, fiberid in zip(
                    table["lmjd"], table["planid"], table["spid"], table["fiberid"], strict=True
                )
            ],
            index=table.index,
            dtype="string",
        )
    column = "gaia_source_id" if key == "gaia_id" else key
    keys = table[column].astype("string")
    return keys.mask(keys == "-1") if column in ("obsid", "gaia_source_id") else keys


def needed_columns(comparison: Comparison, registry: Registry) -> list[str]:
    """The catalogue's columns that a comparison reads."""
    formulas = [
        *comparison.catalogue_derived.values(),
        *(cut.cut for cut in comparison.catalogue_cuts),
    ]
    formulas += comparison.subsets.values()
    if comparison.key == "catalogue":
        formulas += comparison.derived.values()
        formulas += [source for source in comparison.all_labels.values() if source]
        formulas += comparison.errors.values()
    known = registry.names
    named = [name for formula in formulas for name in parse(formula).columns_of(known)]
    labels = [label for label in comparison.all_labels if label in registry.names]
    derived = [
        name for formula in comparison.catalogue_derived.values() for name in parse(formula).names
    ]
    named += [flag for name in derived for flag in network_flags(name)]
    wanted = [*_IDENTITY, *label_columns(labels, registry), *_CONTEXT, *named]
    return [name for name in dict.fromkeys(wanted) if name in registry.names]


def match(
    catalogue: str | Path,
    comparison: Comparison,
    path: str | Path,
    registry: Registry,
    other: str | Path = "",
) -> pd.DataFrame:
    """Catalogue rows that are also in the reference, after the cuts on both.

    The catalogue (Parquet) is read by row groups, so only the matches need memory (by position, the
    positions of all rows in addition: 16 bytes each). Several spectra of one star all match.

    Parameters
    ----------
    path : the comparison's file; not read by an entry with key catalogue
    other : the file of the labels that it compares in the place of ours, where it does

    Returns
    -------
    One row per match: the catalogue's columns, formulas on them, `ref_{label}` and the other
    columns of `read_reference`, and `star`, the same number for spectra of one star
    """
    needed = needed_columns(comparison, registry)
    theirs = read_other(comparison, other)
    if comparison.key == "catalogue":
        blocks = [
            _own_reference(block, comparison)
            for block in _blocks(catalogue, needed, comparison, theirs)
        ]
    elif comparison.key == "sky":
        reference = read_reference(comparison, path, registry)
        blocks = _by_sky(catalogue, needed, comparison, reference, theirs)
    else:
        reference = read_reference(comparison, path, registry)
        if len(reference) > MOST_MATCHES:
            chosen = np.linspace(0, len(reference) - 1, MOST_MATCHES).round().astype(np.int64)
            reference = reference.iloc[chosen]
        blocks = [
            block.assign(key=catalogue_key(block, comparison.key)).merge(
                reference, on="key", how="inner"
            )
            for block in _blocks(catalogue, needed, comparison, theirs)
        ]
    table = pd.concat(blocks, ignore_index=True)
    table["star"] = stars_of(table)
    if comparison.group is not None:
        for label, source in comparison.all_labels.items():
            if source is None:
                table[f"ref_{label}"] = group_median(
                    table[label], table[f"ref_{comparison.group}"], table["star"]
                )
    return table


def _blocks(
    catalogue: str | Path,
    needed: Sequence[str],
    comparison: Comparison,
    theirs: pd.DataFrame | None,
) -> Iterator[pd.DataFrame]:
    """The catalogue after its cuts, a row group at a time; thinned evenly if it is the reference.

    For other references only matches need memory, but with its own columns every row matches.
    """
    step, start = 1, 0
    if comparison.key == "catalogue":
        step = max(1, -(-pq.read_metadata(catalogue).num_rows // MOST_MATCHES))
    for block in read_catalogue(catalogue, needed):
        first = -start % step
        start += len(block)
        yield _cut(block.iloc[first::step], comparison, theirs)


def _cut(block: pd.DataFrame, comparison: Comparison, theirs: pd.DataFrame | None) -> pd.DataFrame:
    """A block of the catalogue with the other's labels and with its formulas, after its cuts."""
    block = with_other(block, comparison, theirs)
    for name, formula in comparison.catalogue_derived.items():
        where = f"comparison {comparison.name}: catalogue_derived.{name}"
        expression = parse(formula, where)
        block = block.assign(**{name: expression.values(block)})
        # A formula is flagged when any network's label in it is.
        for of_formula, of_label in zip(
            network_flags(name),
            zip(*map(network_flags, expression.names), strict=True),
            strict=True,
        ):
            known = [flag for flag in of_label if flag in block]
            if known:
                block = block.assign(
                    **{of_formula: (block[known] != 0).any(axis=1).astype(np.uint8)}
                )
    for cut in comparison.catalogue_cuts:
        block = block[parse(cut.cut, f"comparison {comparison.name}: catalogue_cuts").holds(block)]
    return block


def _own_reference(block: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Columns of the catalogue itself as the reference."""
    frame = block
    for name, formula in comparison.derived.items():
        where = f"comparison {comparison.name}: derived.{name}"
        frame = frame.assign(**{name: parse(formula, where).values(frame)})
    added = {}
    for label, source in comparison.all_labels.items():
        where = f"comparison {comparison.name}: labels.{label}"
        added[f"ref_{label}"] = parse(str(source), where).values(frame)
    for label, source in comparison.errors.items():
        where = f"comparison {comparison.name}: errors.{label}"
        added[f"ref_{label}_err"] = parse(source, where).values(frame)
    block = block.assign(**added)
    known = np.any([np.isfinite(block[f"ref_{label}"]) for label in comparison.all_labels], axis=0)
    return block[known]


def _by_sky(
    catalogue: str | Path,
    needed: Sequence[str],
    comparison: Comparison,
    reference: pd.DataFrame,
    theirs: pd.DataFrame | None,
) -> list[pd.DataFrame]:
    positions = pd.concat(read_catalogue(catalogue, ["ra", "dec"]), ignore_index=True)
    star, separation = match_sky(
        positions["ra"],
        positions["dec"],
        reference["ra"],
        reference["dec"],
        comparison.sky.radius,
        magnitude=reference["brightness"],
    )
    values = reference.drop(columns=["ra", "dec", "brightness"])
    blocks, start = [], 0
    for block in read_catalogue(catalogue, needed):
        row, apart = star[start : start + len(block)], separation[start : start + len(block)]
        start += len(block)
        found = row >= 0
        matched = values.iloc[row[found]].set_axis(block.index[found])
        joined = block[found].join(matched).assign(separation=apart[found])
        blocks.append(_cut(joined, comparison, theirs))
    return blocks


def stars_of(table: pd.DataFrame) -> NDArray[np.int64]:
    """Number of the star (n,) by position and Gaia's identifier; -1 without a finite position."""
    star = np.full(len(table), -1, np.int64)
    placed = (np.isfinite(table["ra"]) & np.isfinite(table["dec"])).to_numpy()
    if placed.any():
        rows = table[placed]
        star[placed] = group_stars(
            rows["ra"], rows["dec"], STAR_RADIUS, same=rows["gaia_source_id"]
        )
    return star


def group_median(value: pd.Series, group: pd.Series, star: pd.Series) -> NDArray[np.float64]:
    """Median over stars of each row's group (n,); a star counts once, by its spectra's median."""
    known = np.isfinite(value)
    per_star = value[known].groupby([group[known], star[known]]).median()
    medians = per_star.groupby(level=0).median()
    return group.map(medians).to_numpy(np.float64)
