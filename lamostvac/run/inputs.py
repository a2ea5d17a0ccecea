"""The release's files as the configuration names them."""

from pathlib import Path

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.run.layout import Layout


def survey_inputs(configuration: Configuration) -> tuple[str, list[str]]:
    """The folder to which paths of spectra are relative, and the catalogue files in reading order.

    Reading order is that of the sorted names, each once. A simulated run reads its own simulated
    files, which need not exist yet.

    Raises
    ------
    UserError
        A name or pattern of `survey.catalogues` matches no file.
    """
    if configuration.simulation.enabled:
        layout = Layout(configuration.run.results)
        return layout.simulated_release, [layout.simulated_files()["catalogue"]]
    root = configuration.survey.root
    found: set[str] = set()
    for pattern in configuration.survey.catalogues:
        files = _matching(Path(root), pattern)
        if not files:
            raise UserError(
                f"survey.catalogues: there is no file {pattern} in {root} (survey.root); "
                "set survey.root to the folder of the release"
            )
        found.update(files)
    return root, sorted(found)


def _matching(root: Path, pattern: str) -> list[str]:
    path = root / pattern
    if path.is_file():  # also names that contain [ or *
        return [str(path)]
    if Path(pattern).is_absolute():
        anchor = Path(Path(pattern).anchor)
        return [
            str(file)
            for file in anchor.glob(str(Path(pattern).relative_to(anchor)))
            if file.is_file()
        ]
    return [str(file) for file in root.glob(pattern) if file.is_file()] if root.is_dir() else []
