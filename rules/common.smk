# What several rules ask of the survey's manifest and of the configuration, and what the report consists of.

import functools
import math
import os

import pandas as pd

# Every job of a cluster and every dry run reads the rules. Modules that take long to load, and that few targets need,
# are imported where they are used; versions of modules are read without importing these.
from lamostvac.run import resources as resources_library
from lamostvac.core.code_version import script_version
from lamostvac.run.digests import Digests
from lamostvac.core.exceptions import UserError
from lamostvac.core.manifest import read_manifest
from lamostvac.core.log import user_errors
from lamostvac.core.paths import shipped

# Digests of what comes from outside, so that a file that was touched or copied is known to be the same.
DIGESTS = Digests(f"{RESULTS}/digests.json")

# Files whose absence keeps a run from starting, but not `fetch`, which is there to bring them.
MISSING_DATA = []


def release_catalogues(wildcards):
    """The release's catalogues. All that follows needs them, so here it is told what else is missing."""
    with user_errors():
        if MISSING_DATA:
            raise UserError(MISSING_DATA[0])
    return outside(CATALOGUES)


def fetch_needs(wildcards):
    """The files besides the release that this run reads."""
    from lamostvac.fetch.plan import needs_as_params
    from lamostvac.run.needs import needs_of

    with user_errors():
        return needs_as_params(needs_of(CFG))


@functools.lru_cache(maxsize=4)
def manifest_table(path, modified):
    """The survey's table of chunks; read once, since a release has hundreds of them and each has several jobs."""
    return read_manifest(path)


@functools.lru_cache(maxsize=4)
def read_digests(path, modified):
    """Chunks and digests of their rows by spectral type."""
    return {
        name: dict(zip(rows["chunk"], rows["digest"], strict=True))
        for name, rows in manifest_table(path, modified).groupby("type", sort=False)
    }


def manifest_of(spectral_type):
    """Chunk to digest of a spectral type, none where the survey found no spectrum of it or has not run."""
    path = f"{RESULTS}/survey/manifest.csv"
    return (
        read_digests(path, os.path.getmtime(path)).get(spectral_type, {})
        if os.path.exists(path)
        else {}
    )


@functools.lru_cache(maxsize=4)
def read_sizes(path, modified):
    """Spectra of each chunk (by type and chunk), of each type, and of the run (by None)."""
    manifest = manifest_table(path, modified)
    sizes = {(row.type, row.chunk): row.n_spectra for row in manifest.itertuples()}
    sizes |= manifest.groupby("type")["n_spectra"].sum().to_dict()
    return sizes | {None: int(manifest["n_spectra"].sum())}


def spectra_of(wildcards, input=None):
    """Spectra of a job: of its chunk, of its type, or of the run. Before the survey a full chunk stands for them."""
    path = f"{RESULTS}/survey/manifest.csv"
    if not os.path.exists(path):
        return CFG.survey.chunk_size
    spectral_type, chunk = wildcards.get("type"), wildcards.get("chunk")
    key = (spectral_type, chunk) if chunk is not None else spectral_type
    return read_sizes(path, os.path.getmtime(path)).get(key, 0)


def spectra_of_batch(wildcards, input):
    """Spectra of a job of the grouped search, at most."""
    return min(CFG.grouped.group_size * CFG.grouped.groups_per_job, spectra_of(wildcards))


def rows_up_to(most):
    """Amount of a job: the rows of the catalogue that it holds at a time."""

    def amount(wildcards, input):
        return min(most, spectra_of(wildcards))

    return amount


def size_kb(name=None):
    """Amount of a job: the size of its input files, or of those of one name, in kB."""

    def amount(wildcards, input):
        files = input if name is None else input.get(name)
        return (
            sum(os.path.getsize(path) for path in ([files] if isinstance(files, str) else files))
            / 1000
        )

    return amount


def version_of(rule):
    """Versions of the packages that a rule's script reaches by imports."""
    return script_version(Path(workflow.basedir) / "workflow_scripts" / f"{rule}.py")


