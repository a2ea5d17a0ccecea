"""The page of one star from a finished run."""

import numpy as np

from lamostvac.catalog.registry import emulator_labels
from lamostvac.core.hdf5 import open_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.settings import Preparation
from lamostvac.star.page import StarFiles, StarSettings, write_star_page
from lamostvac.uncertainty.snr_threshold import threshold_in_use


def thresholds(
    configured: dict[str, tuple[float, float]], errors: dict[str, str], mode: str
) -> dict[str, tuple[float, float]]:
    """S/N thresholds by type: those configured, or where the run is to find them and has, those found."""
    result = {}
    for name, pair in configured.items():
        found = np.nan
        if mode == "found":
            with open_hdf5(errors[name]) as handle:
                found = float(handle.attrs["snr_threshold"])
        result[name] = threshold_in_use((pair[0], pair[1]), found)
    return result


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params = snakemake.params
    settings = StarSettings(
        preparation=Preparation.model_validate(params.preparation),
        fit=FitSettings.model_validate(params.fit),
        snr_thresholds=thresholds(params.snr_thresholds, params.errors, params.snr_flag),
        emulators=emulator_labels(params.emulators),
        **params.settings,
    )
    write_star_page(
        snakemake.output[0], snakemake.wildcards.star, StarFiles(**params.files), settings
    )
    log.info("page of %s", snakemake.wildcards.star)


if __name__ == "__main__":
    main(snakemake)
