"""Everything that rules need from a configuration: existing files, labels, libraries, training
sets, comparisons.

The rules read `CTX`, made once by `resolve`. Every job of a cluster and every dry run makes it
first, so nothing here imports a module that computes and takes long to load.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from lamostvac.catalog.registry import Registry, load_registry
from lamostvac.catalog.registry import emulator_labels as as_emulators
from lamostvac.catalog.registry import network_labels as as_labels
from lamostvac.configuration.libraries import with_libraries_on_disk
from lamostvac.configuration.root import Configuration, configuration_hash, settings_of_rows
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import left_out_by, sha256
from lamostvac.core.former_names import take_notes
from lamostvac.core.paths import COLUMNS_PATH, COMPARISONS_PATH, TRAINING_SETS_PATH, shipped
from lamostvac.core.vocabulary import BANDS
from lamostvac.distance.schema import PhotometryFile, load_photometry
from lamostvac.fit.settings import FitSettings
from lamostvac.library.source import folder_state
from lamostvac.networks.settings import PACK_SUFFIX, NetworkTraining
from lamostvac.publish.choice import chosen_columns, chosen_rows
from lamostvac.recommend.definitions import Definition, load_definitions
from lamostvac.run.emulators import Emulators, emulator_labels, with_training_sets
from lamostvac.run.inputs import (
    catalogues_folder,
    require_files,
    simulated_files,
    stellar_inputs,
    survey_inputs,
)
from lamostvac.run.layout import Layout
from lamostvac.run.site import Site, scratch_folder
from lamostvac.spectra.settings import HeaderTolerances, NetworkWindows, Preparation
from lamostvac.training.load import available_sets, load_training_sets
from lamostvac.training.schema import TrainingSet
from lamostvac.validation.schema import Comparison, available, load_comparisons

Settings: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Context(Emulators):
    """A run's configuration with everything that follows from it and from the existing files.

    Attributes
    ----------
    configuration, site : as read
    layout : the paths of the run's files
    survey_root, catalogues : folder to which paths of spectra are relative, and the release's
        catalogues in reading order
    stellar_catalogues : the release's stellar catalogues, in the order in which they give velocities
    catalogues_root : folder of the training sets' and comparisons' catalogues
    libraries : the libraries of the run's emulators and those compared with them, by name
    library_folders : state and size in MB of libraries that are folders, because Snakemake does not
        check these
    training_sets : the sets of the networks by name, parents first; without optional ones whose
        files are absent
    missing_data : message on missing required files of training sets; None if there are all
    photometry, photometry_root : existing tables of magnitudes, and the folder to which their paths
        are relative
    registry : the catalogue's columns, with those of the run's labels
    definitions : the recommended labels
    comparisons, comparison_files, comparisons_skipped : possible comparisons, the file of each by
        name ("" for the catalogue itself), and a sentence for each of the others
    notes : sentences on missing optional files, which Snakemake shows when the run starts
    warnings : sentences on what the configuration does without saying so, which `lamostvac run`
        shows too: shipped entries that a file of one's own leaves out, former names of columns
    """

    site: Site
    survey_root: str
    catalogues: list[str]
    stellar_catalogues: list[str]
    catalogues_root: str
    library_folders: dict[str, tuple[str, float]]
    training_sets: dict[str, TrainingSet]
    missing_data: str | None
    photometry: PhotometryFile
    photometry_root: str
    registry: Registry
    definitions: list[Definition]
    comparisons: list[Comparison]
    comparison_files: dict[str, str]
    comparisons_skipped: list[str]
    notes: list[str]
    warnings: list[str]

    @property
    def headers(self) -> bool:
        """Whether the catalogue is what the headers of the spectra below `survey_root` say."""
        return self.configuration.survey.from_headers

    @cached_property
    def simulated(self) -> list[str]:
        """Files that the run simulates; none in a run on real data."""
        return simulated_files(self.configuration)

    # Networks and the labels they give.

    @cached_property
    def network_labels(self) -> list[dict[str, str]]:
        """The networks' labels for the registry, in the order of the catalogue."""
        return _network_labels(self.training_sets)

    @cached_property
    def snr_bands(self) -> dict[str, str]:
        """Networks' label to the S/N that its errors are functions of."""
        return {one["label"]: one["snr_band"] for one in self.network_labels}

    @cached_property
    def set_of_label(self) -> dict[str, str]:
        """Label to the training set that has it, in the order of the catalogue."""
        return {
            label: entry.name
            for entry in self.training_sets.values()
            for label in entry.label_names
        }

    @cached_property
    def trained_here(self) -> dict[str, str]:
        """Those of `set_of_label` with networks trained in the run: all or none."""
        return {} if self.configuration.networks.pretrained else self.set_of_label

    @cached_property
    def sets_trained_here(self) -> list[str]:
        """Training sets of the networks that the run trains."""
        return list(dict.fromkeys(self.trained_here.values()))

    @property
    def network_pack(self) -> str | None:
        """The model pack that the networks are taken from; None where they are not."""
        given = self.configuration.networks.pretrained
        return given if given and given.endswith(PACK_SUFFIX) else None

    @cached_property
    def network_files(self) -> dict[str, str]:
        """The network of each label."""
        folder = self.configuration.networks.pretrained
        if folder and not self.network_pack:
            return {label: f"{folder}/{label}.h5" for label in self.set_of_label}
        pattern = self.layout.network_of_pack if self.network_pack else self.layout.network
        return {label: pattern.format(label=label) for label in self.set_of_label}

    @property
    def missing_networks(self) -> str | None:
        """A sentence where networks of another run are named and not all there."""
        given = self.configuration.networks.pretrained
        files = [self.network_pack] if self.network_pack else [*self.network_files.values()]
        missing = [path for path in files if not os.path.isfile(path)] if given else []
        if not missing:
            return None
        return (
            f"networks.pretrained: there is no file {missing[0]}; name the pack of a run or the folder with its "
            "networks, or write null, which trains them here"
        )

    @cached_property
    def left_out(self) -> list[str]:
        """Files with members' answers for spectra that they were not trained on, for each label."""
        return [self.layout.network_left_out.format(label=label) for label in self.trained_here]

    @property
    def published_curves(self) -> bool:
        """Whether errors of networks' labels are functions of S/N alone, over all types."""
        return bool(self.network_labels) and self.configuration.errors.networks == "published"

    @property
    def left_out_bands(self) -> list[str]:
        """Bands with such a file, which gives the correlation of errors between bands."""
        return [band for band in BANDS if f"abs_mag_{band}" in self.trained_here]

    @cached_property
    def network_training(self) -> Settings:
        """How networks are trained."""
        return self.configuration.networks.part(NetworkTraining)

    @cached_property
    def grids(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Limits of the labels of each label's training set."""
        return {label: self.training_sets[name].grid for label, name in self.set_of_label.items()}

    def training_files(self, name: str) -> list[str]:
        """The catalogue files of a training set."""
        # A file with an absolute path is where it says.
        files = self.training_sets[name].files()
        return [os.path.join(self.catalogues_root, file) for file in files]

    # Preparation, and the readers of prepared spectra.

    @cached_property
    def prepare_settings(self) -> Settings:
        """The settings on which prepared spectra depend."""
        return self.configuration.prepare.part(Preparation)

    @cached_property
    def header_tolerances(self) -> Settings:
        """How far a spectrum's header may differ from the catalogue."""
        return self.configuration.prepare.part(HeaderTolerances)

    @cached_property
    def network_preparation(self) -> Settings | None:
        """How spectra are prepared for the networks; None when no network will see them."""
        networks = self.configuration.networks
        if not networks.training_sets:
            return None
        return networks.part(NetworkWindows)

    @cached_property
    def last_reader(self) -> str:
        """The last rule that reads a chunk's prepared spectra."""
        return self.chunk_rules[-1]

    def earlier_readers(self, reader: str) -> list[str]:
        """Outputs of the rules that read a chunk's prepared spectra before `reader` does."""
        outputs = {
            "project": self.layout.project,
            "candidates": self.layout.candidates,
            "search_chunk": self.layout.chunk_groups,
            "fit": self.layout.fit,
            "fit_imig": self.layout.fit_imig,
            "fit_further": self.layout.fit_further,
        }
        # Rules are declared in runs without them too.
        readers = [name for name in self.chunk_rules if name in {*outputs, reader}]
        last = readers.index(reader) if reader in readers else len(readers)
        return [outputs[name] for name in readers[:last]]

    @cached_property
    def chunk_rules(self) -> list[str]:
        """The rules that have a job for each chunk."""
        return self.configuration.chunk_rules(networks=bool(self.set_of_label))

    # Fits; libraries and emulators are those of `Emulators`.

    @cached_property
    def fit_settings(self) -> Settings:
        """The settings on which the fit of a spectrum depends."""
        return self.configuration.fit.part(FitSettings)

    @cached_property
    def drawn_fit(self) -> Settings:
        """The settings by which a spectrum is drawn beside its model again: at the labels of the
        grouped search no pixel is left out, and no line is fitted.
        """
        none = FitSettings().at_given_labels().model_dump(mode="json")
        kept = ("outlier_sigma", "line_width_scatter")
        grouped = self.configuration.fit.method == "grouped"
        return self.fit_settings | ({name: none[name] for name in kept} if grouped else {})

    # The catalogue and its comparisons.

    @property
    def flag_settings(self) -> Settings:
        """What flags depend on besides S/N."""
        catalog = self.configuration.catalog
        return {
            "alpha_max_teff": catalog.alpha_max_teff,
            "outlier_fraction": catalog.outlier_flag_fraction,
            "cold_giant_max_teff": catalog.cold_giant_max_teff,
            "cold_giant_logg": list(catalog.cold_giant_logg),
        }

    @cached_property
    def columns(self) -> str:
        """SHA-256 of the file that defines the catalogue's columns."""
        return sha256(COLUMNS_PATH)

    @property
    def row_bytes(self) -> int:
        """Size of a row of the catalogue."""
        return self.registry.record.itemsize

    @cached_property
    def row_settings(self) -> Settings:
        """All settings that a row of the catalogue depends on, by section."""
        content = self.configuration.model_dump(mode="json") | {
            "training_sets": {
                name: entry.model_dump(mode="json", by_alias=True)
                for name, entry in self.training_sets.items()
            },
            # Their file's name is not part of the hash.
            "recommended_labels": {
                entry.label: entry.model_dump(mode="json") for entry in self.definitions
            },
            "photometry_tables": self.photometry.model_dump(mode="json", by_alias=True),
        }
        return settings_of_rows(content)

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Header of the catalogue: equal for all runs with the same settings, in any folder.

        Intermediate tables do not have it: any setting of any stage would cause them to be made
        again.
        """
        return {
            "config_hash": configuration_hash(self.row_settings),
            "library": self.configuration.library.name,
        }

    @property
    def photometry_files(self) -> list[str]:
        """The catalogue files that magnitudes are joined from."""
        return [str(table.path(self.photometry_root)) for _, table in self.photometry.tables()]

    @property
    def dust_maps(self) -> list[str]:
        """The three-dimensional map of dust, in a list; empty without one."""
        path = self.configuration.photometry.bayestar
        return [path] if path and self.configuration.photometry.enabled else []

    @property
    def truth(self) -> str | None:
        """The table of injected labels; None where there is none."""
        if self.configuration.simulation.enabled:
            return self.layout.simulated_files()["truth"]
        return self.configuration.validation.truth


def resolve(configuration: Configuration, site: Site, in_job: bool = False) -> Context:
    """Resolve a configuration with the existing files; `in_job` where the start of the run did so before.

    Raises
    ------
    UserError
        One sentence on the first file or setting that is wrong. Missing files of training sets
        raise nothing, because the rule that fetches them must start without them
        (`Context.missing_data`).
    """
    take_notes()  # what an earlier configuration left
    configuration = with_libraries_on_disk(configuration)
    results = configuration.run.results
    layout = Layout(results, None if configuration.prepare.keep else scratch_folder(site, results))
    simulated = simulated_files(configuration)
    survey_root, catalogues = survey_inputs(configuration)
    catalogues_root = catalogues_folder(configuration)
    training_sets, without_sets, missing = _training_sets(configuration, catalogues_root, simulated)
    configuration, without_emulators = with_training_sets(
        configuration, training_sets, without_sets
    )
    libraries = configuration.libraries()
    library_folders = {
        name: folder_state(library.spectra)
        for name, library in libraries.items()
        if library.spectra
    }
    own_root = None if configuration.simulation.enabled else configuration.photometry.root
    photometry_root = own_root or catalogues_root
    photometry, without_tables = PhotometryFile(), list[str]()
    if configuration.photometry.enabled:
        tables = load_photometry(shipped(configuration.photometry.file))
        photometry, without_tables = tables.present(photometry_root, produced=simulated)
    require_files(configuration)
    emulators = as_emulators(emulator_labels(configuration))
    labels = as_labels(_network_labels(training_sets))
    registry = load_registry(labels, emulators=emulators, vocabulary=not in_job)
    definitions = load_definitions(shipped(configuration.recommended.definitions), registry.names)
    _check_publication(configuration, registry)
    comparisons: list[Comparison] = []
    if configuration.validation.enabled and configuration.validation.comparisons:
        comparisons = load_comparisons(
            shipped(configuration.validation.comparisons),
            registry,
            configuration.band_coefficients,
            emulators,
        )
    files, skipped = available(
        comparisons, [configuration.survey.root, catalogues_root], produced=simulated
    )
    return Context(
        configuration=configuration,
        site=site,
        layout=layout,
        survey_root=survey_root,
        catalogues=catalogues,
        stellar_catalogues=stellar_inputs(configuration),
        catalogues_root=catalogues_root,
        libraries=libraries,
        library_folders=library_folders,
        training_sets=training_sets,
        missing_data=missing,
        photometry=photometry,
        photometry_root=photometry_root,
        registry=registry,
        definitions=definitions,
        comparisons=[comparison for comparison in comparisons if comparison.name in files],
        comparison_files=files,
        comparisons_skipped=skipped,
        notes=[*without_sets, *without_emulators, *without_tables],
        warnings=[*_left_out(configuration), *take_notes()],
    )


def _network_labels(training_sets: dict[str, TrainingSet]) -> list[dict[str, str]]:
    return [
        {
            "label": label.name,
            "set": entry.name,
            "snr_band": entry.snr_band,
            **label.model_dump(include={"unit", "ucd", "description"}),
        }
        for entry in training_sets.values()
        for label in entry.labels
    ]


def _training_sets(
    configuration: Configuration, root: str, simulated: list[str]
) -> tuple[dict[str, TrainingSet], list[str], str | None]:
    """Sets by name, a sentence for each skipped optional one, and one on missing required files."""
    file = configuration.networks.training_sets
    sets = load_training_sets(shipped(file)) if file else []
    skipped: list[str] = []
    missing = None
    try:
        sets, skipped = available_sets(sets, root, produced=simulated)
    except UserError as error:
        missing = str(error)
    coefficients = configuration.band_coefficients
    found = {entry.name: entry.with_coefficients(coefficients) for entry in sets}
    return found, skipped, missing


def _left_out(configuration: Configuration) -> list[str]:
    """Sentences on shipped training sets and comparisons that a file of one's own leaves out."""
    sets, comparisons = configuration.networks.training_sets, configuration.validation.comparisons
    notes = []
    if sets:
        option = "networks.training_sets"
        notes += left_out_by(shipped(sets), "training_sets", TRAINING_SETS_PATH, option)
    if comparisons and configuration.validation.enabled:
        option = "validation.comparisons"
        notes += left_out_by(shipped(comparisons), "comparisons", COMPARISONS_PATH, option)
    return notes


def _check_publication(configuration: Configuration, registry: Registry) -> None:
    """Report a mistake in the choice of columns and rows before anything runs."""
    publication, explorer = configuration.publication, configuration.explorer
    chosen_columns(publication.votable_columns, registry)
    chosen_rows(publication.votable_rows, registry)
    chosen_columns(explorer.columns, registry, "explorer.columns")
    chosen_rows(explorer.rows, registry, "explorer.rows")
