"""The release's catalogue: reading CSV and FITS tables, names of columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lamostvac.core.exceptions import UserError
from lamostvac.core.former_names import present_name
from lamostvac.core.messages import listed
from lamostvac.external.columns import read_columns

TEXT = pa.dictionary(pa.int32(), pa.string())
COLUMNS: dict[str, pa.DataType] = {
    "obsid": pa.int64(),
    "designation": pa.large_string(),
    "obsdate": TEXT,
    "lmjd": pa.int32(),
    "planid": TEXT,
    "spid": pa.int32(),
    "fiberid": pa.int32(),
    "ra": pa.float64(),
    "dec": pa.float64(),
    "snru": pa.float32(),
    "snrg": pa.float32(),
    "snrr": pa.float32(),
    "snri": pa.float32(),
    "snrz": pa.float32(),
    "lamost_class": TEXT,
    "subclass": TEXT,
    "redshift": pa.float64(),
    "redshift_err": pa.float32(),
    "path": pa.large_string(),
    # Absent from many releases; then -1 in the chunks.
    "gaia_source_id": pa.int64(),
    "uid": pa.large_string(),
    # In general catalogues of few releases; `stellar.add_velocities` brings them from others (km/s).
    "rv": pa.float32(),
    "rv_err": pa.float32(),
}
"""What is read from a catalogue: column and type in memory."""
ERRORS = ("redshift_err", "rv_err")
"""Null where they are negative."""
CARRIED = ("uid", "rv", "rv_err")
"""Columns that no stage before the catalogue looks at: a chunk's spectra do not depend on them."""
WIDTHS = {
    "planid": 32,
    "uid": 24,
    "designation": 26,
    "obsdate": 10,
    "lamost_class": 10,
    "subclass": 20,
}
"""Most characters of the texts that go into the catalogue (config/columns.yaml)."""
REQUIRED = (
    "lmjd",
    "planid",
    "spid",
    "fiberid",
    "ra",
    "dec",
    "lamost_class",
    "subclass",
    "redshift",
)
ALIASES = {
    "ra_obs": "ra",
    "dec_obs": "dec",
    "obs_ra": "ra",
    "obs_dec": "dec",
    "sn_u": "snru",
    "sn_g": "snrg",
    "sn_r": "snrr",
    "sn_i": "snri",
    "sn_z": "snrz",
    "snr_u": "snru",
    "snr_g": "snrg",
    "snr_r": "snrr",
    "snr_i": "snri",
    "snr_z": "snrz",
    "desig": "designation",
    "plan_id": "planid",
    "sp_id": "spid",
    "fiber_id": "fiberid",
    "obs_id": "obsid",
    "date_obs": "obsdate",
    "sub_class": "subclass",
    "subcla": "subclass",
    "redshift": "redshift",
    "combined_obsid": "obsid",
    "gaia_id": "gaia_source_id",
}
"""Names of the same columns in other releases (formats: shared facts on LAMOST files)."""
IN_RELEASES = {"lamost_class": "class", "redshift": "z", "redshift_err": "z_err"}
"""What every release calls a column that has another name here."""


def read_catalogue(
    path: str | Path, aliases: Mapping[str, str] | None = None, notes: list[str] | None = None
) -> pa.Table:
    """One catalogue as a table with exactly the columns `COLUMNS`.

    Text or FITS, plain or with gzip, by the rules of `lamostvac.external`. Column names are
    compared in lower case, through `IN_RELEASES`, `ALIASES` and `aliases` (name in the file: our
    name); a column under the releases' usual name has precedence over one under an alias. Values
    that are missing or not numbers are null, and so are absent columns that are not `REQUIRED`.
    Changes made in reading are added to `notes`.

    Raises
    ------
    UserError
        The file is missing or unreadable, or lacks a required column.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"the catalogue {path} does not exist; check survey.root and survey.catalogues"
        )
    columns = columns_by_our_names(path, COLUMNS, REQUIRED, aliases, notes, "the catalogue")
    table = _complete(pa.table(columns))
    return table.set_column(table.column_names.index("obsdate"), "obsdate", _days(table["obsdate"]))


def columns_by_our_names(
    path: str | Path,
    kinds: Mapping[str, pa.DataType],
    required: Sequence[str],
    aliases: Mapping[str, str] | None,
    notes: list[str] | None,
    what: str,
) -> dict[str, pa.ChunkedArray]:
    """Those columns of a release's table that it has, by our names.

    Parameters
    ----------
    kinds : our name to type in memory, some of `COLUMNS`
    required : of these
    what : the table in error messages, before its path
    """
    known = {*kinds, *IN_RELEASES.values(), *ALIASES, *(name.lower() for name in aliases or {})}
    columns, found = read_columns(
        path,
        lambda names: _match_columns(names, kinds, required, aliases or {}, f"{what} {path}"),
        kinds,
        lambda names: sum(name.lower() in known for name in names),
    )
    if notes is not None:
        notes.extend(found.sentences(path))
    return columns


def _days(dates: pa.ChunkedArray) -> pa.Array:
    """Dates (n,) without the time of day that some tables give."""
    days = pc.replace_substring_regex(
        dates.cast(pa.string()), r"^(\d{4}-?\d{2}-?\d{2})[T ].*$", r"\1"
    )
    return days.combine_chunks().dictionary_encode().cast(TEXT)


def _match_columns(
    names: Sequence[str],
    kinds: Mapping[str, pa.DataType],
    required: Sequence[str],
    aliases: Mapping[str, str],
    what: str,
) -> dict[str, int]:
    """Which of a file's columns serve as ours: `{our name: index in names}`.

    Raises `UserError` naming the first required column that is absent and how to give an alias.
    """
    clean = [name.strip().strip('"').lstrip("#").strip().lower() for name in names]
    usual = {ours: IN_RELEASES.get(ours, ours) for ours in kinds}
    own = {ours: clean.index(theirs) for ours, theirs in usual.items() if theirs in clean}
    configured = {
        theirs.lower(): present_name(ours.lower(), COLUMNS) for theirs, ours in aliases.items()
    }
    for theirs, ours in configured.items():
        if ours not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise UserError(
                f"survey.column_aliases: {ours} is not a column that is read; those are {known}"
            )
        if theirs in clean and ours in kinds:
            own[ours] = clean.index(theirs)  # the user's aliases have precedence
    for theirs, ours in ALIASES.items():
        if ours in kinds and ours not in own and theirs in clean:
            own[ours] = clean.index(theirs)
    for name in required:
        if name not in own:
            raise UserError(
                f"{what} has no column {usual[name]}; if it stands there under another name, write "
                f"`survey: column_aliases: {{that name: {name}}}` (its columns are {listed(clean)})"
            )
    return own


def _complete(table: pa.Table) -> pa.Table:
    """Columns in the order of `COLUMNS`; absent ones null, and errors that are negative."""
    columns = {
        name: table[name].cast(kind) if name in table.column_names else pa.nulls(len(table), kind)
        for name, kind in COLUMNS.items()
    }
    for name in ERRORS:  # DR10 has -0.033, beside -9999 for none
        columns[name] = pc.if_else(pc.less(columns[name], 0), None, columns[name])
    return pa.table(columns)


def read_catalogues(
    paths: Sequence[str | Path],
    aliases: Mapping[str, str] | None = None,
    notes: list[str] | None = None,
) -> pa.Table:
    """The catalogues one after the other, as one table with single-chunk columns; `notes` as in
    `read_catalogue`.
    """
    tables = [read_catalogue(path, aliases, notes) for path in paths]
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()
