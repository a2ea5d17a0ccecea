"""Every configuration key: its name, default, limits and documentation.

The models below are the only place where a key is defined. `config/config.yaml` (the defaults with
comments), `config/schema.json` (for editors) and `docs/configuration.md` are written from them by
`make generated`; a test fails when they drift apart.

A configuration file needs only what differs from the defaults. Snakemake passes its `config`
dictionary (file and `--config` merged) to `load_configuration`, which reports a mistake in one
sentence.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from lamostvac.catalog.settings import Catalog
from lamostvac.configuration.messages import sentence
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_sections
from lamostvac.core.models import item_model, submodel
from lamostvac.core.settings import PathText, Section
from lamostvac.core.yaml_text import require_plain
from lamostvac.distance.extinction import of_bands
from lamostvac.distance.settings import Distance, Extinction, PhotometryJoin, Scale, StarPairs
from lamostvac.emulator.settings import Emulator, SecondEmulator
from lamostvac.experiments.settings import Experiments
from lamostvac.fetch.settings import Fetch
from lamostvac.fit.settings import Fit
from lamostvac.grouped.settings import Grouped
from lamostvac.library.settings import FurtherEmulator, Library
from lamostvac.networks.settings import Networks
from lamostvac.publish.settings import Explorer, Publication
from lamostvac.recommend.settings import Recommended
from lamostvac.simulate.settings import Simulation
from lamostvac.spectra.settings import Prepare
from lamostvac.survey.settings import Survey
from lamostvac.uncertainty.settings import Errors
from lamostvac.validation.settings import Validation


class Run(Section):
    """The run as a whole."""

    not_in_rows: ClassVar = frozenset({"results", "fork_scripts"})

    results: PathText = Field(
        "results", min_length=1, description="Folder that receives everything the run writes."
    )
    seed: int = Field(
        1,
        ge=0,
        le=2**32 - 1,
        description="Seed of every random draw; the same seed gives the same bytes.",
    )
    fork_scripts: bool = Field(
        True,
        description="Whether the scripts of a run on this machine alone are forked from a process that has imported "
        "their libraries (on Linux, outside Conda and containers), which saves a second or more of each.",
    )


class Configuration(Section):
    """Configuration of lamost-vac."""

    run: Run = Field(Run(), description="The run as a whole.")
    simulation: Simulation = Field(Simulation(), description="The simulated survey.")
    survey: Survey = Field(Survey(), description="The release and the selection.")
    prepare: Prepare = Field(Prepare(), description="Spectra onto the common grid.")
    library: Library = Field(Library(), description="The empirical library.")
    emulator: Emulator = Field(Emulator(), description="Labels to spectrum.")
    second_emulator: SecondEmulator = Field(SecondEmulator(), description="Another log g.")
    emulators: list[FurtherEmulator] = Field(
        default_factory=list,
        description=(
            "Emulators of other libraries beside that of section library, each a name and keys of that section; each "
            "labels every spectrum, in columns {label}_{name} (docs/emulators.md)."
        ),
    )
    fit: Fit = Field(Fit(), description="The labels of each spectrum.")
    grouped: Grouped = Field(Grouped(), description="The grouped search.")
    networks: Networks = Field(Networks(), description="Labels by networks.")
    errors: Errors = Field(Errors(), description="Errors of the labels.")
    photometry: PhotometryJoin = Field(PhotometryJoin(), description="Other surveys' magnitudes.")
    extinction: Extinction = Field(Extinction(), description="Coefficients of extinction.")
    star_pairs: StarPairs = Field(StarPairs(), description="E(B-V).")
    distance: Distance = Field(Distance(), description="Distances.")
    catalog: Catalog = Field(Catalog(), description="Flags of the catalogue.")
    recommended: Recommended = Field(Recommended(), description="One value from both systems.")

    publication: Publication = Field(Publication(), description="Forms of the catalogue.")
    explorer: Explorer = Field(Explorer(), description="The catalogue's page.")
    validation: Validation = Field(Validation(), description="Comparisons.")
    experiments: Experiments = Field(Experiments(), description="Experiments on the method.")
    fetch: Fetch = Field(Fetch(), description="Bringing public files.")

    @model_validator(mode="after")
    def _inputs_are_named(self) -> Self:
        """A run on real files must name them, so that a simulated run cannot be taken for one."""
        if self.simulation.enabled:
            for name in ("catalogues", "stellar_catalogues"):
                if getattr(self.survey, name):
                    raise ValueError(
                        f"survey.{name} is set but simulation.enabled is true, so it would be ignored; "
                        f"set simulation.enabled to false or leave survey.{name} out"
                    )
            if self.networks.root:
                raise ValueError(
                    "networks.root is set but simulation.enabled is true, so it would be ignored; leave it out, and "
                    "give the files of training sets of your own absolute paths"
                )
        elif not self.survey.catalogues:
            raise ValueError(
                "survey.catalogues is empty; name the release's catalogue, or set simulation.enabled to true"
            )
        elif self.library.format != "survey" and self.library.spectra is None:
            raise ValueError("library.spectra is not set; name the file with the library's spectra")
        return self

    @model_validator(mode="after")
    def _libraries_have_spectra(self) -> Self:
        """Those of the survey itself are found among the networks' training sets."""
        own = [("library", self.library)]
        own += [(f"emulators[{number}]", entry) for number, entry in enumerate(self.emulators)]
        for place, library in own:
            if library.format != "survey" and library.spectra is None and place != "library":
                raise ValueError(
                    f"{place}.spectra is not set; name the file with the spectra of {library.name}"
                )
            if library.format == "survey" and not self.networks.training_sets:
                raise ValueError(
                    f"{place}.training_set is set but networks.training_sets names no file; name one that has the set "
                    f"{library.training_set}"
                )
        if self.library.format == "survey" and self.searches_groups:
            raise ValueError(
                "the grouped search knows no labels of stars left out of the library, which library.format: survey "
                "needs; set grouped.run to false and fit.method to refine"
            )
        return self

    @model_validator(mode="after")
    def _libraries_have_names_of_their_own(self) -> Self:
        names = [self.library.name, *(library.name for library in self.validation.libraries)]
        names += [self.second_library.name] if self.second_library else []
        names += [entry.name for entry in self.emulators]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two libraries are called {name}; give each entry of emulators and of validation.libraries a name "
                    "of its own"
                )
        return self

    @model_validator(mode="after")
    def _second_emulator_has_a_log_g_of_its_own(self) -> Self:
        if not self.second_emulator.label_columns:
            return self
        if "logg" not in self.second_emulator.label_columns:
            raise ValueError(
                "second_emulator.label_columns has no logg; name its column or leave the section out"
            )
        if "logg" not in self.library.labels:
            raise ValueError("second_emulator.label_columns is set but library.labels has no logg")
        if self.library.format == "miles":
            raise ValueError(
                "second_emulator.label_columns is set but the format miles has one set of labels; leave it out"
            )
        if self.library.format == "survey":
            raise ValueError(
                "second_emulator.label_columns is set but library.format is survey; leave it out, and name the other "
                "labels in an entry of emulators"
            )
        return self

    @property
    def second_library(self) -> Library | None:
        """The run's library with the labels of the second emulator; None without one."""
        columns = self.second_emulator.label_columns
        if not columns:
            return None
        changed = {
            "name": f"{self.library.name}_imig",
            "label_columns": self.library.label_columns | columns,
        }
        return self.library.model_copy(update=changed)

    @property
    def extinction_used(self) -> Extinction:
        """The section `extinction` with the scale that null stands for."""
        default: Scale = "mixed" if self.simulation.enabled else "sfd"
        return self.extinction.changed(scale=self.extinction.scale or default)

    @property
    def band_coefficients(self) -> dict[str, float]:
        """Band to A / E(B-V) on the run's scale, without what depends on the star."""
        section = self.extinction_used
        assert section.scale is not None
        return of_bands(section, section.scale)

    def chunk_rules(self, networks: bool) -> list[str]:
        """The rules with a job for each chunk, in the order of the data; `networks`: if there are
        any.
        """
        fits = ["fit"] if self.second_library is None else ["fit", "fit_imig"]
        searches: list[str] = []
        if self.searches_groups:
            searches = (
                ["search_chunk"] if self.grouped.scope == "chunk" else ["project", "candidates"]
            )
        rules = [*fits, *searches] if self.fit.method == "refine" else [*searches, *fits]
        # Behind the others, so that a new emulator makes none of them run again.
        rules += ["fit_further"] if self.emulators else []
        return ["prepare", *rules, *(["predict"] if networks else [])]

    @property
    def searches_groups(self) -> bool:
        """Whether the run has a grouped search."""
        return self.grouped.run or self.fit.method != "refine"

    def libraries(self) -> dict[str, Library]:
        """The libraries of the run's emulators and those compared with them, by name.

        All have the same line width of the survey.
        """
        width = self.library.resolution.survey_fwhm
        found: dict[str, Library] = {self.library.name: self.library}
        if self.second_library:
            found[self.second_library.name] = self.second_library
        for library in (*self.emulators, *self.validation.libraries):
            if library.resolution.survey_fwhm is None and width is not None:
                matched = library.resolution.model_copy(update={"survey_fwhm": width})
                library = library.model_copy(update={"resolution": matched})
            found[library.name] = library
        return found


