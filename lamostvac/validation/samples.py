"""How many stars and spectra a run learns from, beside the numbers of the two papers."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lamostvac.catalog.published_samples import PublishedSamples, beside, training_stars

COLUMNS = ("sample", "part", "unit", "n", "published", "difference_percent", "source")


def sample_sizes(
    steps: Mapping[str, pd.DataFrame],
    library: tuple[str, str, int],
    published: PublishedSamples,
) -> pd.DataFrame:
    """A row (`COLUMNS`) for each part of each sample.

    Parameters
    ----------
    steps : training set to its accounting, `step n_stars`
    library : name, format and number of spectra of the run's library

    Returns
    -------
    published, difference_percent and source are missing where no paper gives the number
    """
    rows = []
    for name, table in steps.items():
        known = table[table["n_stars"].notna()]
        counts = training_stars(
            dict(zip(known["step"], known["n_stars"].astype(int).tolist(), strict=True))
        )
        theirs = published.training_sets.get(name)
        for part, n in counts.items():
            number = getattr(theirs, part) if theirs else None
            source = theirs.source if theirs and number is not None else ""
            rows.append((f"training set {name}", part, "stars", n, number, source))
    name, kind, n = library
    spectra = published.libraries.get(kind)
    rows.append(
        (
            f"library {name}",
            "all",
            "spectra",
            n,
            spectra.spectra if spectra else None,
            spectra.source if spectra else "",
        )
    )
    made = pd.DataFrame(
        rows, columns=[name for name in COLUMNS if name != "difference_percent"]
    ).astype({"published": "Int64"})
    ratio = made["n"].to_numpy(float) / made["published"].to_numpy(float, na_value=np.nan)
    return made.assign(difference_percent=100 * (ratio - 1))[list(COLUMNS)]


def sentences(table: pd.DataFrame) -> list[str]:
    """A sentence for each number that a paper gives, from what `sample_sizes` returns."""
    known = table[table["published"].notna()]
    return [
        beside(
            f"{row['sample']}, {row['part']}, {row['unit']}",
            row["n"],
            row["published"],
            row["source"],
        )
        for row in known.to_dict("records")
    ]
