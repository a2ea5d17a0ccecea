"""Settings of a cluster: the user's own small file `site.yaml` in the Snakefile's folder.

The Slurm profile reads account, partition and the like from it before Snakemake starts; the
Snakefile checks it, so that a mistake is reported in one sentence, and takes from it the limits of
a job and the scratch folder. `$LAMOSTVAC_SITE` names another file; `lamostvac run` sets it to a
`site.yaml` in the working directory or the run's. Without a file there are no limits, and the
profile uses `$SBATCH_ACCOUNT` and `$SBATCH_PARTITION`.
"""

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml
from lamostvac.core.messages import first_mistake, mistake
from lamostvac.core.settings import plain_path

FILE = "site.yaml"


class Site(BaseModel):
    """The keys of the file; all may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    account: str | None = Field(
        None, min_length=1, description="Slurm account that jobs are charged to"
    )
    partition: str | None = Field(None, min_length=1, description="Slurm partition that jobs go to")
    qos: str | None = Field(None, min_length=1, description="quality of service")
    constraint: str | None = Field(None, min_length=1, description="features that a node must have")
    extra: str | None = Field(
        None, min_length=1, description="further options of sbatch, as one text"
    )
    jobs: PositiveInt = Field(100, description="jobs in the queue at the same time")
    max_runtime: PositiveInt | None = Field(
        None, description="minutes that the partition allows a job"
    )
    max_memory: PositiveInt | None = Field(None, description="MB that the largest node gives a job")
    max_threads: PositiveInt | None = Field(None, description="cores that a node gives a job")
    scratch: str | None = Field(
        None,
        min_length=1,
        description="folder, seen by all nodes, for prepared spectra until they are fitted",
    )


def site_path(project: str | os.PathLike[str]) -> Path:
    """The file's path: `$LAMOSTVAC_SITE`, else `site.yaml` in the folder of the Snakefile."""
    return Path(os.environ.get("LAMOSTVAC_SITE") or Path(project) / FILE)


def load_site(project: str | os.PathLike[str]) -> Site:
    """The site of a project folder; the defaults where there is no file.

    Raises
    ------
    UserError
        It cannot be read, or has an unknown key or a wrong value; the message names file and key in
        one sentence.
    """
    path = site_path(project)
    if not path.exists():
        if os.environ.get("LAMOSTVAC_SITE"):
            raise UserError(
                f"LAMOSTVAC_SITE: there is no file {path}; write it as config/site_example.yaml"
            )
        return Site()
    content = read_yaml(path, "the site file", ", of lines `key: value`")
    if not isinstance(content or {}, dict):
        raise UserError(f"the site file {path} must consist of lines `key: value`")
    try:
        return Site.model_validate(content or {})
    except ValidationError as problems:
        error = first_mistake(problems)
        if error["loc"][0] not in Site.model_fields:
            raise UserError(f"the site file {path}: {mistake(problems, Site)}") from None
        key = str(error["loc"][0])
        wanted = (
            "a whole number above 0"
            if "int" in str(Site.model_fields[key].annotation)
            else "a text"
        )
        raise UserError(
            f"the site file {path}: {key} = {repr(error['input'])[:100]} must be {wanted} "
            f"({Site.model_fields[key].description})"
        ) from None


def scratch_folder(site: Site, results: str | os.PathLike[str]) -> str:
    """Folder of prepared spectra until they are fitted: `results`, or this run's in the scratch.

    The name ends in a hash of the absolute results folder, so that two runs in one scratch folder
    are separate.

    Raises `UserError` for a scratch folder that Snakemake would not take as it is.
    """
    if site.scratch is None:
        return str(results)
    path = Path(results).resolve()
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:10]
    scratch = str(Path(os.path.expandvars(site.scratch)).expanduser())
    try:
        plain_path(scratch)
    except ValueError as error:
        raise UserError(f"the site file: scratch = {scratch!r}: {error}") from None
    return str(Path(scratch) / f"lamostvac-{path.name}-{digest}")
