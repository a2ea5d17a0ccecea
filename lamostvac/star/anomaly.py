"""Spectra that are unlike any star, read again for the figure of them."""

from pathlib import Path
from typing import Any

import numpy as np

from lamostvac.catalog.lookup import find_star, spectrum_path
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.core.vocabulary import NO_FIT
from lamostvac.emulator.model import Emulator
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.settings import Preparation
from lamostvac.star.spectrum import label_vector, read_star


def read_anomaly(
    spectrum_id: str,
    catalogue: str | Path,
    manifest: str | Path,
    chunks: str,
    preparation: Preparation,
    emulator: Emulator,
    fit: FitSettings,
) -> dict[str, Any] | None:
    """A spectrum as `report.catalogue.anomalous` draws it; None where its file is gone.

    Parameters
    ----------
    catalogue : recommended.parquet
    manifest, chunks : the survey's table of chunks, and the pattern of their files with {type} and
        {chunk}
    preparation, fit : as for the survey's spectra
    """
    found = find_star(catalogue, spectrum_id)
    if found is None or int(found[1]["fit_status"]) == NO_FIT:
        return None
    row: dict[str, Any] = {str(name): value for name, value in found[1].items()}
    kind = str(row["spectral_type"])
    path = spectrum_path(manifest, chunks, kind, int(row["lmjd"]), spectrum_id)
    if path is None:
        return None
    try:
        spectrum = read_star(
            path, row, preparation, emulator, fit, label_vector(emulator, row), kind
        )
    except SpectrumRejected:
        return None
    number = f", obsid {int(row['obsid'])}" if int(row["obsid"]) > 0 else ""
    share = 100 * float(row["outlier_fraction"])
    # A dollar sign would begin a formula.
    name = spectrum_id.replace("$", r"\$")
    return {
        "title": f"{kind}  {name}{number}, {share:.1f} % left out, chi2 {row['chi2']:.2f}",
        "wave": spectrum.wave,
        "raw": spectrum.flux,
        "good": spectrum.good,
        "flux": spectrum.normalised,
        "model": spectrum.model,
        "masked": np.asarray(spectrum.ivar == 0),
        "left_out": spectrum.left_out,
    }
