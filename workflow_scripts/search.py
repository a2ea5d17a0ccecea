"""The grouped search for some of a type's groups."""

import h5py
import numpy as np

from lamostvac.core.hdf5 import atomic_hdf5, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import read_emulator
from lamostvac.grouped.groups import STAR_FIELDS, batch_groups, group_status
from lamostvac.grouped.search import GroupedSettings, fit_group, group_seed
from lamostvac.library.library import read_library_labels


def main(snakemake: Job) -> None:
    """Inputs `stars emulator library`; the output has the stars of the job's groups, in their order."""
    log = rule_log(snakemake)
    params, wildcards = snakemake.params, snakemake.wildcards
    settings = GroupedSettings(**params.settings)
    emulator = read_emulator(snakemake.input.emulator)
    library_labels = read_library_labels(snakemake.input.library)
    n_labels = library_labels.shape[1]
    stars: dict[str, list[np.ndarray]] = {
        "labels": [np.empty((0, n_labels))],
        "first": [np.empty((0, n_labels))],
        "chi2": [np.empty(0)],
        "chi2_first": [np.empty(0)],
        "fit_group": [np.empty(0, np.int32)],
        "fit_status": [np.empty(0, np.int8)],
        "n_iterations": [np.empty(0, np.int32)],
    }
    identifiers = [np.empty(0, "S1")]
    groups: list[tuple[int, ...]] = []
    coordinates, history = [np.empty(0)], [np.empty(0)]
    with h5py.File(snakemake.input.stars) as handle:
        n_stars = len(handle["spectrum_id"])
        jobs = batch_groups(n_stars, params.group_size, params.groups_per_job, int(wildcards.batch))
        progress = Progress(log, sum(rows.stop - rows.start for _, rows in jobs), "spectra")
        for number, rows in jobs:
            candidates = library_labels[handle["candidates"][rows]]
            fit = fit_group(
                emulator,
                handle["components"][rows],
                handle["residual"][rows],
                candidates,
                settings,
                group_seed(params.seed, wildcards.type, number),
            )
            n, n_iterations = len(candidates), len(fit.history) - 1
            found = {
                "labels": fit.labels,
                "first": candidates[:, 0],
                "chi2": fit.chi2,
                "chi2_first": fit.chi2_first,
                "fit_group": np.full(n, number, np.int32),
                "fit_status": group_status(emulator, fit, settings.max_extrapolation),
                "n_iterations": np.full(n, n_iterations, np.int32),
            }
            for name, values in found.items():
                stars[name].append(values)
            identifiers.append(handle["spectrum_id"][rows])
            groups.append(
                (number, n, fit.n_dimensions, fit.n_evaluations, n_iterations, fit.settled)
            )
            coordinates.append(fit.coordinates)
            history.append(fit.history)
            log.info(
                "group %d: %d spectra, %d dimensions, %d evaluations, mean chi2 %.4g, of the first matches %.4g",
                number,
                n,
                fit.n_dimensions,
                fit.n_evaluations,
                fit.chi2.mean(),
                fit.chi2_first.mean(),
            )
            progress.add(n)
    names = ("fit_group", "n_spectra", "n_dimensions", "n_evaluations", "n_iterations", "settled")
    table = np.array(groups, dtype=np.int32).reshape(-1, len(names))
    with atomic_hdf5(snakemake.output[0]) as handle:
        handle.create_dataset("spectrum_id", data=np.concatenate(identifiers), track_times=False)
        for name in STAR_FIELDS:
            handle.create_dataset(name, data=np.concatenate(stars[name]), track_times=False)
        write_columns(handle.create_group("groups"), dict(zip(names, table.T, strict=True)))
        # One after the other: n_dimensions numbers of each group, and n_iterations + 1.
        handle.create_dataset("coordinates", data=np.concatenate(coordinates), track_times=False)
        handle.create_dataset("history", data=np.concatenate(history), track_times=False)
    progress.done()


if __name__ == "__main__":
    main(snakemake)
