"""Labels of a chunk's stars, with errors, misfit and status; a few model spectra for the report."""

from pathlib import Path

from lamostvac.core.hdf5 import read_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import REASONS
from lamostvac.fit.left_out import left_out_fitter, library_folds
from lamostvac.fit.results import (
    Examples,
    choose_examples,
    described,
    fit_columns,
    line_columns,
    rejections,
    write_fit,
)
from lamostvac.fit.settings import FitSettings
from lamostvac.grouped.chunk_fit import fit_chunk, method_settings
from lamostvac.grouped.groups import read_labels
from lamostvac.spectra.chunk import names_of_networks, open_prepared


def main(snakemake: Job) -> None:
    """Inputs `meta emulator`, `grouped` (empty without a grouped search), `without stars` (see `left_out_fitter`)."""
    log = rule_log(snakemake)
    inputs, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
    settings = method_settings(FitSettings.model_validate(params.settings), params.method)
    stars_of_library = library_folds(inputs.stars)
    fitter = left_out_fitter(inputs.emulator, inputs.without, stars_of_library, settings)
    emulator = fitter.whole.emulator
    with open_prepared(**params.prepared, log=log) as handle:
        identity = read_columns(handle["meta"], ["spectrum_id", "obsid", "ra", "dec", "redshift"])
        of_networks = names_of_networks(handle)
        stars = None
        if params.method != "refine":
            stars = read_labels(inputs.grouped, wildcards.chunk, identity["spectrum_id"].tolist())
        flux, ivar = handle["flux"], handle["ivar"]
        progress = Progress(log, len(identity), "spectra")
        fold = fitter.folds(identity["ra"], identity["dec"])
        seen = flux, ivar, wildcards.type, fold
        fits = fit_chunk(fitter, *seen, params.method, stars, progress.add)
        rows = choose_examples(ivar)
        examples = Examples(rows, flux[rows], ivar[rows])
    columns = {name: identity[name].to_numpy() for name in ("spectrum_id", "obsid")}
    columns |= fit_columns(emulator.label_names, fits) | {"in_library": fold >= 0}
    columns |= line_columns(fits, identity["redshift"].to_numpy())
    rejected = rejections(identity, fits, params.max_outlier_fraction)
    for name, reason in zip(rejected["spectrum_id"], rejected["reason"], strict=True):
        log.info("the emulator cannot label %s: %s", name, REASONS[reason])
    write_fit(
        snakemake.output[0], columns, rejected, examples, fits.labels, fitter.whole, wildcards.type
    )
    if params.last:
        Path(params.prepared["spectra"]).unlink(missing_ok=True)
    progress.done()
    for line in described(fits, rejected):
        log.info("%s", line)
    n, n_rejected = len(identity), int((~rejected["spectrum_id"].isin(of_networks)).sum())
    log.info("%d in, %d accepted, %d rejected", n, n - n_rejected, n_rejected)


if __name__ == "__main__":
    main(snakemake)
