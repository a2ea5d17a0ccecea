"""How well the fit recovers the labels of library stars that the emulator has not seen
(Liang+ 2024 Fig. 7).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import (
    SURVEY_RESOLVING_POWER,
    Emulator,
    build_emulator,
    label_columns,
)
from lamostvac.emulator.settings import DistilSettings, EmulatorSettings
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.library.library import SpectralLibrary
from lamostvac.spectra.masks import Regions


def folds_by_star(ids: NDArray[np.str_], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold (n,) of each spectrum; spectra of one star (same id before the first `_`) share a
    fold.
    """
    stars, inverse = np.unique([name.split("_")[0] for name in ids], return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(stars))
    return np.asarray((np.argsort(shuffled) % folds)[inverse])


def cross_validate(
    library: SpectralLibrary,
    masked_regions: Regions,
    settings: EmulatorSettings,
    folds: int,
    seed: int,
    fit: FitSettings,
    distilled: DistilSettings | None = None,
    progress: Callable[[int], None] | None = None,
    resolving_power: float = SURVEY_RESOLVING_POWER,
    keep: Callable[[int, Emulator], None] | None = None,
) -> pd.DataFrame:
    """Each library star fitted by an emulator without its fold.

    Principal components, scaling, process, prior and first guess all come from the other folds. The
    spectral type follows from the true Teff; a survey star has it from its classification before
    the fit.

    Parameters
    ----------
    distilled : how the emulators are distilled for the fit; None fits with the whole ones
    resolving_power : as in `build_emulator`
    keep : gets the number of each fold and the emulator without its stars

    Returns
    -------
    one row per spectrum: `id fold spectral_type`, and for each label `{label}_true`, its error in
    the library `{label}_true_err`, `{label}`, `{label}_err` and its parts `{label}_err_random` and
    `{label}_noise` (a library's spectra have no errors of velocity and line width), the first guess
    `{label}_first`, and `fit_status`
    """
    fold = folds_by_star(library.ids, folds, seed)
    labels = library.label_array()
    names = library.label_names
    known = library.labels[[f"{name}_err" for name in names]].to_numpy(np.float64)
    types = spectral_type_of(labels[:, 0])
    parts = []
    for number in range(folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(test) == 0:
            continue
        emulator = build_emulator(
            library, masked_regions, settings, rows=train, resolving_power=resolving_power
        )
        if distilled is not None:
            emulator, _ = distil(emulator, distilled)
        if keep is not None:
            keep(number, emulator)
        fits = StarFitter(emulator, fit).fit(library.flux[test], library.ivar[test], types[test])
        parts.append(
            pd.DataFrame(
                {
                    "row": test,
                    "id": library.ids[test],
                    "fold": number,
                    "spectral_type": types[test],
                    **label_columns(names, labels[test], "_true"),
                    **label_columns(names, known[test], "_true_err"),
                    **label_columns(names, fits.labels),
                    **label_columns(names, fits.errors, "_err"),
                    **label_columns(names, fits.random, "_err_random"),
                    **label_columns(names, fits.noise, "_noise"),
                    **label_columns(names, fits.first, "_first"),
                    "fit_status": fits.status,
                }
            )
        )
        if progress is not None:
            progress(len(test))
    return pd.concat(parts).sort_values("row").drop(columns="row").reset_index(drop=True)
