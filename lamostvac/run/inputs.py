"""The release's files as the configuration names them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import listed
from lamostvac.core.settings import plain_path
from lamostvac.provenance.record import flat, read_record
from lamostvac.run.layout import Layout
from lamostvac.simulate import reference_files


def survey_inputs(configuration: Configuration) -> tuple[str, list[str]]:
    """The folder to which paths of spectra are relative, and the catalogue files in reading order.

    Reading order is that of the sorted names, each once; there are none where the spectra's headers
    are the catalogue. A simulated run reads its own simulated files, which need not exist yet.

    Raises
    ------
    UserError
        A name or pattern of `survey.catalogues` matches no file, or one with braces in its name; or
        the folder whose headers are to be read is not there.
    """
    if configuration.simulation.enabled:
        layout = Layout(configuration.run.results)
        return layout.simulated_release, [layout.simulated_files()["catalogue"]]
    root = configuration.survey.root
    if configuration.survey.from_headers:
        if not Path(root).is_dir():
            raise UserError(
                f"survey.root: there is no folder {root}; name the folder whose spectra are to be labelled"
            )
        return root, []
    found = _files(root, configuration.survey.catalogues, "survey.catalogues")
    return root, sorted({file for files in found for file in files})


def stellar_inputs(configuration: Configuration) -> list[str]:
    """The stellar catalogues, each once, in the order of their names or patterns.

    A simulated run reads its own simulated one, which need not exist yet.

    Raises
    ------
    UserError
        A name or pattern of `survey.stellar_catalogues` matches no file.
    """
    if configuration.simulation.enabled:
        layout = Layout(configuration.run.results)
        return [f"{layout.simulated_catalogues}/{reference_files.LASP}"]
    survey = configuration.survey
    found = _files(survey.root, survey.stellar_catalogues, "survey.stellar_catalogues")
    return list(dict.fromkeys(file for files in found for file in sorted(files)))


def simulated_files(configuration: Configuration) -> list[str]:
    """Files that the run simulates, which need not exist yet; none in a run on real data."""
    if not configuration.simulation.enabled:
        return []
    layout = Layout(configuration.run.results)
    return [
        *layout.simulated_files().values(),
        *layout.simulated_library().values(),
        *layout.simulated_references(),
    ]


def catalogues_folder(configuration: Configuration) -> str:
    """The folder to which paths of the training sets' and comparisons' catalogues are relative."""
    if configuration.simulation.enabled:
        return Layout(configuration.run.results).simulated_catalogues
    return configuration.networks.root or configuration.survey.root


def require_own_survey(configuration: Configuration) -> None:
    """Raise `UserError` where a simulated run would replace the survey of another finished run.

    Two configurations of simulated surveys that name one `run.results` would.
    """
    if not configuration.simulation.enabled:
        return
    results = configuration.run.results
    try:
        before = read_record(Layout(results).provenance).settings.get("simulation", {})
    except UserError:  # no run has ended there
        return
    now = configuration.simulation.model_dump(mode="json")
    if other := [name for name in now if before.get(name, now[name]) != now[name]]:
        names = ", ".join(f"simulation.{name}" for name in other)
        raise UserError(
            f"{results} has the catalogue of another survey ({names} differ), which this run would replace; name "
            "another folder (--config 'run={results: results/mine}'), the configuration of that run, or delete it"
        )


def require_finished(
    files: Mapping[str, str | Sequence[str]], settings: Mapping[str, Any], configfile: str | Path
) -> None:
    """Raise `UserError` where the results that a pack takes are not all there, or not of this run.

    Parameters
    ----------
    files : what a pack takes; `record` is the run's record
    settings : those that rows of the catalogue depend on
    configfile : which the sentence names
    """
    run = f"`lamostvac run --config {configfile} --directory {Path.cwd()}`"
    lists = ([paths] if isinstance(paths, str) else paths for paths in files.values())
    missing = [path for paths in lists for path in paths if not Path(path).exists()]
    if missing:
        some = listed(missing, 3, longest=4096)  # whole paths
        raise UserError(
            f"a pack is made of a finished run, and this one lacks {some}; {run} makes what is missing"
        )
    # A key that an earlier version did not have is no difference.
    before = flat(read_record(str(files["record"])).settings)
    now = flat(json.loads(json.dumps(settings)))
    if other := [name for name in now if before.get(name, now[name]) != now[name]]:
        raise UserError(
            f"the results are those of other settings than {configfile} has now ({listed(other, 3)}); {run} makes "
            "anew what depends on these"
        )


def missing_files(configuration: Configuration) -> list[str]:
    """A sentence for each single file, besides release, libraries and training sets, that is named
    and not there.
    """
    named = list[tuple[str, str | None, str]]()
    if configuration.photometry.enabled:
        path = configuration.photometry.bayestar
        named.append(("photometry.bayestar", path, "name bayestar2019.h5"))
    if configuration.validation.enabled:
        for key in ("truth", "isochrone", "cluster_isochrones"):
            path = getattr(configuration.validation, key)
            if key != "truth" or not configuration.simulation.enabled:  # which has its own truth
                named.append((f"validation.{key}", path, "name where it is"))
    return [
        f"{key}: there is no file {path}; {remedy}, or write null"
        for key, path, remedy in named
        if path is not None and not Path(path).is_file()
    ]


def require_files(configuration: Configuration) -> None:
    """Raise `UserError` with the first of `missing_files`."""
    for sentence in missing_files(configuration):
        raise UserError(sentence)


def _files(root: str, patterns: Iterable[str], key: str) -> list[list[str]]:
    """The files of each pattern below a folder; `key` has the patterns, for the message."""
    found = []
    for pattern in patterns:
        files = _matching(Path(root), pattern)
        if not files:
            raise UserError(
                f"{key}: there is no file {pattern} in {root} (survey.root); "
                "set survey.root to the folder of the release"
            )
        found.append(files)
    for path in (path for files in found for path in files):
        try:
            plain_path(path)
        except ValueError as error:
            raise UserError(f"{key}: {path!r}: {error}") from None
    return found


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
