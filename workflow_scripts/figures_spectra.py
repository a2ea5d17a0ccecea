"""Observed and model spectra of one example of each spectral type."""

from pathlib import Path
from typing import Any

from lamostvac.core.hdf5 import open_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.catalogue import spectra
from lamostvac.report.style import save
from lamostvac.spectra.grid import GRID


def first_example(path: str) -> dict[str, Any] | None:
    """The first example that a fit stored in its group `examples`, or None."""
    with open_hdf5(path) as handle:
        group = handle.get("examples")
        if group is None or not len(group["spectrum_id"]):
            return None
        return {
            "spectrum_id": group["spectrum_id"][0].decode(),
            "spectral_type": Path(path).parent.name,
            **{name: group[name][0] for name in ("flux", "model", "used")},
        }


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    examples = [
        example for path in snakemake.input.fits if (example := first_example(path)) is not None
    ]
    save(spectra(GRID, examples), snakemake.output[0])
    log.info("%d examples", len(examples))


if __name__ == "__main__":
    main(snakemake)
