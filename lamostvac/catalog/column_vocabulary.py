"""Units and UCDs of columns as their standards have them.

Apart from the other rules, since astropy's units take most of a second to import: a run looks at the
words once, when it starts, and not in each of its jobs.
"""

from collections.abc import Iterable, Iterator

from astropy import units
from astropy.io.votable.ucd import check_ucd

from lamostvac.catalog.column import Column


def unknown_words(columns: Iterable[Column]) -> Iterator[str]:
    """The units that the FITS standard does not know and the UCDs that are no UCD1+, one sentence each."""
    for column in columns:
        if column.unit and not _is_fits_unit(column.unit):
            yield f"column {column.name!r} has unit {column.unit!r}, which the FITS standard does not know"
        if not check_ucd(column.ucd, check_controlled_vocabulary=True, has_colon=False):
            yield f"column {column.name!r} has UCD {column.ucd!r}, which is not UCD1+"


def _is_fits_unit(text: str) -> bool:
    try:
        units.Unit(text, format="fits")
    except ValueError:
        return False
    return True
