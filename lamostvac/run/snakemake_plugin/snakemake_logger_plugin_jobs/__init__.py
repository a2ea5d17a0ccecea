"""A logger plugin of Snakemake for `lamostvac plan`: writes each job of a run as a line of JSON.

Snakemake finds plugins by this folder's name on the module path, to which `lamostvac.run.dry_run`
adds it.
"""

import json
from dataclasses import dataclass, field
from logging import LogRecord
from pathlib import Path
from typing import Optional

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """The plugin's options on Snakemake's command line."""

    # Snakemake's parser of arguments reads the type, and supports unions only in this form.
    file: Optional[Path] = field(  # noqa: UP045
        default=None, metadata={"help": "File for the jobs.", "required": True}
    )


class LogHandler(LogHandlerBase):
    """Writes `rule wildcards reason resources input output log threads` of each job.

    Resources are those that are whole numbers and known, which excludes any that depend on a file
    that does not exist yet.
    """

    writes_to_stream = False
    writes_to_file = False  # it is not a log for the user
    has_filter = True  # jobs are wanted even with --quiet
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        assert isinstance(self.settings, LogHandlerSettings)
        assert self.settings.file is not None
        # Line-buffered, because Snakemake does not close its plugins.
        self.output = self.settings.file.open("w", encoding="utf-8", buffering=1)

    def emit(self, record: LogRecord) -> None:
        if getattr(record, "event", None) != LogEvent.JOB_INFO:
            return
        job = vars(record)
        resources = {
            name: value
            for name, value in job["resources"].items()
            if isinstance(value, int) and not name.startswith("_") and name != "mem_mib"
        }
        names = ("input", "output", "log")
        files = {name: [str(path) for path in job[name] or ()] for name in names}
        written = {
            "rule": job["rule_name"],
            "wildcards": job["wildcards"] or {},
            "reason": job["reason"],
            "resources": resources,
            "threads": int(job["threads"]),
            **files,
        }
        self.output.write(json.dumps(written) + "\n")
