"""Every file of a run: the only place that names paths below the results folder.

`Layout("results").fit` is `results/fit/{type}/{chunk}.h5`, the pattern that a rule has;
`Layout.fit` is the same below the results folder. `.format(type="M", chunk="0000")` gives one file.
What each holds is in docs/internals.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lamostvac.simulate.reference_files import NAMES as REFERENCE_FILES

# Logs and benchmark files are in a folder with the name of their rule, except for these rules.
LOG_FOLDERS = {"collect": "collected", "recommend": "recommended", "star": "stars"}

# Files of the simulated library and release, below their folder, by their names in their rules.
_SIMULATED_LIBRARY = {
    "spectra": "mastar/mastar-goodspec-v3_1_1-v1_7_7.fits.gz",
    "labels": "mastar/mastar-goodvisits-v3_1_1-v1_7_7-params-v2.fits",
}
_SIMULATED_RELEASE = {
    "catalogue": "lamost/catalogue.csv",
    "truth": "truth.fits",
    "pastel": "catalogs/pastel/pastel.tsv",
    "apogee": "catalogs/apogee/allStar-r12-l33.fits",
    "gaia": "catalogs/gaia/gaia_edr3.csv",
    "distances": "catalogs/gaia/bailer_jones_edr3.csv",
    "twomass": "catalogs/twomass/twomass.csv",
    "wise": "catalogs/wise/allwise.csv",
    "apass": "catalogs/apass/apass_dr9.tsv",
    "sdss": "catalogs/sdss/sdss_dr12.csv",
    "extinction": "catalogs/extinction/ebv.csv",
}


class _Below:
    """A path below the results folder: relative as attribute of the class, complete as attribute of
    a layout.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def __get__(self, layout: "Layout | None", owner: type) -> str:
        return self.path if layout is None else f"{layout.results}/{self.path}"


