"""The files besides the release that a run reads."""

from pathlib import Path

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import shipped
from lamostvac.distance.schema import load_photometry
from lamostvac.fetch.plan import Need
from lamostvac.fetch.sources import FileSource, MatchSource, load_sources
from lamostvac.training.load import load_training_sets


def needs_of(configuration: Configuration) -> list[Need]:
    """The files besides the release that a configuration reads, in its sources' order; others last.

    Raises
    ------
    UserError
        The run is simulated, or `fetch.sources` names a source that does not exist or that this run
        does not read.
    """
    if configuration.simulation.enabled:
        raise UserError(
            "simulation.enabled is true, so the run makes its own files; there is nothing to fetch"
        )
    read = _files_read(configuration)
    sources = load_sources(shipped(configuration.fetch.file))
    by_key: dict[tuple[str, str], FileSource | MatchSource] = {}
    for source in sources:
        # The configuration may give the library's files any name, so they are recognised by the
        # key.
        key = (source.place, source.file if source.place == "networks.root" else "")
        by_key[key] = source
    needs = []
    for path, (place, name, readers, optional) in read.items():
        found = by_key.get((place, name if place == "networks.root" else ""))
        if found is not None and place != "networks.root" and Path(path).name != found.file:
            found = None  # not the library that the source has
        settings = found.model_dump(mode="json") if found is not None else None
        needs.append(Need(path, settings, readers, optional))
    order = {source.name: number for number, source in enumerate(sources)}
    needs.sort(
        key=lambda need: (order[need.source["name"]] if need.source else len(order), need.path)
    )
    if configuration.fetch.sources is None:
        return needs
    there = [need.source["name"] for need in needs if need.source]
    for name in configuration.fetch.sources:
        if name not in there:
            what = (
                "this run does not read that file" if name in order else "there is no such source"
            )
            raise UserError(
                f"fetch.sources: {name}: {what}; those that it reads are {', '.join(there)}"
            )
    return [
        need for need in needs if need.source and need.source["name"] in configuration.fetch.sources
    ]


def _files_read(configuration: Configuration) -> dict[str, tuple[str, str, list[str], bool]]:
    """`{path: (place, name below it, reading parts of the configuration, whether it is
    optional)}`.
    """
    found: dict[str, tuple[str, str, list[str], bool]] = {}

    def add(place: str, name: str, path: str, reader: str, optional: bool) -> None:
        _, _, readers, so_far = found.get(path, (place, name, [], True))
        found[path] = (place, name, [*readers, reader], so_far and optional)

    library = configuration.library
    if library.format == "mastar":
        for place, given in (
            ("library.spectra", library.spectra),
            ("library.labels_file", library.labels_file),
        ):
            if given is not None:
                add(place, Path(given).name, str(Path(given)), place, False)
    root = configuration.networks.root or configuration.survey.root
    if configuration.networks.training_sets and not configuration.networks.pretrained:
        for entry in load_training_sets(shipped(configuration.networks.training_sets)):
            for name in entry.files():
                add(
                    "networks.root",
                    name,
                    str(Path(root) / name),
                    f"training set {entry.name}",
                    entry.optional,
                )
    if configuration.photometry.enabled:
        for name, table in load_photometry(shipped(configuration.photometry.file)).tables():
            path = str(table.path(configuration.photometry.root or root))
            add("networks.root", table.file, path, f"photometry {name}", True)
    return found