def chunk_rules():
    """The rules of this run that have a job for each chunk."""
    return CFG.chunk_rules(networks=bool(SET_OF_LABEL))


# What follows the chunks of a type.
TYPE_RULES = ("collect", "errors", "photometry", "recommend", "distance", "catalog")


def asks(name, **amounts):
    """What a rule's jobs ask for by the measured model (config/resources.yaml), for `resources: **asks(...)`.

    `amounts` are numbers or functions of (wildcards, input). They are resources of the job too: so a dry run, the
    job's log and Snakemake's extended benchmarks say how much the job had to do.
    """

    def amount_of(value):
        # Snakemake's resources are whole numbers.
        if not callable(value):
            return math.ceil(value)

        def amount(wildcards, input):
            return math.ceil(value(wildcards, input))

        return amount

    own = {name: amount_of(value) for name, value in amounts.items()}

    def values(wildcards, input):
        return {
            name: value(wildcards, input) if callable(value) else value
            for name, value in own.items()
        }

    def mem_mb(wildcards, input, attempt):
        return resources_library.memory_mb(
            name, attempt, SITE.max_memory, **values(wildcards, input)
        )

    def runtime(wildcards, input, attempt):
        # Rules that make up one job of the cluster share its time.
        sharing = next((len(names) for names in (chunk_rules(), TYPE_RULES) if name in names), 1)
        limit = SITE.max_runtime and SITE.max_runtime / sharing
        return resources_library.runtime_minutes(name, attempt, limit, **values(wildcards, input))

    return {"mem_mb": mem_mb, "runtime": runtime, **own}


def chunks_of(spectral_type):
    """Chunks of a spectral type."""
    checkpoints.survey.get()
    return tuple(manifest_of(spectral_type))


def chunk_digest(wildcards):
    """What a chunk's rows say."""
    return manifest_of(wildcards.type).get(wildcards.chunk, "")


def own_file(path):
    """A file of the project, seen from here: with its whole path it would be another input where the project moved."""
    return os.path.relpath(path)


def outside(paths):
    """Input files whose time says nothing, since their digest is a parameter; those simulated here keep it."""
    made = {str(path) for path in rules.simulate.output} if CFG.simulation.enabled else set()
    paths = [paths] if isinstance(paths, str) else paths
    return [path if path in made else ancient(path) for path in paths]


def digests(paths):
    """What files from outside contain; nothing for those simulated here, which Snakemake sees anew."""
    made = {str(path) for path in rules.simulate.output} if CFG.simulation.enabled else set()
    paths = [paths] if isinstance(paths, str) else paths
    return DIGESTS.every(path for path in paths if path not in made)


def chunk_files(pattern):
    """Input function: `pattern` with {type} and {chunk} for every chunk of the wildcard `type`."""

    def files(wildcards):
        return expand(pattern, type=wildcards.type, chunk=chunks_of(wildcards.type))

    return files


def group_batches(wildcards):
    """Results of the jobs that search the groups of a type; the survey knows how many there can be."""
    from lamostvac.grouped.groups import batch_names

    checkpoints.survey.get()
    groups = pd.read_csv(f"{RESULTS}/survey/groups.csv", dtype={"type": str}, keep_default_na=False)
    n_groups = int(groups.loc[groups["type"] == wildcards.type, "n_groups"].sum())
    names = batch_names(n_groups, CFG.grouped.groups_per_job)
    return expand(f"{RESULTS}/grouped/{{type}}/{{batch}}.h5", type=wildcards.type, batch=names)


def prepared_of(types):
    """Prepared chunks of some spectral types."""

    def files(wildcards):
        return [
            f"{RESULTS}/spectra/{name}/{chunk}.h5" for name in types for chunk in chunks_of(name)
        ]

    return files


