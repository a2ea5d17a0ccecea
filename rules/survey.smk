"""The release's catalogue: selection, spectral types and chunks of work."""

from lamostvac.survey import chunks as survey_stage
from lamostvac.run import inputs as run_inputs
from lamostvac.core.log import user_errors

with user_errors():
    SURVEY_ROOT, CATALOGUES = run_inputs.survey_inputs(CFG)


# The chunks, survey/chunks/{type}/{chunk}.parquet, are written beside the manifest but are no
# declared output: Snakemake removes declared outputs before a rerun, and then every chunk would look
# new. As it is, the manifest has a digest of each chunk's rows, and only chunks with another one run again.
checkpoint survey:
    input:
        catalogues=release_catalogues,
    output:
        manifest=f"{RESULTS}/survey/manifest.csv",
        groups=f"{RESULTS}/survey/groups.csv",
        rejected=f"{RESULTS}/survey/rejected.csv",
        summary=f"{RESULTS}/survey/summary.json",
    log:
        f"{RESULTS}/logs/survey.log",
    benchmark:
        f"{RESULTS}/benchmarks/survey.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("survey", text_kb=catalogue_text_kb),
    params:
        **CFG.survey.model_dump(mode="json", exclude={"root", "catalogues", "file_pattern"}),
        # A function, because Snakemake would take the names in braces for wildcards.
        file_pattern=lambda wildcards: CFG.survey.file_pattern,
        root=lambda wildcards: SURVEY_ROOT,
        digests=lambda wildcards: digests(CATALOGUES),
        group_size=CFG.grouped.group_size,
        code_version=version_of("survey"),
    script:
        "../workflow_scripts/survey.py"
