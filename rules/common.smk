# What several rules ask of the survey's manifest and of the configuration, and what the report consists of.

import functools
import os

import pandas as pd

from lamostvac.files import shipped
from lamostvac.grouping import batch_names
from lamostvac.star_rows import require_star


@functools.lru_cache(maxsize=4)
def read_manifest(path, modified):
    """The manifest's chunks by spectral type; read once, since a release has hundreds of chunks."""
    manifest = pd.read_csv(path, dtype={"type": str, "chunk": str}, keep_default_na=False)
    return {name: tuple(rows["chunk"]) for name, rows in manifest.groupby("type", sort=False)}


def chunks_of(spectral_type):
    """Chunks of a spectral type, none where the survey found no spectrum of it."""
    checkpoints.survey.get()
    path = f"{RESULTS}/survey/manifest.csv"
    return read_manifest(path, os.path.getmtime(path)).get(spectral_type, ())


def chunk_files(pattern):
    """Input function: `pattern` with {type} and {chunk} for every chunk of the wildcard `type`."""

    def files(wildcards):
        return expand(pattern, type=wildcards.type, chunk=chunks_of(wildcards.type))

    return files


def group_batches(wildcards):
    """Results of the jobs that search the groups of a type; the survey knows how many there can be."""
    checkpoints.survey.get()
    groups = pd.read_csv(f"{RESULTS}/survey/groups.csv", dtype={"type": str}, keep_default_na=False)
    n_groups = int(groups.loc[groups["type"] == wildcards.type, "n_groups"].sum())
    names = batch_names(n_groups, CFG.grouped.groups_per_job)
    return expand(f"{RESULTS}/grouped/{{type}}/{{batch}}.h5", type=wildcards.type, batch=names)


def prepared_of(types):
    """Prepared chunks of some spectral types."""

    def files(wildcards):
        return [f"{RESULTS}/prepared/{name}/{chunk}.h5" for name in types for chunk in chunks_of(name)]

    return files