def experiment_chunks(wildcards):
    """Prepared chunks that survey stars are drawn from: a few of each type, evenly spaced."""
    files = []
    for name in CFG.survey.types:
        chunks = chunks_of(name)
        n = min(CFG.experiments.n_chunks, len(chunks))
        chosen = [chunks[len(chunks) * (2 * i + 1) // (2 * n)] for i in range(n)]
        files += [f"{RESULTS}/spectra/{name}/{chunk}.h5" for chunk in chosen]
    return files


def catalogue_text_kb(wildcards, input):
    """Size of the release's catalogues as text in kB; gzip takes one to a third or less."""
    return (
        sum(os.path.getsize(path) * (3 if path.endswith(".gz") else 1) for path in input.catalogues)
        / 1000
    )


def all_chunks(wildcards):
    """The chunks of all types as the survey wrote them."""
    return [
        f"{RESULTS}/survey/chunks/{name}/{chunk}.parquet"
        for name in CFG.survey.types
        for chunk in chunks_of(name)
    ]


def prepared_spectra(wildcards, output):
    """What a reader of prepared spectra has to know (`open_prepared`).

    `output` is there because Snakemake does not compare parameters that come from outputs: a reader runs again when
    `meta` is new, whatever the settings it was made with.
    """
    return {
        "spectra": PREPARED.format(**wildcards),
        "meta": PREPARED_META.format(**wildcards),
        "chunk": CHUNK.format(**wildcards),
        "settings": CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        "networks": NETWORK_PREPARATION,
    }


def last_reader(rule):
    """Whether a rule is the last that reads a chunk's spectra, and removes them; no reason to run again either."""

    def last(wildcards, output):
        return not CFG.prepare.keep and rule == ("predict" if SET_OF_LABEL else FITS[-1])

    return last


def network_digests(wildcards):
    """What networks from elsewhere are; those trained here Snakemake sees anew."""
    return digests(NETWORK_FILES) if CFG.networks.pretrained else []


def library_spectra(name):
    """The file with the spectra of a library, or the folder; the run's own may be a simulated one."""
    return (
        SIMULATED_LIBRARY
        if name in OWN_LIBRARIES and SIMULATED_LIBRARY
        else LIBRARIES[name].spectra
    )


def library_kb(wildcards, input):
    """Size of a library's files in kB, also of those in a folder."""
    return size_kb()(wildcards, input) + 1049 * LIBRARY_FOLDERS.get(wildcards.library, ("", 0))[1]


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
        return {
            "table": f"{folder}/{entry.parent}.fits",
            "spectra": f"{folder}/{entry.parent}_spectra.h5",
        }
    return {
        "candidates": f"{folder}/{entry.name}_candidates.parquet",
        "steps": f"{folder}/{entry.name}_crossmatch.csv",
        "files": outside(training_files(wildcards)),
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


def training_settings(wildcards):
    """What of a set its table depends on; how a label is learned and where it applies can change without a new one."""
    later = {"labels": {"__all__": {"learn", "range"}}, "network": {"apply"}}
    return TRAINING_SETS[wildcards.training_set].model_dump(
        mode="json", by_alias=True, exclude=later
    )


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
    from lamostvac.catalog.lookup import require_star

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
    names += [
        f"{what}_{comparison.name}" for comparison in PRESENT for what in ("comparison", "trends")
    ]
    names += [
        f"clusters_{comparison.name}" for comparison in PRESENT if comparison.group is not None
    ]
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
        names += [
            f"network_{what}_{name}"
            for name in SETS_TRAINED_HERE
            for what in ("stars", "predictions")
        ]
    tables.append(f"{RESULTS}/validation/overview.html")
    return tables + [f"{FIGURES}/{name}.png" for name in names]


def first_fits(wildcards):
    """The first chunk's fit of each type; fits carry a few example spectra."""
    return [
        f"{RESULTS}/fit/{spectral_type}/{chunk}.h5"
        for spectral_type in CFG.survey.types
        for chunk in chunks_of(spectral_type)[:1]
    ]
