# From a LAMOST low-resolution data release to one catalogue of stellar labels.
#
# snakemake --cores 4                                    the run that config/config.yaml describes
# snakemake --cores 4 --configfile config/mine.yaml      another run; the file stands alone over the defaults
# snakemake --cores 4 type_M                             one spectral type (results/catalog/M.fits) and nothing of the others

from snakemake.utils import min_version

from lamostvac.configuration import load_configuration
from lamostvac.log import user_errors

min_version("9.0")

# A file given with --configfile must not be mixed with the default one.
if not workflow.configfiles:

    configfile: "config/config.yaml"


with user_errors():
    CFG = load_configuration(config)
RESULTS = CFG.run.results


report: "report/workflow.rst"


wildcard_constraints:
    type="OB|A|F|G|K|M",
    chunk=r"\d+",
    batch=r"\d+",


include: "rules/common.smk"
include: "rules/simulate.smk"
include: "rules/survey.smk"
include: "rules/prepare.smk"
include: "rules/training.smk"
include: "rules/networks.smk"
include: "rules/library.smk"
include: "rules/emulator.smk"
include: "rules/project.smk"
include: "rules/group.smk"
include: "rules/fit.smk"
include: "rules/photometry.smk"
include: "rules/catalog.smk"
include: "rules/errors.smk"
include: "rules/publish.smk"
include: "rules/explorer.smk"
include: "rules/distance.smk"
include: "rules/validation.smk"
include: "rules/report.smk"
include: "rules/stars.smk"
include: "rules/experiments.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/catalog/recommended.fits",
        f"{RESULTS}/catalog/recommended.parquet",
        f"{RESULTS}/catalog/rejected.csv",
        f"{RESULTS}/catalog/accounting.json",
        f"{RESULTS}/catalog/datamodel.md",
        publication_targets(),
        explorer_targets(),
        validation_targets(),
