"""What the record of a run says of its configuration: whose data and methods it uses, and inputs."""

from lamostvac.provenance.record import SIMULATED
from lamostvac.run.context import Context


def used(context: Context) -> list[str]:
    """What a run uses, in the words of `config/references.yaml`.

    A simulated survey is nobody's data: then only methods are named, and `SIMULATED`.
    """
    configuration = context.configuration
    found = ["workflow", "emulator"]
    if context.set_of_label:
        found += ["networks"]
    if configuration.searches_groups:
        found += ["grouped search"]
    if configuration.simulation.enabled:
        return [*found, SIMULATED]
    formats = dict.fromkeys(library.format for library in context.libraries.values())
    found += ["lamost", *(f"library {name}" for name in formats if name != "survey")]
    found += [f"training set {name}" for name in context.training_sets]
    found += [f"photometry {name}" for name, _ in context.photometry.tables()]
    found += ["bayestar map"] if context.dust_maps else []
    if context.photometry_files:
        scale = configuration.extinction_used.scale
        found += [f"extinction scale {scale}"]
    return [*found, *(f"comparison {one.name}" for one in context.comparisons)]


def input_files(context: Context) -> list[tuple[str, str]]:
    """Role and path of each file from outside that the catalogue's rows depend on, beside the
    release's catalogues and the libraries.
    """
    files = [
        (f"training set {name}", path)
        for name in context.training_sets
        for path in context.training_files(name)
    ]
    files += [
        (f"photometry {name}", str(table.path(context.photometry_root)))
        for name, table in context.photometry.tables()
    ]
    files += [("bayestar map", path) for path in context.dust_maps]
    files += [("stellar catalogue", path) for path in context.stellar_catalogues]
    simulated = set(context.simulated)
    return [(role, path) for role, path in dict.fromkeys(files) if path not in simulated]
