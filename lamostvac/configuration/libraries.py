"""The libraries that a run compares with its own because they are on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lamostvac.configuration.root import Configuration
from lamostvac.core.messages import read_model
from lamostvac.core.paths import shipped
from lamostvac.library.settings import ComparedLibrary


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    libraries: tuple[ComparedLibrary, ...]


def listed_libraries(path: str | Path) -> Sequence[ComparedLibrary]:
    """The entries of a file like config/libraries.yaml.

    Raises
    ------
    UserError
        One sentence with the key that is wrong.
    """
    return read_model(path, "validation.libraries_file:", _File).libraries


def with_libraries_on_disk(configuration: Configuration) -> Configuration:
    """The configuration with the libraries of `validation.libraries_file` that are on disk.

    They stand behind those of `validation.libraries`. A simulated run gets none, and neither the
    run's own library nor a name that is taken comes again.
    """
    validation = configuration.validation
    if configuration.simulation.enabled or not (validation.enabled and validation.libraries_file):
        return configuration
    taken = {*configuration.libraries(), configuration.library.name}
    own, root = configuration.library.spectra, Path(validation.libraries_root)
    found = []
    for entry in listed_libraries(shipped(validation.libraries_file)):
        files: dict[str, Any] = {"spectra": str(root / entry.spectra)}
        if entry.labels_file is not None:
            files["labels_file"] = str(root / entry.labels_file)
        there = all(Path(path).exists() for path in files.values())
        again = own is not None and Path(own).absolute() == Path(files["spectra"]).absolute()
        if there and not again and entry.name not in taken:
            found.append(entry.changed(**files))
    if not found:
        return configuration
    libraries = [*validation.libraries, *found]
    return configuration.changed(validation=validation.changed(libraries=libraries))
