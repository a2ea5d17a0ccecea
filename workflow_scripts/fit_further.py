"""Labels of a chunk's stars by the emulators beside the first, each in groups of its own name."""

from pathlib import Path

from lamostvac.core.hdf5 import atomic_hdf5, read_columns, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.fit.left_out import left_out_fitter, library_folds
from lamostvac.fit.results import fit_tables
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.chunk import open_prepared


def main(snakemake: Job) -> None:
    """Inputs `meta`, and for each name of the parameter `emulators` `emulator_{name} without_{name} stars_{name}`."""
    log = rule_log(snakemake)
    inputs, params, spectral_type = snakemake.input, snakemake.params, snakemake.wildcards.type
    settings = FitSettings.model_validate(params.settings)
    with (
        open_prepared(**params.prepared, log=log) as handle,
        atomic_hdf5(snakemake.output[0]) as written,
    ):
        meta = read_columns(handle["meta"], ["spectrum_id", "obsid", "ra", "dec"])
        progress = Progress(log, len(meta) * len(params.emulators), "spectra")
        for name in params.emulators:
            emulator, without, stars = (
                inputs.get(f"{part}_{name}") for part in ("emulator", "without", "stars")
            )
            fitter = left_out_fitter(emulator, without, library_folds(stars), settings)
            fold = fitter.folds(meta["ra"], meta["dec"])
            fits = fitter.fit(handle["flux"], handle["ivar"], spectral_type, fold, progress.add)
            names = fitter.whole.emulator.label_names
            tables = fit_tables(meta, names, fits, fold, params.max_outlier_fraction)
            group = written.create_group(name)
            for part, table in tables.items():
                write_columns(group.create_group(part), table)
            log.info(
                "%s: %d in, %d labelled, %d of stars in the library",
                name, len(meta), len(tables["fit"]), (fold >= 0).sum(),
            )  # fmt: skip
    if params.last:
        Path(params.prepared["spectra"]).unlink(missing_ok=True)
    progress.done()


if __name__ == "__main__":
    main(snakemake)
