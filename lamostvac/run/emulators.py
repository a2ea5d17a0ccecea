"""The libraries and emulators of a run: what they are called, and which files they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import nearest
from lamostvac.core.paths import shipped
from lamostvac.library.settings import FurtherEmulator, Library
from lamostvac.run.layout import Layout
from lamostvac.training.schema import TrainingSet

Settings: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Emulators:
    """The part of a run's context that concerns libraries, emulators and their files.

    Attributes
    ----------
    configuration : as read, with the libraries on disk and without emulators whose stars are absent
    layout : the paths of the run's files
    libraries : the libraries of the run's emulators and those compared with them, by name
    """

    configuration: Configuration
    layout: Layout
    libraries: dict[str, Library]

    @cached_property
    def second(self) -> str | None:
        """Name of the library with the labels of the second emulator; None without one."""
        library = self.configuration.second_library
        return library.name if library else None

    @cached_property
    def further(self) -> list[str]:
        """Names of the emulators beside that of the run's library, and of their libraries."""
        return [entry.name for entry in self.configuration.emulators]

    @property
    def emulator_libraries(self) -> list[str]:
        """Names of the libraries of the first emulator and of those beside it."""
        return [self.configuration.library.name, *self.further]

    @cached_property
    def emulator_labels(self) -> list[Settings]:
        """These emulators and their labels for the registry, in the order of the catalogue."""
        return emulator_labels(self.configuration)

    @cached_property
    def survey_libraries(self) -> dict[str, Library]:
        """The libraries that are labelled spectra of the survey itself, by name."""
        found = self.libraries.items()
        return {name: library for name, library in found if library.format == "survey"}

    def emulators_without(self, library: str) -> list[str]:
        """The emulators without some of a library's stars, which label these, in the order of
        folds; none for a library that has no star of the survey.
        """
        if library not in self.survey_libraries:
            return []
        pattern, folds = self.layout.emulator_without, self.configuration.emulator.folds
        return [pattern.format(library=library, fold=fold) for fold in range(folds)]

    def library_stars(self, library: str) -> list[str]:
        """The files that say where a library's stars are and in which folds: the library, and its
        cross-validation; none for a library that has no star of the survey.
        """
        if library not in self.survey_libraries:
            return []
        patterns = self.layout.library, self.layout.crossvalidation
        return [pattern.format(library=library) for pattern in patterns]

    @property
    def library(self) -> str:
        """The run's own library, prepared."""
        return self.layout.library.format(library=self.configuration.library.name)

    @property
    def emulator(self) -> str:
        """The whole emulator of the run's own library."""
        return self.layout.emulator.format(library=self.configuration.library.name)

    @property
    def crossvalidation(self) -> str:
        """The cross-validation of the emulator of the run's own library."""
        return self.layout.crossvalidation.format(library=self.configuration.library.name)

    def fit_emulator(self, library: str) -> str:
        """The emulator of a library in the form that the fit uses."""
        distilled = self.configuration.fit.emulator == "distilled"
        pattern = self.layout.emulator_distilled if distilled else self.layout.emulator
        return pattern.format(library=library)

    def library_spectra(self, name: str) -> str | None:
        """The file or folder with a library's spectra; the run's own library may be simulated."""
        if self._is_simulated(name):
            return self.layout.simulated_library()["spectra"]
        return self.libraries[name].spectra

    def library_labels(self, name: str) -> list[str]:
        """The file with a library's labels, in a list; empty if labels are in the spectra's
        file.
        """
        if self._is_simulated(name):
            return [self.layout.simulated_library()["labels"]]
        file = self.libraries[name].labels_file
        return [str(shipped(file))] if file else []

    def missing_of_library(self, name: str) -> list[str]:
        """A sentence for each key of a library whose file is not there; none for files that the run
        makes itself.
        """
        library = self.libraries[name]
        if library.format == "survey" or self._is_simulated(name):
            return []
        named = [("spectra", self.library_spectra(name), "put it there or name where it is")]
        named += [
            ("labels_file", path, "put it there, name where it is, or leave the key out where the "
             "spectra's own file has the labels")
            for path in self.library_labels(name)
        ]  # fmt: skip
        place = self._place(name)
        return [
            f"{place}{key}: there is no file or folder {path}; {remedy}"
            for key, path, remedy in named
            if not path or not Path(path).exists()
        ]

    def _place(self, name: str) -> str:
        """What stands before the keys of a library in the configuration."""
        if name in (self.configuration.library.name, self.second):
            return "library."
        emulator = name in self.further
        return f"{'emulators' if emulator else 'validation.libraries'}: {name}: "

    def _is_simulated(self, name: str) -> bool:
        own = name in (self.configuration.library.name, self.second)
        given = self.configuration.library.spectra
        return own and self.configuration.simulation.enabled and given is None

    def library_settings(self, name: str) -> Settings:
        """The settings of a library's section on which its reader and its preparation depend."""
        return self.libraries[name].model_dump(
            mode="json", exclude={"spectra", "labels_file", "variance"}
        )

    def library_columns(self, name: str) -> dict[str, str]:
        """Label to the training set's label, of a library that is spectra of the survey."""
        library = self.libraries[name]
        return {label: library.column_of(label) for label in library.labels}

    def emulator_settings(self, name: str, exclude: set[str] | None = None) -> Settings:
        """The section `emulator`, with the variance that a compared library may have of its own."""
        configuration = self.configuration
        settings = configuration.emulator.model_dump(mode="json", exclude=exclude)
        own = getattr(self.libraries[name], "variance", None)
        return settings if own is None else settings | {"variance": own}


def emulator_labels(configuration: Configuration) -> list[Settings]:
    """The emulators beside the first and their labels, for the registry of columns."""
    return [
        {"name": entry.name, "labels": list(entry.labels), "survey": entry.format == "survey"}
        for entry in configuration.emulators
    ]


def with_training_sets(
    configuration: Configuration, sets: Mapping[str, TrainingSet], skipped: Sequence[str]
) -> tuple[Configuration, list[str]]:
    """The configuration without emulators whose training set is not there, a sentence for each.

    Parameters
    ----------
    sets : those that the run has, by name
    skipped : a sentence that begins with `training set NAME:` for each optional one whose files are
        absent

    Raises
    ------
    UserError
        There is no such set, it has no such label, or it is that of the section library and absent.
    """
    kept: list[FurtherEmulator] = []
    notes = []
    for number, entry in enumerate(configuration.emulators):
        absent = f"training set {entry.training_set}:"
        if entry.format == "survey" and any(text.startswith(absent) for text in skipped):
            notes.append(
                f"emulator {entry.name}: skipped, because its training set {entry.training_set} is"
            )
            continue
        _check(entry, f"emulators[{number}]", sets)
        kept.append(entry)
    _check(configuration.library, "library", sets)
    return (configuration.changed(emulators=kept) if notes else configuration), notes


def _check(library: Library, place: str, sets: Mapping[str, TrainingSet]) -> None:
    """Whether the training set of a library is there and has its labels."""
    if library.format != "survey" or library.training_set is None:
        return
    if library.training_set not in sets:
        raise UserError(
            f"{place}.training_set: the run has no training set {library.training_set}"
            f"{nearest(library.training_set, sets)}"
        )
    known = sets[library.training_set].label_names
    for label in library.labels:
        if library.column_of(label) not in known:
            raise UserError(
                f"{place}.labels: training set {library.training_set} has no label {library.column_of(label)}, only "
                f"{', '.join(known)}; name another in {place}.label_columns.{label}, or leave {label} out of "
                f"{place}.labels"
            )
