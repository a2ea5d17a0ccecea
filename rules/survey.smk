"""The release's catalogue: selection, spectral types and chunks of work."""

from lamostvac import survey as survey_stage
from lamostvac.log import user_errors

with user_errors():
    SURVEY_ROOT, CATALOGUES = survey_stage.survey_inputs(CFG)


# The chunks, survey/chunks/{type}/{chunk}.parquet, are written beside the manifest but are no
# declared output: Snakemake removes declared outputs before a rerun, and then every chunk would look
# new. As it is, a chunk that did not change keeps its time and nothing after it runs again.
checkpoint survey:
    input:
        catalogues=CATALOGUES,
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
        # 11.4 million rows, 2.6 GB of text, peaked at 4.2 GB; gzip takes a catalogue to a third or less.
        mem_mb=lambda wildcards, input, attempt: int(
            (1000 + (6 if str(input.catalogues[0]).endswith(".gz") else 2) * input.size_mb) * attempt
        ),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        **CFG.survey.model_dump(mode="json", exclude={"root", "catalogues", "file_pattern"}),
        # A function, because Snakemake would take the names in braces for wildcards.
        file_pattern=lambda wildcards: CFG.survey.file_pattern,
        root=lambda wildcards: SURVEY_ROOT,
        group_size=CFG.grouped.group_size,
        code_version=survey_stage.CODE_VERSION,
    script:
        "../workflow_scripts/survey.py"
