"""A page of each labelled spectrum, and a picture of it with the model at its labels."""

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from lamostvac.core.atomic import atomic
from lamostvac.core.vocabulary import NO_FIT
from lamostvac.label.folder import LabelledFiles, Progress
from lamostvac.label.models import Models
from lamostvac.label.pages import Pages
from lamostvac.star.figures import spectrum as draw
from lamostvac.star.spectrum import StarSpectrum, label_vector, read_star


def draw_all(folder: Path, found: LabelledFiles, models: Models, progress: Progress) -> int:
    """Write the pages of labelled spectra, `{spectrum_id}.html` and a list of them, `index.html`,
    and draw those that the first emulator labels as `{spectrum_id}.png`; returns how many.

    Parameters
    ----------
    folder : made where it does not exist
    progress : called with the spectra done so far and their number
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = found.registry.to_arrow(found.rows, {}).to_pandas()
    pages = Pages(rows, models)
    with matplotlib.rc_context({"backend": "agg"}):
        for number in range(len(rows)):
            row: dict[str, Any] = {str(name): value for name, value in rows.iloc[number].items()}
            spectrum = None if row["fit_status"] == NO_FIT else _read(row, models)
            if spectrum is not None:
                _draw(folder, row, spectrum)
            pages.write(folder, number, spectrum)
            progress(number + 1, len(rows))
    pages.write_list(folder)
    return int(np.count_nonzero(rows["fit_status"] != NO_FIT))


def _read(row: dict[str, Any], models: Models) -> StarSpectrum:
    settings = models.settings
    emulator = models.emulator(settings.library).whole.emulator
    return read_star(
        row["file"],
        row,
        settings.prepare,
        emulator,
        settings.fit,
        label_vector(emulator, row),
        row["spectral_type"],
    )


def _draw(folder: Path, row: dict[str, Any], spectrum: StarSpectrum) -> None:
    figure = draw(spectrum)
    figure.suptitle(title_of(row), fontsize=11)
    with atomic(folder / f"{row['spectrum_id']}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=90, bbox_inches="tight")
    plt.close(figure)


def title_of(row: dict[str, Any]) -> str:
    """Identity and labels of a row in one line: recommended ones, else the emulator's."""
    parts = [f"{row['spectrum_id']}  {row['subclass']}  S/N(r) {row['snrr']:.0f}"]
    for label, name, digits in (("teff", "Teff", 0), ("logg", "log g", 2), ("feh", "[Fe/H]", 2)):
        column = next(
            (one for one in (f"{label}_rec", label) if np.isfinite(row.get(one, np.nan))), None
        )
        if column:
            error = row[f"{column}_err"]
            parts.append(f"{name} {row[column]:.{digits}f} ± {error:.{digits}f}")
    return "   ".join(parts)
