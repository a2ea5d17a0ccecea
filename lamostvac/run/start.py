"""Snakemake's command line and environment for a start of the workflow."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_sections
from lamostvac.core.log import QUIET_JOBS
from lamostvac.core.messages import closest, nearest
from lamostvac.core.paths import PROJECT, SNAKEFILE
from lamostvac.core.vocabulary import SPECTRAL_TYPES
from lamostvac.core.yaml_text import read_yaml_text
from lamostvac.run.job_records import read_run
from lamostvac.run.layout import Layout
from lamostvac.run.site import FILE as SITE

_PLUGINS = Path(__file__).resolve().parent / "snakemake_plugin"
_STAGES = ("--logger", "stages")
# With those that a configuration may switch off, and those made from others.
_RULE = re.compile(r"^ *(?:rule|checkpoint|use rule \w+ as) (\w+)(?:| with):$", re.MULTILINE)
_TYPE_TARGET = re.compile(r"type\w*", re.IGNORECASE)
# Options of Snakemake on what it says, or with which it runs nothing and only says something.
_SAYING = frozenset(
    {"--logger", "--verbose", "--quiet", "-q", "--printshellcmds", "-p", "--debug-dag"}
    | {"--dry-run", "--dryrun", "-n", "--unlock", "--cleanup-metadata", "--lint"}
)
# Options of Snakemake whose values are rules, or files, and that for a configuration file.
_OF_RULES = ("--until", "-U", "--omit-from", "-O", "--forcerun", "-R", "--allowed-rules")
_CONFIGURATION = ("--configfile", "--configfiles")
# Options of Snakemake for the number of parallel jobs.
_CORES = ("-c", "--cores", "-j", "--jobs", "--profile", "--workflow-profile")


def snakemake_command(
    configfile: Path,
    folder: Path,
    words: Sequence[str] = (),
    *,
    cores: str | None = None,
    profile: str | None = None,
    stages: bool = False,
) -> list[str]:
    """Snakemake's command line for a run.

    Parameters
    ----------
    configfile : of the run
    folder : of the run; paths in the configuration are relative to it
    words : targets, then, from the first that begins with a dash, options of Snakemake
    cores : of this machine; by default all, or those of the profile or `words`
    profile : a folder, or the name of a shipped profile
    stages : show a line for each stage (`lamostvac.run.stages`) in place of Snakemake's messages,
        unless `words` have an option on these

    Raises
    ------
    UserError
        A target is invalid, or the configuration is not YAML.
    """
    content = read_sections(configfile)
    if not content:
        raise UserError(f"the configuration file {configfile} is empty; write `section:` blocks")
    first = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    targets, options = list(words[:first]), list(words[first:])
    _check_overrides(options)
    _check_names(options)
    _check_values(options)
    _check_cores([*(("--cores", cores) if cores else ()), *options])
    # Options may set other types than the file.
    check_targets(targets, None if "--config" in options else types_of(content))
    command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(SNAKEFILE)]
    command += ["--directory", str(folder), "--configfile", str(configfile), "--rerun-incomplete"]
    if profile is not None:
        shipped = PROJECT / "profiles" / profile
        command += ["--profile", str(shipped) if shipped.is_dir() else profile]
    if cores is not None:
        command += ["--cores", cores]
    elif profile is None and not any(word.split("=")[0] in _CORES for word in options):
        command += ["--cores", "all"]
    if any(word.split("=")[0] == "--report" for word in options):
        command += ["--report-stylesheet", str(PROJECT / "report" / "report.css")]
    if stages and not any(word.split("=")[0] in _SAYING for word in options):
        command += _STAGES
    return command + options


def _check_cores(options: Sequence[str]) -> None:
    """Raise `UserError` for no cores at all, with which Snakemake waits for ever."""
    for option, value in pairwise(options):
        if option in _CORES[:4] and value.strip().lstrip("+-0") == "":
            raise UserError(f"{option} {value} runs no job; give at least 1, or `all`")


def _check_names(options: Sequence[str]) -> None:
    """Raise `UserError` for an option that Snakemake lacks, for which it would print its whole usage."""
    names = [word.partition("=")[0] for word in options if re.match(r"--[\w-]+(=|$)", word)]
    if not names:
        return
    from snakemake.cli import get_argument_parser

    known = [name for name in get_argument_parser()._option_string_actions if len(name) > 2]
    for name in names:
        # Beginnings of names are enough for Snakemake.
        if not any(one.startswith(name) for one in known):
            close = closest(name, known)
            said = (
                f"did you mean {close}?" if close else "`snakemake --help` lists those that it has"
            )
            raise UserError(f"Snakemake has no option {name}; {said}")


def _values(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each value with the option that it stands behind, also where that is glued to it by `=`."""
    option = ""
    for word in options:
        if word.startswith("-"):
            option, glued, word = word.partition("=")
            if not glued:
                continue
        yield option, word


def _check_overrides(options: Sequence[str]) -> None:
    """Raise `UserError` for a value of --config that is none, is no YAML or breaks the limits of one."""
    for option, word in _values(options):
        if option not in ("--config", "-C") or not word:
            continue
        key, given, value = word.partition("=")
        if not given:
            raise UserError(
                f"--config wants SECTION=VALUE, and {word} is none; a target stands before the options: "
                f"lamostvac run {word} --config FILE -- --config ..."
            )
        read_yaml_text(value.encode(errors="surrogateescape"), f"--config {key}")


