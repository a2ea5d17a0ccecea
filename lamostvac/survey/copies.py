"""Which of several copies of a spectrum is taken: the first that the systems of labels can use."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.batch import Preparer
from lamostvac.spectra.chunk import read_row
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.reader import StoredSpectrum
from lamostvac.spectra.settings import Preparation
from lamostvac.survey.chunks import chunk_table

_OF_ANY_RUN = Preparation(position_tolerance=0, redshift_tolerance=0)
"""No setting of the run, so that none has the survey read its catalogue again."""
_BATCH = 50_000  # spectra whose rows are looked at together; bounds memory


class Copies:
    """Looks at copies of spectra as they are prepared.

    Parameters
    ----------
    settings, networks : how spectra are prepared for the emulator and the networks; by default as
        the emulator's are by default
    """

    def __init__(
        self, settings: Preparation | None = None, networks: NetworkPreparation | None = None
    ) -> None:
        self.settings = settings or _OF_ANY_RUN
        self._preparer = Preparer(self.settings, networks)

    def damage(
        self, read: Callable[[], StoredSpectrum], redshift: float | None
    ) -> tuple[SpectrumRejected | None, bool]:
        """Why a system cannot use a copy, None where all can; and whether one can.

        Parameters
        ----------
        read : gives the copy, or raises `SpectrumRejected`
        redshift : None where it is not known
        """
        try:
            stored = read()
        except SpectrumRejected as why:
            return why, False
        (found,) = self._preparer.prepare([stored], [redshift or 0.0])
        if isinstance(found, SpectrumRejected):
            return found, False
        reasons = [one for one in found.seen if isinstance(one, SpectrumRejected)]
        return (reasons[0] if reasons else None), len(reasons) < len(found.seen)

    def before_the_first_whole(
        self, copies: Iterable[tuple[int, Callable[[], StoredSpectrum], float | None]]
    ) -> tuple[int | None, dict[int, SpectrumRejected]]:
        """Number of the first copy that all systems can use, else of the first that one can, and
        what is wrong with those before it.

        Parameters
        ----------
        copies : number, and `read` and `redshift` of `damage`, in the order in which they count

        Returns
        -------
        None and what is wrong with each where none can be used
        """
        broken: dict[int, SpectrumRejected] = {}
        usable: tuple[int | None, dict[int, SpectrumRejected]] | None = None
        for number, read, redshift in copies:
            why, by_one = self.damage(read, redshift)
            if why is None:
                return number, broken
            if by_one and usable is None:
                usable = number, dict(broken)
            broken[number] = why
        return usable or (None, broken)


def damaged_rows(
    table: pa.Table,
    root: str,
    file_pattern: str,
    max_abs_redshift: float,
    rows: NDArray[np.int64],
    spectra: NDArray[np.int64],
) -> dict[int, str]:
    """The catalogue's rows whose file or redshift cannot be used while a later row of the same
    spectrum has such that can, with the reason; for `selection.select`.

    Files are read only where rows of one spectrum name different ones. They are prepared as for the
    emulator: a run's networks have no say, so that the survey does not hang on their settings.

    Parameters
    ----------
    table : `catalogue.COLUMNS`
    root, file_pattern : as for `paths.spectrum_paths`
    max_abs_redshift : beyond which a redshift is none, as is one that is not finite
    rows, spectra : (n,) rows of spectra that have several, sorted by the spectrum, and a number for
        the spectrum of each
    """
    if table["path"].null_count == len(table) and not _names_files_apart(file_pattern):
        return {}
    copies, found = Copies(), dict[int, str]()
    borders = np.append(np.flatnonzero(np.diff(spectra, prepend=-1)), len(rows))
    for first in range(0, len(borders) - 1, _BATCH):
        here = slice(borders[first], borders[min(first + _BATCH, len(borders) - 1)])
        part = chunk_table(table, rows[here], root, file_pattern).to_pandas()
        part = part.assign(row=rows[here], spectrum=spectra[here])
        named = part.drop_duplicates(["spectrum", "path"])["spectrum"]
        several = part[part["spectrum"].isin(named[named.duplicated()])]
        for _, members in several.groupby("spectrum", sort=False):
            whole, broken = copies.before_the_first_whole(
                (one.row, partial(read_row, one, copies.settings), known(one.redshift))
                if abs(one.redshift) <= max_abs_redshift
                else (one.row, _without_redshift, None)
                for one in members.itertuples(index=False)
            )
            if whole is not None:
                found |= {row: why.reason for row, why in broken.items()}
    return found


def _without_redshift() -> StoredSpectrum:
    raise SpectrumRejected("bad_redshift")


def _names_files_apart(file_pattern: str) -> bool:
    """Whether a pattern can give rows of one spectrum different files."""
    return any(f"{{{name}" in file_pattern for name in ("obsdate", "obsid", "designation"))


def known(redshift: float) -> float | None:
    """A redshift, None where it is not finite."""
    return float(redshift) if np.isfinite(redshift) else None