def experiment_chunks(wildcards):
    """Prepared chunks that survey stars are drawn from: a few of each type, evenly spaced."""
    files = []
    for name in CFG.survey.types:
        chunks = chunks_of(name)
        n = min(CFG.experiments.n_chunks, len(chunks))
        chosen = [chunks[len(chunks) * (2 * i + 1) // (2 * n)] for i in range(n)]
        files += [f"{RESULTS}/prepared/{name}/{chunk}.h5" for chunk in chosen]
    return files


def all_chunks(wildcards):
    """The chunks of all types as the survey wrote them."""
    return [
        f"{RESULTS}/survey/chunks/{name}/{chunk}.parquet"
        for name in CFG.survey.types
        for chunk in chunks_of(name)
    ]


def library_spectra(name):
    """The file with the spectra of a library, or the folder; the run's own may be a simulated one."""
    return SIMULATED_LIBRARY if name in OWN_LIBRARIES and SIMULATED_LIBRARY else LIBRARIES[name].spectra


def library_labels(name):
    """The file with the labels of a library, in a list that is empty when they stand with the spectra."""
    if name in OWN_LIBRARIES and SIMULATED_LIBRARY:
        return [rules.simulate.output.labels]
    return [LIBRARIES[name].labels_file] if LIBRARIES[name].labels_file else []


def library_settings(name):
    """What of a library's section its reader and its preparation depend on."""
    return LIBRARIES[name].model_dump(mode="json", exclude={"spectra", "labels_file", "variance"})


def emulator_settings(name, exclude=None):
    """The section `emulator`, with the variance that a compared library may have of its own."""
    settings = CFG.emulator.model_dump(mode="json", exclude=exclude)
    settings["resolving_power"] = CFG.library.resolution.survey_resolving_power
    own = getattr(LIBRARIES[name], "variance", None)
    return settings if own is None else settings | {"variance": own}


def emulator_memory(input):
    """MB to build an emulator: half a kernel matrix (4 n^2 bytes, n = 27 spectra per MB), and spectra and components.

    MaStar's 18,654 spectra, 730 MB, peak at 3.3 GB with 13 components; 4.9 GB are asked for.
    """
    return int(1000 + 3.5 * input.size_mb + 4 * (27 * input.size_mb) ** 2 / 1e6)


def training_files(wildcards):
    """The catalogue files of a set."""
    return [f"{CATALOGUES_ROOT}/{name}" for name in TRAINING_SETS[wildcards.training_set].files()]


def photometry_tables(wildcards):
    """The catalogue files that magnitudes are joined from."""
    return [str(table.path(PHOTOMETRY_ROOT)) for _, table in PHOTOMETRY.tables()]


def training_inputs(wildcards):
    """Candidates of a set, or the parent that its rows are from."""
    entry = TRAINING_SETS[wildcards.training_set]
    folder = f"{RESULTS}/training"
    if entry.parent is not None:
        return {"table": f"{folder}/{entry.parent}.fits", "spectra": f"{folder}/{entry.parent}_spectra.h5"}
    return {
        "candidates": f"{folder}/{entry.name}_candidates.parquet",
        "steps": f"{folder}/{entry.name}_crossmatch.csv",
        "files": training_files(wildcards),
    }


def crossmatch_settings(wildcards):
    """What of a set the match depends on; cuts and labels can change without a new match."""
    later = {"optional", "cuts", "grid", "clip", "network", "spectra", "max_bad_fraction"}
    entry = TRAINING_SETS[wildcards.training_set]
    # Without these an entry is not complete, so the match gets some that never change.
    return entry.model_dump(mode="json", by_alias=True, exclude=later) | {
        "title": "",
        "split": {"train_fraction": 1},
        "labels": [{"name": "unused", "column": "snr", "description": ""}],
    }


def training_table(wildcards):
    """Table and spectra of the set that a label belongs to."""
    name = SET_OF_LABEL[wildcards.label]
    return {
        "table": f"{RESULTS}/training/{name}.fits",
        "spectra": f"{RESULTS}/training/{name}_spectra.h5",
    }


def label_entry(wildcards):
    """What the configuration says of a label and of its set's networks."""
    entry = TRAINING_SETS[SET_OF_LABEL[wildcards.label]]
    label = next(label for label in entry.labels if label.name == wildcards.label)
    return {
        "set": entry.name,
        "optional": entry.optional,
        "snr_band": entry.snr_band,
        "label": label.model_dump(mode="json", exclude={"cuts", "column", "error"}),
        "network": entry.network.model_dump(mode="json", exclude={"apply"}),
    }


def missing_for_star(wildcards):
    """What the page needs and a run has not made yet; all of it exists after a run.

    Files that exist are no inputs, so that Snakemake does not look at the whole run for one page: not at 100,000
    jobs, and not at what would be made again after a change of the configuration. Params carry their times instead.
    """
    if os.path.exists(STAR_FILES["catalogue"]) and os.path.exists(STAR_FILES["rejected"]):
        with user_errors():
            require_star(STAR_FILES["catalogue"], STAR_FILES["rejected"], wildcards.star)
    needed = [*STAR_FILES.values(), *STAR_NETWORKS.values()]
    needed += STAR_ERRORS.values() if CFG.catalog.snr_flag == "found" else []
    return [path for path in needed if not os.path.exists(path)]


def catalogue_time(wildcards):
    """When the catalogue was written, so that an old page is made again."""
    path = STAR_FILES["catalogue"]
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0


FIGURES = f"{RESULTS}/validation/figures"
CATEGORIES = {
    "complete": "1 Is the data complete?",
    "labels": "2 Are the labels right?",
    "errors": "3 Are the errors right?",
    "use": "4 Where not to use it?",
}


def figure(name, question, title, caption=None):
    """An output that the report shows under a question."""
    return report(
        f"{FIGURES}/{name}.png",
        caption=f"../report/{caption or name}.rst",
        category=CATEGORIES[question],
        labels={"what": title},
    )


def publication_targets():
    """The forms of the catalogue that this run wants."""
    wanted = [f"{RESULTS}/catalog/summary.csv"]
    if CFG.publication.cds:
        wanted += [f"{RESULTS}/catalog/ReadMe", f"{RESULTS}/catalog/recommended.dat.gz"]
    if CFG.publication.votable:
        wanted.append(f"{RESULTS}/catalog/recommended.vot")
    if CFG.publication.hats:
        wanted.append(f"{RESULTS}/catalog/hats")
    return wanted


def explorer_targets():
    """The explorer's page, unless it is switched off."""
    return [f"{RESULTS}/explorer.html"] if CFG.explorer.enabled else []


def validation_targets():
    """Tables and figures of validation that a complete run has; none when it is switched off."""
    if not CFG.validation.enabled:
        return []
    names = ["accounting", "kiel", "chi2", "spectra"]
    names += ["repeats", "hr", "positions", "distances", "colour_teff", "flags"]
    names += [f"{what}_{comparison.name}" for comparison in PRESENT for what in ("comparison", "trends")]
    names += [f"clusters_{comparison.name}" for comparison in PRESENT if comparison.group is not None]
    names += [f"crossvalidation_{CFG.library.name}"]
    names += ["comparison_truth", "pulls"] if TRUTH else []
    names += ["libraries"]
    tables = [
        f"{RESULTS}/validation/{name}.csv"
        for name in ("comparisons", "pulls", "trends", "clusters", "libraries")
    ]
    if NETWORK_LABELS:
        tables += [f"{RESULTS}/validation/{name}.csv" for name in ("networks", "repeat_errors")]
        names += ["network_curves"] + (["network_truth", "network_pulls"] if TRUTH else [])
        names += [f"network_{what}_{name}" for name in SETS_TRAINED_HERE for what in ("stars", "predictions")]
    tables.append(f"{RESULTS}/validation/overview.html")
    return tables + [f"{FIGURES}/{name}.png" for name in names]


def first_fits(wildcards):
    """The first chunk's fit of each type; fits carry a few example spectra."""
    return [
        f"{RESULTS}/fit/{spectral_type}/{chunk}.h5"
        for spectral_type in CFG.survey.types
        for chunk in chunks_of(spectral_type)[:1]
    ]
