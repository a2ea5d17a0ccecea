"""What a configuration names and is not there, all of it, before a run says the first."""

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import shipped
from lamostvac.run.context import resolve
from lamostvac.run.emulators import Emulators
from lamostvac.run.inputs import (
    catalogues_folder,
    missing_files,
    simulated_files,
    stellar_inputs,
    survey_inputs,
)
from lamostvac.run.layout import Layout
from lamostvac.run.site import Site
from lamostvac.training.load import available_sets, load_training_sets


def missing_inputs(configuration: Configuration, site: Site) -> list[str]:
    """A sentence for each key that names files which are not there; none where a run could start.

    Files that a simulated run makes are not missing, nor those that a run leaves out with a note
    when it starts: optional training sets, comparisons, photometry.

    Raises
    ------
    UserError
        One of the files that are there is wrong, as a run would say when it starts.
    """
    found = []
    for look in (survey_inputs, stellar_inputs):
        try:
            look(configuration)
        except UserError as error:
            found.append(str(error))
    found += missing_files(configuration)
    libraries = Emulators(
        configuration, Layout(configuration.run.results), configuration.libraries()
    )
    read = libraries.libraries if configuration.validation.enabled else libraries.emulator_libraries
    for name in read:
        if name != libraries.second:  # whose files are those of the first
            found += libraries.missing_of_library(name)
    found += _training_sets(configuration)
    if not found and (missing := resolve(configuration, site).missing_networks):
        found.append(missing)
    return found


def _training_sets(configuration: Configuration) -> list[str]:
    """A sentence for each training set that is not optional and has no file."""
    file = configuration.networks.training_sets
    sets = load_training_sets(shipped(file)) if file else []
    folder, simulated = catalogues_folder(configuration), simulated_files(configuration)
    found = []
    for entry in sets:
        if entry.parent is not None:  # it has the parent's files
            continue
        try:
            available_sets([entry], folder, produced=simulated)
        except UserError as error:
            found.append(str(error))
    return found
