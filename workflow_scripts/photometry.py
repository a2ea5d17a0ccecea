"""Join other surveys' magnitudes, parallaxes and distances to one spectral type's rows."""

import numpy as np

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import run_registry
from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.distance.bayestar import ebv_at_distance
from lamostvac.distance.join import join_photometry
from lamostvac.distance.schema import PhotometryFile
from lamostvac.external.sky import galactic_coordinates


def main(snakemake: Job) -> None:
    """Inputs `collected`, `tables`, `dust`; output Parquet, one row per row of `collected` in its order."""
    log = rule_log(snakemake)
    params = snakemake.params
    registry = run_registry(params)
    names = ["spectrum_id", "ra", "dec", "gaia_source_id_release"]
    spectra = read_fields(snakemake.input.collected, registry, names)
    spectra["gaia_source_id"] = spectra.pop("gaia_source_id_release")
    settings = PhotometryFile.model_validate(params.tables)
    table, found = join_photometry(spectra, settings, params.root, params.repeat_radius)
    for name, number in found.items():
        log.info("%s: %d of %d spectra", name, number, len(table))
    longitude, latitude = galactic_coordinates(spectra["ra"], spectra["dec"])
    for path in snakemake.input.dust:
        table["ebv_bayes19"] = ebv_at_distance(
            path, longitude, latitude, table["r_geo"], params.bayestar_scale
        )
        log.info("%s: E(B-V) of %d spectra", path, table["ebv_bayes19"].notna().sum())
    single = [name for name in table.columns if name not in ("gaia_source_id", "parallax")]
    table = table.astype(dict.fromkeys(single, np.float32))
    table.insert(0, "spectrum_id", spectra["spectrum_id"].astype(str))
    table.insert(1, "l", longitude)
    table.insert(2, "b", latitude)
    with atomic(snakemake.output[0]) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


if __name__ == "__main__":
    main(snakemake)
