"""lamost-vac: from a LAMOST low-resolution data release to one catalogue of stellar labels."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`Labeller`, for `from lamostvac import Labeller`; most importers need none of what it loads."""
    if name == "Labeller":
        from importlib import import_module

        return import_module("lamostvac.label.labeller").Labeller
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
