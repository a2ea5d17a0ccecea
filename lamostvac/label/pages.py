"""A page of each labelled spectrum, as `lamostvac star` writes it of a star of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lamostvac.catalog.lookup import repeats_among
from lamostvac.core.html import write_page
from lamostvac.core.vocabulary import LABELS
from lamostvac.label.models import Models
from lamostvac.label.pack import PackSettings
from lamostvac.star.page import NOT_FITTED, Star, StarSettings, facts_of, write_page_of
from lamostvac.star.spectrum import StarSpectrum

SIMULATED = (
    "These models were made from a SIMULATED survey: the labels are no measurements of a real star, "
    "only a trial of the program."
)
_DRAWN = 15_000  # stars in the diagrams
_CARDS = {"program": "CREATOR", "commit": "GITHASH", "configuration": "CONFHASH"}
# Columns of the list of all pages: heading, column, digits.
_LISTED = (("S/N in r", "snrr", 1), ("Teff / K", "teff", 0), ("log g", "logg", 2), ("[Fe/H]", "feh", 2))  # fmt: skip


class Pages:
    """The pages of spectra labelled together.

    Parameters
    ----------
    rows : (n,) rows of the table of labels, with the index 0, 1, ...
    """

    def __init__(self, rows: pd.DataFrame, models: Models) -> None:
        self._rows, self._models = rows, models
        self._settings = star_settings(models)
        step = max(1, -(-len(rows) // _DRAWN))
        names = [*LABELS, *(f"{label}_rec" for label in LABELS)]
        sample = rows.iloc[::step][[name for name in names if name in rows]]
        self._sample = sample, "stars that were labelled together"

    def write(self, folder: Path, number: int, spectrum: StarSpectrum | None) -> None:
        """Write the page of a row, `{spectrum_id}.html`; `spectrum` is None where there is no fit."""
        models, settings = self._models, self._models.settings
        row: dict[str, Any] = {str(k): value for k, value in self._rows.iloc[number].items()}
        networks = models.networks if settings.networks else []
        facts = facts_of(
            row,
            self._settings,
            models.emulator(settings.library).whole.emulator,
            models.library_labels(settings.library),
            settings.chi2[row["spectral_type"]],
            {one.label: one.label_range for one in networks},
            {one.label: str(one.attributes.get("spectral_types", "")).split() for one in networks},
        )
        cards = settings.provenance
        star = Star(
            row,
            facts,
            spectrum,
            NOT_FITTED,
            repeats_among(self._rows, number),
            None,  # the library's spectra are not in a pack
            self._sample,
            [
                *((name, cards[card]) for name, card in _CARDS.items() if card in cards),
                ("library", settings.library),
                ("pack", models.pack.path.name),
                ("spectrum's file", Path(row["file"]).name),
            ],
            SIMULATED if settings.simulated else "",
        )
        write_page_of(folder / f"{row['spectrum_id']}.html", star, self._settings)

    def write_list(self, folder: Path) -> None:
        """Write `index.html`, a line with a link for each page."""
        suffix = "_rec" if "teff_rec" in self._rows else ""
        lines = [
            {
                "name": row["spectrum_id"],
                "type": row["spectral_type"],
                "numbers": [self._number(row, name, digits, suffix) for _, name, digits in _LISTED],
                "flags": row["flags"],
            }
            for row in self._rows.to_dict("records")
        ]
        write_page(
            folder / "index.html",
            "label/templates/index.html.j2",
            notice=SIMULATED if self._models.settings.simulated else "",
            head=[heading for heading, _, _ in _LISTED],
            lines=lines,
            pack=self._models.pack.path.name,
        )

    @staticmethod
    def _number(row: dict[Any, Any], column: str, digits: int, suffix: str) -> str | None:
        name = f"{column}{suffix}" if column in LABELS else column
        value, error = row[name], row.get(f"{name}_err", np.nan)
        if not np.isfinite(value):
            return None
        return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if np.isfinite(error) else "")


def star_settings(models: Models) -> StarSettings:
    """What a page needs of a pack's settings."""
    settings: PackSettings = models.settings
    sources: dict[str, Sequence[tuple[str, str, int]]] = {
        item.label: [(source.column, source.system, source.bit) for source in item.sources]
        for item in settings.definitions
    }
    return StarSettings(
        preparation=settings.prepare,
        fit=settings.fit,
        snr_band=settings.snr_band,
        snr_thresholds={str(name): pair for name, pair in settings.snr_thresholds.items()},
        alpha_max_teff=settings.flags["alpha_max_teff"],
        outlier_fraction=settings.flags["outlier_fraction"],
        disagreement=settings.recommended.disagreement,
        network_labels={entry["label"]: entry for entry in settings.network_labels},
        grids=settings.grids,
        sources=sources,
        emulators=models.emulators,
    )
