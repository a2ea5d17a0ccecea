"""A logger plugin of Snakemake for `lamostvac run`: shows a line for each stage, not Snakemake's messages.

Snakemake finds plugins by this folder's name on the module path, to which `lamostvac.run.start`
adds it. What is shown is `lamostvac.run.stages`; Snakemake writes all it says to a file of its own.
"""

import logging
import sys
from collections.abc import Sequence
from logging import LogRecord

from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from lamostvac.run.job_records import last_error
from lamostvac.run.stages import Screen, Stages, job_name, jobs_left

# What Snakemake adds to a job's failure, which is shown with its reason.
_AFTER_A_FAILURE = (
    "RuleException",
    "Exiting because a job execution failed",
    "At least one job did not complete",
    "WorkflowError:\nAt least one job did not complete",
)

_NOTHING = "nothing to be done: every file of this run is there and up to date"
# Jobs of chunks are known when `survey` has run, which --until and --omit-from do not wait for.
_NONE_PICKED = (
    "nothing to be done: of the jobs that are missing and known at the start, --until and --omit-from "
    "leave none; name the files or a target that you want instead, such as type_M"
)


def _picks(arguments: Sequence[str]) -> bool:
    """Whether Snakemake was asked for a part of its jobs only."""
    options = {argument.partition("=")[0] for argument in arguments}
    return bool(options & {"--until", "-U", "--omit-from", "-O"})


class LogHandler(LogHandlerBase):
    """Passes jobs to `Stages`, and shows warnings and errors as Snakemake words them."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.setFormatter(DefaultFormatter())
        self.stages = Stages(Screen(sys.stderr), jobs_left)
        self.jobs: dict[int, tuple[str, str, tuple[str, ...]]] = {}

    def emit(self, record: LogRecord) -> None:
        try:
            self._emit(record)
        except BrokenPipeError:
            raise
        except Exception:  # what is shown must not end the run
            self.handleError(record)

    def _emit(self, record: LogRecord) -> None:
        event, values = getattr(record, "event", None), vars(record)
        if event == LogEvent.JOB_INFO:
            logs = tuple(str(path) for path in values["log"] or ())
            name = job_name(values["wildcards"] or {})
            # Snakemake says JOB_STARTED before it says which jobs these are.
            self.jobs[values["jobid"]] = values["rule_name"], name, logs
            self.stages.started(*self.jobs[values["jobid"]])
        elif event == LogEvent.JOB_FINISHED and values["job_id"] in self.jobs:
            self.stages.finished(*self.jobs[values["job_id"]])
        elif event == LogEvent.PROGRESS:
            self.stages.share(values["done"], values["total"])
        elif event == LogEvent.JOB_ERROR and values["log"]:
            paths = [str(path) for path in values["log"]]
            rule, name, _ = self.jobs.get(values["jobid"], (values["rule_name"], "", ()))
            self.stages.failed(f"{rule} {name}".strip() + " failed", paths, last_error)
        elif event is None and str(record.msg).startswith("Nothing to be done"):
            self.stages.say(_NOTHING if not _picks(sys.argv) else _NONE_PICKED)
        elif event == LogEvent.RUN_INFO and not values["stats"]["total"]:
            self.stages.say(_NONE_PICKED)
        elif record.levelno >= logging.WARNING or event in (LogEvent.JOB_ERROR, LogEvent.ERROR):
            text = self.format(record).strip()
            if not text.startswith(_AFTER_A_FAILURE):
                self.stages.say(text)

    def close(self) -> None:
        self.stages.end()
        super().close()
