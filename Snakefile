# From a LAMOST low-resolution data release to one catalogue of stellar labels.
#
# lamostvac run --config config/mine.yaml               a run, from any folder; or, as typed in this one:
# snakemake --cores 4                                    the run that config/config.yaml describes
# snakemake --cores 4 --configfile config/mine.yaml      another run; the file stands alone over the defaults
# snakemake --cores 4 type_M                             one spectral type (results/catalog/M.fits) and nothing of the others

import os
import signal
import sys
import time
from pathlib import Path

from snakemake.utils import min_version

from lamostvac.configuration.root import load_configuration
from lamostvac.core.atomic import remove_temporaries
from lamostvac.core.files import read_sections
from lamostvac.core.log import user_errors
from lamostvac.run.context import resolve
from lamostvac.run.fork_server import collect_rarely
from lamostvac.run.forked_scripts import fork_scripts
from lamostvac.run.inputs import require_own_survey
from lamostvac.run.job_records import write_run
from lamostvac.run.site import load_site, scratch_folder
from lamostvac.run.slurm import cancel_leftovers, require_safe_settings
from lamostvac.run.stages import watch
from lamostvac.run.start import check_targets, typed_targets

min_version("9.0")
collect_rarely()
# A dry run ends, as other programs do, when its reader has seen enough (`snakemake -n | head`).
if {"-n", "--dry-run", "--dryrun"} & set(sys.argv):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

# A script starts a Python of its own, which would take an installed lamostvac before that of this checkout.
HERE = str(workflow.basedir)
if os.path.isdir(f"{HERE}/lamostvac") and not os.environ.get("PYTHONPATH", "").startswith(HERE):
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{others}" if others else HERE

# A file given with --configfile must not be mixed with the default one.
if not workflow.configfiles:
    with user_errors():
        read_sections("config/config.yaml")  # Snakemake would end in a traceback, or never

    configfile: "config/config.yaml"


with user_errors():
    # Snakemake has read them already, but passes over what is wrong with them.
    for path in workflow.configfiles:
        read_sections(path)
    CFG = load_configuration(config)
    # Snakemake would say that no rule makes them.
    check_targets(typed_targets(sys.argv[1:]), CFG.survey.types)
    SITE = load_site(workflow.basedir)
    # What the configuration means, and where every file of the run is.
    CTX = resolve(CFG, SITE, in_job=not workflow.is_main_process)
FILES = CTX.layout
for sentence in CTX.notes:
    logger.info(sentence)
for sentence in CTX.warnings:
    logger.warning(sentence)


# Runs once, with the run locked and before the first job: what an earlier Snakemake, which was killed, left in Slurm's
# queue would write the same files as the jobs to come.
onstart:
    with user_errors():
        require_own_survey(CFG)
        if NETWORKS_OUTSIDE and CTX.network_preparation:
            # Imported here, because every job reads this file and few need it.
            from lamostvac.networks.agreement import check_files
            from lamostvac.spectra.network_grid import NetworkPreparation

            preparation = NetworkPreparation.model_validate(CTX.network_preparation)
            check_files(CTX.network_files, preparation, CTX.snr_bands)
        require_safe_settings(workflow.executor_settings)
        cancelled = cancel_leftovers(
            Path(FILES.slurm_run),
            getattr(workflow.scheduler._executor, "run_uuid", None),
            workflow.workdir_init,
            logger,
        )
    if cancelled:
        # A job that is cancelled takes its outputs with it, which the plan of this Snakemake counts on: start over.
        workflow.persistence.unlock()
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, sys.orig_argv)
    # Nobody else writes now, so what is unfinished has no owner.
    for folder in {FILES.results, scratch_folder(SITE, FILES.results)}:
        remove_temporaries(folder)
    write_run(
        FILES.results,
        started=time.time(),
        jobs=[(job.rule.name, dict(job.wildcards_dict)) for job in workflow.dag.needrun_jobs()],
        targets=workflow.dag_settings.targets,
        chunk_rules=CTX.chunk_rules,
        types=CFG.survey.types,
        networks=len(CTX.set_of_label) * CFG.networks.members,
        configuration=config,
    )
    if CFG.run.fork_scripts and workflow.local_exec:
        fork_scripts()
    watch(workflow.dag, FILES.results)


report: "report/workflow.rst"


wildcard_constraints:
    type="OB|A|F|G|K|M",
    chunk=r"\d+",
    batch=r"\d+",


include: "rules/common.smk"
include: "rules/fetch.smk"
include: "rules/simulate.smk"
include: "rules/survey.smk"
include: "rules/spectra.smk"
include: "rules/training.smk"
include: "rules/networks.smk"
include: "rules/library.smk"
include: "rules/emulator.smk"
include: "rules/grouped.smk"
include: "rules/fit.smk"
include: "rules/catalog.smk"
include: "rules/uncertainty.smk"
include: "rules/recommend.smk"
include: "rules/distance.smk"
include: "rules/publish.smk"
include: "rules/validation.smk"
include: "rules/report.smk"
include: "rules/star.smk"
include: "rules/label.smk"
include: "rules/experiments.smk"


rule all:
    default_target: True
    input:
        FILES.catalogue_fits,
        FILES.catalogue,
        FILES.rejected,
        FILES.accounting,
        FILES.data_model,
        FILES.provenance,
        publication_targets(),
        explorer_targets(),
        validation_targets(),
