"""All types in one catalogue, and every spectrum accounted for.

Merging copies the rows' bytes block by block. What rows say of each other (which spectra show one
star, and whether they differ) is all that grows with the number of rows in memory.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.catalog.best_spectrum import best_spectra, stars
from lamostvac.catalog.column import Column
from lamostvac.catalog.files import ROW_GROUP, count_rows, read_blocks, read_some, write_fits
from lamostvac.catalog.registry import Registry
from lamostvac.catalog.repeat_differences import RANDOM, VALUES, differing, set_repeats
from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.manifest import REJECTED_COLUMNS
from lamostvac.core.rejection import REASONS
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.spectra.names import check_distinct, fingerprint


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
    `block` rows of one type. The rows are copied, but for `best_spectrum`, `n_spectra`
    and `flag_repeats`, for which the star's spectra of all types count
    (`lamostvac.catalog.best_spectrum`, `lamostvac.catalog.repeat_differences`).

    Parameters
    ----------
    tables : spectral type to the FITS table that `write_type` wrote

    Returns
    -------
    dict with `accepted` (rows per type), `layouts` (rows per layout of the spectra's files),
    `flags` (flagged rows per flag), `n_recommended` (rows), `empty` (columns without a value) and
    `repeats` (`stars` with several spectra, and how many of them `differ`)

    Raises
    ------
    UserError
        A spectrum is in two types.
    """
    order = [name for name in TYPE_ORDER if name in tables]
    accepted = {name: count_rows(tables[name]) for name in order}
    n = sum(accepted.values())
    survey = _survey_stars({name: tables[name] for name in order}, accepted, registry, block)
    layouts: Counter[str] = Counter()
    n_recommended = 0
    # Columns where no value has been met yet: after some rows few are looked at.
    empty = [column for column in registry if column.dtype != "uint8"]
    flagged: Counter[str] = Counter(dict.fromkeys(registry.flags, 0))
    metadata = {keyword.lower(): str(value) for keyword, (value, _) in cards.items()}

    with (
        atomic(parquet_path) as temporary,
        parquet_writer(temporary, registry, metadata) as writer,
    ):

        def pieces() -> Iterator[NDArray[np.void]]:
            nonlocal n_recommended, empty
            done = 0
            for name in order:
                for rows in read_blocks(tables[name], registry, block):
                    here = slice(done, done + len(rows))
                    rows["best_spectrum"] = survey.best[here]
                    rows["n_spectra"] = survey.n_spectra[here]
                    set_repeats(rows, registry, survey.differ[here])
                    done += len(rows)
                    table = registry.to_arrow(rows, metadata)
                    layouts.update(
                        {
                            pair["values"]: pair["counts"]
                            for pair in table["layout"].value_counts().to_pylist()
                        }
                    )
                    flagged.update(
                        {flag: int(np.count_nonzero(rows[flag])) for flag in registry.flags}
                    )
                    n_recommended += int(np.count_nonzero(rows["recommended"]))
                    empty = [column for column in empty if not has_value(rows[column.name], column)]
                    writer.write_table(table, row_group_size=block)
                    yield rows

        write_fits(fits_path, pieces(), n, registry, cards)
    return {
        "accepted": accepted,
        "layouts": dict(sorted(layouts.items())),
        "flags": dict(flagged),
        "n_recommended": n_recommended,
        "empty": [column.name for column in empty],
        "repeats": {"stars": survey.n_repeated, "differ": survey.n_differing},
    }


def has_value(values: NDArray[Any], column: Column) -> bool:
    """Whether a column (n,) that has a missing value holds any other."""
    if values.dtype.kind == "f":
        return bool(np.isfinite(values).any())
    return bool((values != column.missing).any())


def parquet_writer(
    path: str | Path, registry: Registry, metadata: Mapping[str, str]
) -> pq.ParquetWriter:
    """A writer of the catalogue's form of Parquet, for rows with the columns of `registry`."""
    return pq.ParquetWriter(
        path,
        registry.schema(metadata),
        compression="zstd",
        use_dictionary=repeated_texts(registry),
        write_statistics=True,
    )


def repeated_texts(registry: Registry) -> list[str]:
    """Text columns to store with a Parquet dictionary; numbers would take more space with one."""
    return [
        column.name
        for column in registry
        if column.is_string and column.name not in ("spectrum_id", "designation")
    ]


@dataclass(frozen=True)
class _SurveyStars:
    """What rows (n,) say of each other over all types: `best_spectrum`, `n_spectra` and
    `flag_repeats`; the number of stars with several spectra, and of those of them with the flag.
    """

    best: NDArray[np.uint8]
    n_spectra: NDArray[np.int16]
    differ: NDArray[np.bool_]
    n_repeated: int
    n_differing: int


def _survey_stars(
    tables: Mapping[str, str | Path], accepted: Mapping[str, int], registry: Registry, block: int
) -> _SurveyStars:
    """`UserError` if a spectrum is in two types."""
    n = sum(accepted.values())
    fingerprints = np.empty(n, np.uint64)
    ra, dec, snr = np.empty(n), np.empty(n), np.empty(n, np.float32)
    labels = np.empty((len(VALUES) + len(RANDOM), n), np.float32)
    done = 0
    for path in tables.values():
        for rows in read_blocks(path, registry, block):
            here = slice(done, done + len(rows))
            fingerprints[here] = fingerprint(rows["spectrum_id"])
            ra[here], dec[here], snr[here] = rows["ra"], rows["dec"], rows["snrg"]
            for number, column in enumerate((*VALUES, *RANDOM)):
                labels[number, here] = rows[column]
            done += len(rows)
    _check_types_disjoint(fingerprints, tables, registry)
    ends = np.cumsum([accepted[name] for name in tables])

    def identities(at: NDArray[np.int64]) -> NDArray[np.bytes_]:
        found = np.empty(len(at), registry.record["spectrum_id"])
        for end, (name, path) in zip(ends, tables.items(), strict=True):
            mine = (at < end) & (at >= end - accepted[name])
            found[mine] = read_some(
                path, registry, at[mine] - (end - accepted[name]), "spectrum_id"
            )
        return found

    star = stars(ra, dec)
    best, n_spectra = best_spectra(ra, dec, snr, identities, star)
    differ = differing(star, [*labels[: len(VALUES)]], [*labels[len(VALUES) :]])
    repeated = np.count_nonzero(n_spectra[best != 0] > 1)
    return _SurveyStars(best, n_spectra, differ, int(repeated), len(np.unique(star[differ])))


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
        A reason is none of `lamostvac.core.rejection.REASONS`.
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
                    # The survey rejects for all systems at once.
                    row.setdefault("network_reason", "")
                    for reason in (row["reason"], row["network_reason"] or row["reason"]):
                        if reason not in REASONS:
                            raise UserError(
                                f"{name} rejects {row['spectrum_id']} for the unknown reason {reason!r}"
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
    expected : spectra per type that the survey stage selected
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
        types[name] = {
            "n_in": expected[name],
            "n_accepted": accepted[name],
            "n_rejected": n_rejected,
        }
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


def require_some(balance: Mapping[str, Any]) -> None:
    """Raise `UserError` where `accounting` counts no accepted spectrum, with the commonest
    reasons.
    """
    if balance["n_accepted"]:
        return
    most = Counter(balance["rejected"]["by_reason"]).most_common(3)
    told = "; ".join(f"{count} {reason}" for reason, count in most)
    raise UserError(
        f"none of the {balance['n_in']} spectra could be labelled ({told}): see the rejected files in collected/, and "
        "check survey.root and survey.file_pattern where files are missing"
    )
