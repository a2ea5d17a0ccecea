"""The type of Snakemake's object in a rule's script."""

from collections.abc import Sequence
from typing import Any, Protocol


class Job(Protocol):
    """A job of the workflow, which Snakemake puts into a script's globals as `snakemake`.

    `lamostvac.run.mock` makes one without running the workflow.

    Attributes
    ----------
    rule : the rule's name
    input, output : file names, by name or by number; a name may have one file or a list of them
    params : the rule's settings by name, values that JSON could hold
    wildcards : texts by name
    log : the log's file name, in a list that is empty for a rule without log
    threads : cores
    resources : whole numbers by name, including memory, time and the job's amounts of work
    config : the configuration as the user wrote it
    """

    rule: str
    input: Any
    output: Any
    params: Any
    wildcards: Any
    log: Sequence[str]
    threads: int
    resources: Any
    config: dict[str, Any]
