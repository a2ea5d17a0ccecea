"""A library of the survey's own spectra: those of a training set, which have labels.

Nothing has to be matched: frame, line widths, calibration and masks are the survey's. Two things
are different from a library of its own. Its spectra are noisy, so only those with a high enough S/N
are taken, and the emulator's error is its residuals less the noise of their pixels
(`emulator.discrepancy`). And its stars are in the survey: they are labelled by emulators without
them (`fit.left_out`), for which the library keeps their positions.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lamostvac.core.exceptions import UserError
from lamostvac.core.rejection import REASONS, SpectrumRejected
from lamostvac.external.match import STAR_RADIUS, group_stars
from lamostvac.library.library import SpectralLibrary, complete_labels, label_table
from lamostvac.spectra.chunk import NEEDED
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.identity import check_header
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.rest_frame import rest_spectrum
from lamostvac.spectra.settings import Preparation

ENOUGH = 300
"""Below this many stars a trial on real spectra of DR10 gave worse labels; the log says so, no more."""


def survey_library(
    stars: pd.DataFrame,
    name: str,
    label_names: Sequence[str],
    settings: Preparation,
    min_snr: float = 0.0,
    log: logging.Logger | None = None,
    progress: Callable[[int], None] | None = None,
) -> SpectralLibrary:
    """The library of labelled spectra of the survey, read from the release's files.

    Parameters
    ----------
    stars : a row per spectrum with the columns that reading needs (`spectra.chunk.NEEDED`), `snr`,
        and `teff logg feh alpha_fe` with `_err`, as far as they are known; NaN where unknown
    name : of the library
    label_names : the labels that the fit determines; rows without one of them are left out
    settings : of the preparation, the same as for the spectra that are labelled
    min_snr : spectra whose `snr` is not above this are left out (0: all are taken)

    Returns
    -------
    a library whose `labels` have the columns `ra dec` (degrees) besides, and whose ids begin with
    the number of the star, so that all spectra of a star share a fold (`fold_by_star`)

    Raises
    ------
    UserError
        No spectrum remains.
    """
    log = log or logging.getLogger(__name__)
    table = stars.reset_index(drop=True)
    known = [name for name in _LABELS if name in table.columns]
    labels = label_table({name: table[name].to_numpy(np.float64) for name in known}, len(table))
    complete = complete_labels(labels, label_names)
    log.info(
        "%d of %d spectra have all of %s", complete.sum(), len(complete), ", ".join(label_names)
    )
    bright = (table["snr"].to_numpy() > min_snr) | (min_snr == 0)
    log.info("%d of these have S/N > %g", (complete & bright).sum(), min_snr)
    kept: list[int] = []
    spectra = []
    rejected: Counter[str] = Counter()
    chosen = np.flatnonzero(complete & bright).tolist()
    records: list[Any] = list(table.loc[chosen, NEEDED].itertuples(index=False))
    for number, row in zip(chosen, records, strict=True):
        try:
            spectra.append(_read(row, settings))
            kept.append(number)
        except SpectrumRejected as rejection:
            log.info("rejected %s (%s): %s", row.spectrum_id, row.path, rejection)
            rejected[REASONS[rejection.reason]] += 1
        if progress is not None:
            progress(1)
    for reason, count in sorted(rejected.items()):
        log.info("%d rejected: %s", count, reason)
    if not kept:
        raise UserError(
            f"none of the {len(table)} spectra of the training set for the library {name} has S/N > {min_snr:g}, all "
            f"of {', '.join(label_names)} and a file that can be read; lower its min_snr or shorten its labels, or see "
            "which files are missing in this log"
        )
    table, labels = table.loc[kept], labels.loc[kept].reset_index(drop=True)
    ra, dec = (table[axis].to_numpy(np.float64) for axis in ("ra", "dec"))
    star = group_stars(ra, dec, STAR_RADIUS)
    if (n_stars := len(np.unique(star))) < ENOUGH:
        log.warning(
            "the library %s has %d stars; below some %d its emulator's labels get worse",
            name,
            n_stars,
            ENOUGH,
        )
    pairs = zip(star.tolist(), table["spectrum_id"], strict=True)
    flux, ivar = (np.array(part, np.float32) for part in zip(*spectra, strict=True))
    return SpectralLibrary(
        name=name,
        ids=np.array([f"{number}_{spectrum}" for number, spectrum in pairs]),
        flux=flux,
        ivar=ivar,
        labels=labels.assign(ra=ra, dec=dec),
        label_names=tuple(label_names),
        attributes={"coverage_low": float(GRID[0]), "coverage_high": float(GRID[-1])},
    )


_LABELS = tuple(map(str, label_table({}, 0)))


def _read(row: Any, settings: Preparation) -> tuple[np.ndarray, np.ndarray]:
    """Flux and ivar (4901,) of one spectrum; `SpectrumRejected` where its file is not good."""
    spectrum = read_spectrum(row.path)
    check_header(spectrum.header, row, settings)
    rest = rest_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, row.redshift)
    return normalise_spectrum(rest, settings)
