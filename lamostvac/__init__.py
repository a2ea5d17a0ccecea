"""lamost-vac: from a LAMOST low-resolution data release to one catalogue of stellar labels."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """What `from lamostvac import Labeller` gives; most importers need none of what it loads."""
    if name == "read_catalogue":
        from importlib import import_module

        return import_module("lamostvac.catalog.read").read_catalogue
    if name in ("Labeller", "OutsideLibrary"):
        from importlib import import_module

        return getattr(import_module("lamostvac.label.labeller"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