@dataclass(frozen=True)
class Layout:
    """The files of one run, as patterns with the names of wildcards in braces.

    Attributes
    ----------
    results : the run's results folder
    scratch : folder of the prepared spectra until all readers have finished; None for the results
        folder
    """

    results: str
    scratch: str | None = None

    digests = _Below("digests.json")
    slurm_run = _Below("slurm_run.txt")
    logs = _Below("logs")
    benchmarks = _Below("benchmarks")
    run = _Below("logs/run.json")
    run_configuration = _Below("logs/configuration.yaml")

    simulated = _Below("simulated")
    simulated_release = _Below("simulated/lamost")
    simulated_catalogues = _Below("simulated/catalogs")

    manifest = _Below("survey/manifest.csv")
    groups = _Below("survey/groups.csv")
    survey_rejected = _Below("survey/rejected.csv")
    survey_summary = _Below("survey/summary.json")
    survey_headers = _Below("survey/headers")
    chunk = _Below("survey/chunks/{type}/{chunk}.parquet")

    prepared_meta = _Below("prepared/{type}/{chunk}_meta.h5")
    spectra = _Below("spectra/{type}/{chunk}.h5")

    training_candidates = _Below("training/{training_set}_candidates.parquet")
    training_crossmatch = _Below("training/{training_set}_crossmatch.csv")
    training = _Below("training/{training_set}.fits")
    training_spectra = _Below("training/{training_set}_spectra.h5")
    training_cuts = _Below("training/{training_set}_cuts.csv")

    network = _Below("networks/{label}.h5")
    network_of_pack = _Below("networks/of_pack/{label}.h5")
    network_left_out = _Below("networks/{label}_left_out.parquet")
    network_kept = _Below("networks/kept/{label}")
    predicted = _Below("predicted/{type}/{chunk}.h5")
    predicted_parts = _Below("predicted/{type}/{chunk}_parts.h5")

    library = _Below("library/{library}.h5")
    emulator = _Below("emulator/{library}.h5")
    emulator_distilled = _Below("emulator/{library}_distilled.h5")
    emulator_without = _Below("emulator/{library}_without_{fold}.h5")
    crossvalidation = _Below("emulator/{library}_crossvalidation.csv")

    project = _Below("project/{type}/{chunk}.h5")
    candidates = _Below("candidates/{type}/{chunk}.h5")
    group_order = _Below("grouped/{type}/order.h5")
    group_stars = _Below("grouped/{type}/stars.h5")
    group_batch = _Below("grouped/{type}/{batch}.h5")
    grouped_labels = _Below("grouped/{type}/labels.h5")
    chunk_groups = _Below("chunk_groups/{type}/{chunk}.h5")

    fit = _Below("fit/{type}/{chunk}.h5")
    fit_imig = _Below("fit_imig/{type}/{chunk}.h5")
    fit_further = _Below("fit_further/{type}/{chunk}.h5")

    collected = _Below("collected/{type}.fits")
    collected_rejected = _Below("collected/{type}_rejected.csv")
    errors = _Below("errors/{type}.h5")
    errors_summary = _Below("errors/{type}.csv")
    errors_curves = _Below("errors/{type}_curves.csv")
    network_curves = _Below("errors/network_curves.h5")
    errors_threshold = _Below("errors/{type}_snr.csv")
    recommended = _Below("recommended/{type}.fits")
    recommended_relations = _Below("recommended/{type}.h5")
    photometry = _Below("photometry/{type}.parquet")
    distance = _Below("distance/{type}.parquet")

    catalogue_of_type = _Below("catalog/{type}.fits")
    catalogue_fits = _Below("catalog/recommended.fits")
    catalogue = _Below("catalog/recommended.parquet")
    main_fits = _Below("catalog/recommended_main.fits")
    main_parquet = _Below("catalog/recommended_main.parquet")
    rejected = _Below("catalog/rejected.csv")
    accounting = _Below("catalog/accounting.json")
    provenance = _Below("catalog/provenance.json")
    data_model = _Below("catalog/datamodel.md")
    error_summary = _Below("catalog/summary.csv")
    cds_table = _Below("catalog/recommended.dat.gz")
    cds_readme = _Below("catalog/ReadMe")
    votable = _Below("catalog/recommended.vot")
    metal_poor = _Below("catalog/metal_poor.fits")
    metal_poor_counts = _Below("catalog/metal_poor.csv")
    hats = _Below("catalog/hats")
    published = _Below("catalog/{table}.fits")
    explorer = _Below("explorer.html")
    pack = _Below("models.lvpack")

    comparisons = _Below("validation/comparisons.csv")
    pulls = _Below("validation/pulls.csv")
    network_scatter = _Below("validation/networks.csv")
    trends = _Below("validation/trends.csv")
    clusters = _Below("validation/clusters.csv")
    pairs = _Below("validation/pairs.parquet")
    repeat_errors = _Below("validation/repeat_errors.csv")
    libraries = _Below("validation/libraries.csv")
    samples = _Below("validation/samples.csv")
    overview = _Below("validation/overview.html")

    stars = _Below("stars")
    star = _Below("stars/{star}.html")
    fetch = _Below("fetch")
    release = _Below("release")

    @property
    def prepared(self) -> str:
        """Prepared spectra, which may be in the scratch folder."""
        return f"{self.scratch or self.results}/prepared/{{type}}/{{chunk}}.h5"

    def simulated_files(self) -> dict[str, str]:
        """The simulated release's files without reference catalogues, by their names in its rule."""
        return {name: f"{self.simulated}/{path}" for name, path in _SIMULATED_RELEASE.items()}

    def simulated_library(self) -> dict[str, str]:
        """The simulated library's files, by their names in its rule."""
        return {name: f"{self.simulated}/{path}" for name, path in _SIMULATED_LIBRARY.items()}

    def simulated_references(self) -> list[str]:
        """The simulated reference catalogues, which labels are compared with."""
        return [f"{self.simulated_catalogues}/{name}" for name in REFERENCE_FILES]

    def figure(self, name: str) -> str:
        """A figure of the report."""
        return f"{self.results}/validation/figures/{name}.png"

    def experiment(self, file: str) -> str:
        """A table or figure of an experiment."""
        return f"{self.results}/experiments/{file}"

    def log(self, rule_name: str, *wildcards: str) -> str:
        """The log of a rule's jobs, with the names of its wildcards in the order of its files."""
        stem = job_stem(rule_name, *(f"{{{name}}}" for name in wildcards))
        return f"{self.logs}/{stem}.log"

    def benchmark(self, rule_name: str, *wildcards: str) -> str:
        """The benchmark file of a rule's jobs."""
        stem = job_stem(rule_name, *(f"{{{name}}}" for name in wildcards))
        return f"{self.benchmarks}/{stem}.tsv"


def job_stem(rule_name: str, *values: str) -> str:
    """Path of a job's log and benchmark file below their folders, without suffix."""
    return "/".join([LOG_FOLDERS.get(rule_name, rule_name), *values])


def patterns() -> Mapping[str, str]:
    """All files and folders that have a name here, below the results folder, by that name."""
    return {name: entry.path for name, entry in vars(Layout).items() if isinstance(entry, _Below)}
