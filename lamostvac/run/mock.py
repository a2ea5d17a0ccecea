"""A job without a run: the object `snakemake` of a script, for a debugger or a notebook.

    python -m lamostvac.run.mock fit type=M chunk=0000 --configfile config/demo.yaml
    python -m pdb -m lamostvac.run.mock fit type=M chunk=0000

runs the script of one job as Snakemake would, in this process, so that breakpoints work and
exceptions can be inspected. The files that the job reads must exist; its outputs are replaced, and
Snakemake's records do not change. In a notebook, `mock_snakemake("fit", type="M", chunk="0000")` is
the object alone.
"""

import argparse
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from lamostvac.core.exceptions import UserError
from lamostvac.core.job import Job
from lamostvac.core.paths import SNAKEFILE


def mock_snakemake(
    rule: str,
    configfile: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] = ".",
    **wildcards: str,
) -> Job:
    """The object `snakemake` of a rule's job with these wildcards; makes its outputs' folders.

    Parameters
    ----------
    rule : name of the rule
    configfile : the run's configuration, by default config/config.yaml as for Snakemake
    folder : where the run was started; file names are relative to it
    wildcards : all that the rule has, as `type="M", chunk="0000"`

    Raises
    ------
    UserError
        There is no such rule, or it has other wildcards, or its inputs depend on the survey, which
        has not run.
    """
    return _load(rule, configfile, Path(folder), wildcards)[0]


def run_script(
    rule: str,
    configfile: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] = ".",
    **wildcards: str,
) -> None:
    """Run the script of a job in this process; parameters and errors as of `mock_snakemake`."""
    job, script = _load(rule, configfile, Path(folder), wildcards)
    with chdir(folder):
        runpy.run_path(str(script), init_globals={"snakemake": job}, run_name="__main__")


def _load(
    name: str, configfile: str | os.PathLike[str] | None, folder: Path, wildcards: dict[str, str]
) -> tuple[Job, Path]:
    """The job, and the file of its script. Imports Snakemake, which is slow and only needed
    here.
    """
    from snakemake import api, dag, jobs
    from snakemake.iocontainers import Snakemake
    from snakemake.settings import types

    files = [] if configfile is None else [Path(configfile).absolute()]
    quiet = types.OutputSettings(quiet={types.Quietness.ALL})
    with chdir(folder), _same_python(), api.SnakemakeApi(quiet) as snakemake:
        loaded = snakemake.workflow(
            resource_settings=types.ResourceSettings(cores=os.cpu_count()),
            config_settings=types.ConfigSettings(configfiles=files),
            snakefile=SNAKEFILE,
        )
        loaded.dag(types.DAGSettings())
        workflow = loaded._workflow
        rule = _rule(workflow, name, set(wildcards))
        # Results of the survey that rules need; Snakemake reads them while it resolves all jobs of
        # a run.
        for checkpoint in (other for other in workflow.rules if other.is_checkpoint):
            made = checkpoint.expand_output({})[0]
            if all(os.path.exists(path) for path in made):
                workflow.checkpoints.created_output.update(made)
        job = jobs.Job(rule, dag.DAG(workflow, rules=[rule]), wildcards)
        if job.incomplete_input_expand:
            raise UserError(f"the inputs of rule {name} are not known before the survey has run")
        for path in (*job.output, *job.log):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        resources = job.rule.expand_resources(wildcards, job.input, attempt=1)
        script = Path(rule.basedir.get_path_or_uri(secret_free=True)) / str(rule.script)
        given = Snakemake(
            job.input, job.output, job.params, job.wildcards, resources["_cores"], resources,
            job.log, workflow.config, name, None, str(script.parent),
        )  # fmt: skip
    return given, script.resolve()


@contextmanager
def _same_python() -> Iterator[None]:
    """Put PYTHONPATH back, which the Snakefile sets for its jobs."""
    before = os.environ.get("PYTHONPATH")
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _rule(workflow: Any, name: str, wildcards: set[str]) -> Any:
    """Snakemake's rule; UserError without one, or with other wildcards."""
    if not workflow.is_rule(name):
        names = ", ".join(sorted(rule.name for rule in workflow.rules))
        raise UserError(f"there is no rule {name}; there are {names}")
    rule = workflow.get_rule(name)
    if rule.wildcard_names != wildcards:
        wanted = ", ".join(sorted(rule.wildcard_names)) or "none"
        raise UserError(f"the wildcards of rule {name} are: {wanted}")
    if rule.script is None:
        raise UserError(f"rule {name} has no script; it only stands for its inputs")
    return rule


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script of one job."""
    parser = argparse.ArgumentParser(
        prog="python -m lamostvac.run.mock",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rule")
    parser.add_argument("wildcards", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--configfile", help="the run's configuration (config/config.yaml)")
    parser.add_argument("--directory", default=".", help="where the run was started (.)")
    options = parser.parse_args(arguments)
    wildcards = dict(pair.split("=", 1) for pair in options.wildcards if "=" in pair)
    if len(wildcards) != len(options.wildcards):
        parser.error("write wildcards as NAME=VALUE, each once: type=M chunk=0000")
    try:
        run_script(options.rule, options.configfile, folder=options.directory, **wildcards)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
