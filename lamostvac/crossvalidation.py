"""How well the fit recovers the labels of library stars that the emulator has not seen (Liang+ 2024 Fig. 7)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.emulator import build_emulator, label_columns, spectral_type_of
from lamostvac.gaussian_process import Mean
from lamostvac.hyperparameters import Choice
from lamostvac.library import SpectralLibrary
from lamostvac.masks import Regions
from lamostvac.starfit import FitSettings, fit_stars, starting_rows


def folds_by_star(ids: NDArray[np.str_], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold (n,) of each spectrum; spectra of one star (same id before the first `_`) share a fold."""
    stars, inverse = np.unique([name.split("_")[0] for name in ids], return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(stars))
    return np.asarray((np.argsort(shuffled) % folds)[inverse])


def cross_validate(
    library: SpectralLibrary,
    masked_regions: Regions,
    variance: float,
    length_scale: float,
    amplitude: float,
    noise: float,
    mean: Mean,
    hyperparameters: Choice,
    folds: int,
    seed: int,
    fit: FitSettings,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Each library star fitted by an emulator without its fold.

    Principal components, scaling, process, prior and first guess all come from the other folds.
    Returns one row per spectrum: `id fold spectral_type`, and for each label `{label}_true`,
    `{label}`, `{label}_err`, the first guess `{label}_cfi`, and `fit_status`.
    """
    fold = folds_by_star(library.ids, folds, seed)
    labels = library.label_array()
    names = library.label_names
    logg = library.labels["logg"].to_numpy() if "logg" in names else np.full(len(fold), np.inf)
    parts = []
    for number in range(folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(test) == 0:
            continue
        emulator = build_emulator(
            library,
            masked_regions,
            variance,
            length_scale,
            amplitude,
            noise,
            mean,
            hyperparameters,
            rows=train,
        )
        flux, ivar = library.flux[test], library.ivar[test]
        rows, correlations = starting_rows(emulator, flux, ivar, library.flux[train], logg[train])
        first = train[correlations.argmax(axis=1)]
        # The classification of a survey star is known before its fit; here the first guess stands in.
        types = spectral_type_of(labels[first, 0])
        scale = np.array([emulator.discrepancy_scale[name] for name in types])
        fits = fit_stars(emulator, flux, ivar, labels[train][rows], scale, fit)
        parts.append(
            pd.DataFrame(
                {
                    "row": test,
                    "id": library.ids[test],
                    "fold": number,
                    "spectral_type": spectral_type_of(labels[test, 0]),
                    **label_columns(names, labels[test], "_true"),
                    **label_columns(names, fits.labels),
                    **label_columns(names, fits.errors, "_err"),
                    **label_columns(names, labels[first], "_cfi"),
                    "fit_status": fits.status,
                }
            )
        )
        if progress is not None:
            progress(len(test))
    return pd.concat(parts).sort_values("row").drop(columns="row").reset_index(drop=True)