def _check_values(options: Sequence[str]) -> None:
    """Raise `UserError` for rules that there are not, without which Snakemake may do nothing and say that
    all is well, and for values with which it ends in a traceback.
    """
    for option, word in _values(options):
        if option in _CONFIGURATION:
            raise UserError(
                f"the configuration of a run is the file behind lamostvac's own --config; {option} behind -- "
                "is none of it"
            )
        if option in _OF_RULES:
            check_targets([word])
        if option == "--set-resources" and not re.fullmatch(r"[^:=]+:[^:=]+=.*", word):
            raise UserError(
                f"--set-resources wants RULE:RESOURCE=VALUE, as fit:mem_mb=4000, not {word}"
            )


def types_of(content: Any) -> Sequence[str]:
    """The spectral types of a configuration file's content; all if it names none."""
    section = content.get("survey") if isinstance(content, dict) else None
    given = section.get("types") if isinstance(section, dict) else None
    return given if isinstance(given, list) else SPECTRAL_TYPES


def check_targets(targets: Sequence[str], of_run: Sequence[str] | None = None) -> None:
    """Raise `UserError` for a word that is neither a file nor a named target of the workflow.

    `of_run` are the spectral types of the run, by default all.
    """
    types = [f"type_{name}" for name in SPECTRAL_TYPES if of_run is None or name in of_run]
    texts = (path.read_text(encoding="utf-8") for path in workflow_files())
    rules = [name for text in texts for name in _RULE.findall(text)]
    for target in targets:
        if "/" in target or "." in target or target in rules or target in types:
            continue
        if target.lower().startswith("type"):
            raise UserError(
                f"there is no target {target}; those of the types are {' '.join(types)}"
            )
        raise UserError(f"there is no target {target}{nearest(target, [*rules, *types])}")


def typed_targets(words: Sequence[str]) -> list[str]:
    """The targets of Snakemake's own command line, without its first word, that name spectral types.

    Snakemake parses its options before it reads the Snakefile and keeps the targets to itself.
    """
    if not any(_TYPE_TARGET.fullmatch(word) for word in words):
        return []  # so that jobs need not load the parser
    from snakemake.cli import get_argument_parser

    targets = get_argument_parser().parse_known_args(list(words))[0].targets
    return [target for target in targets if _TYPE_TARGET.fullmatch(target)]


def workflow_files() -> list[Path]:
    """The Snakefile and the files of rules."""
    return [SNAKEFILE, *sorted((PROJECT / "rules").glob("*.smk"))]


def results_folder(configfile: Path) -> str:
    """A configuration's results folder. Reads only this key: others may be set at the start."""
    from lamostvac.configuration.root import Run

    section = read_sections(configfile).get("run")
    given = section.get("results") if isinstance(section, dict) else None
    return str(given or Run().results)


def started_by(results: str | Path) -> tuple[Path, Path]:
    """The configuration by which a run was last started, and the folder in which.

    Both are found again where the folder of the run was moved as a whole.

    Raises
    ------
    UserError
        There is no such folder, it has no record of that, or the results stand elsewhere in it than the record says.
    """
    results = Path(results).absolute()
    if not results.is_dir():
        raise UserError(f"there is no results folder {results}")
    path, folder = results / Layout.run_configuration, read_run(results).folder
    if folder is None or not path.is_file():
        raise UserError(
            f"{results} does not say by which configuration it was made; name that with --config FILE"
        )
    name = results_folder(path)
    if (folder / name).resolve() != results.resolve():
        if Path(name).is_absolute() or not results.match(name):
            raise UserError(
                f"{results} was made as {folder / name}; name its configuration with --config FILE, and its folder "
                "as run.results in that"
            )
        folder = Path(*results.parts[: -len(Path(name).parts)])
    return path, folder


def snakemake_start(
    configfile: Path,
    folder: Path,
    words: Sequence[str] = (),
    *,
    cores: str | None = None,
    profile: str | None = None,
    stages: bool = False,
) -> tuple[list[str], dict[str, str]]:
    """`snakemake_command` and the environment for it; the run's folder is made."""
    command = snakemake_command(
        configfile, folder, words, cores=cores, profile=profile, stages=stages
    )
    folder.mkdir(parents=True, exist_ok=True)
    return command, snakemake_environment(folder, stages=_STAGES[1] in command)


def with_plugins(modules: str | None) -> str:
    """A module path (PYTHONPATH, which may be missing) on which Snakemake finds our plugins."""
    return os.pathsep.join(filter(None, (str(_PLUGINS), modules)))


def snakemake_environment(folder: Path, *, stages: bool = False) -> dict[str, str]:
    """Snakemake's environment, by which jobs find this Python, this library and the site file.

    With `stages` Snakemake finds the plugin that shows these, and jobs write to their logs alone.
    """
    environment = dict(os.environ)
    if stages:
        environment["PYTHONPATH"] = with_plugins(environment.get("PYTHONPATH"))
        environment[QUIET_JOBS] = "1"
    environment["PATH"] = os.pathsep.join(
        (str(Path(sys.executable).parent), environment.get("PATH", os.defpath))
    )
    # A checkout in the working directory must not replace the library that was started.
    environment["PYTHONSAFEPATH"] = "1"
    for place in (Path.cwd(), folder, PROJECT):
        if "LAMOSTVAC_SITE" not in environment and (place / SITE).is_file():
            environment["LAMOSTVAC_SITE"] = str(place / SITE)
    if not environment.get("XDG_CACHE_HOME") and not _home_can_be_written():
        # Snakemake makes its cache before anything else, also for a dry run.
        environment["XDG_CACHE_HOME"] = str(folder / ".snakemake" / "cache")
    return environment


def _home_can_be_written() -> bool:
    try:
        cache = Path("~/.cache").expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return True
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return False