def load_configuration(mapping: Mapping[str, Any]) -> Configuration:
    """Defaults overlaid with `mapping` (nested dictionaries, as Snakemake's `config`).

    A section that is present but empty (`survey:` in YAML) counts as left out. Texts are converted
    to numbers where a number is required, and the text `null` to none, because Snakemake passes
    values inside `--config 'section={key: value}'` as texts.

    Raises
    ------
    UserError
        One sentence on the first mistake: an unknown key and the most similar valid one, or a wrong
        value, the allowed values and the most similar one.
    """
    require_plain(mapping, "the configuration")
    try:
        return Configuration.model_validate(_cleaned(mapping))
    except ValidationError as problems:
        raise UserError(sentence(problems, Configuration)) from None


def read_configuration(path: str | Path) -> Configuration:
    """The configuration of a YAML file. Raises `UserError` when it is missing or not a mapping."""
    return load_configuration(read_sections(path))


def settings_of_rows(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a row of the catalogue depends on.

    `configuration` is the whole one as nested dictionaries, with a section `training_sets` for the
    content of the file that the section `networks` names, `recommended_labels` for that of
    `recommended.definitions` and `photometry_tables` for that of the section `photometry`. Keys
    that only determine where files are, which part of the survey runs, or how work is cut into jobs
    are left out.
    """
    return {
        section: _without(content, _not_in_rows(section))
        for section, content in configuration.items()
        if section not in ("validation", "publication", "explorer")
    }


def configuration_hash(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of `settings_of_rows`."""
    kept = settings_of_rows(configuration)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _without(content: Any, keys: frozenset[str]) -> Any:
    """A section, or a list of sections, without some of its keys."""
    if isinstance(content, list):
        return [_without(entry, keys) for entry in content]
    return {key: value for key, value in content.items() if key not in keys}


def _not_in_rows(section: str) -> frozenset[str]:
    field = Configuration.model_fields.get(section)
    model = (submodel(field) or item_model(field)) if field else None
    return model.not_in_rows if model and issubclass(model, Section) else frozenset()


def _cleaned(mapping: Mapping[str, Any]) -> dict[str, Any]:
    sections = set(Configuration.model_fields)
    return {
        key: _without_null_text(value)
        for key, value in mapping.items()
        if not (value is None and key in sections)
    }


def _without_null_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null_text(item) for key, item in value.items()}
    return None if value == "null" else value
