# The release's catalogue: selection, spectral types and chunks of work.


def release_catalogues(wildcards):
    """The release's catalogues. All that follows needs them, so here it is told what else is missing."""
    with user_errors():
        if CTX.missing_data is not None:
            raise UserError(CTX.missing_data)
    return outside(CTX.catalogues)


def catalogue_text_kb(wildcards, input):
    """Size of the release's catalogues as text in kB; gzip takes one to a third or less."""
    return sum(os.path.getsize(path) * (3 if path.endswith(".gz") else 1) for path in input) / 1000


# The chunks, survey/chunks/{type}/{chunk}.parquet, are written beside the manifest but are no
# declared output: Snakemake removes declared outputs before a rerun, and then every chunk would look
# new. As it is, the manifest has a digest of each chunk's rows, and only chunks with another one run again.
checkpoint survey:
    input:
        catalogues=release_catalogues,
        stellar=outside(CTX.stellar_catalogues),
    output:
        # First, because Snakemake lets whatever waits for the checkpoint depend on its first output. Were that the
        # manifest, whose time says nothing to the rules that read it, they would not be seen to wait, and what
        # follows them would run on their old results.
        summary=FILES.survey_summary,
        manifest=FILES.manifest,
        groups=FILES.groups,
        rejected=FILES.survey_rejected,
    log:
        FILES.log("survey"),
    benchmark:
        FILES.benchmark("survey")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("survey", text_kb=catalogue_text_kb),
    params:
        **CFG.survey.model_dump(
            mode="json",
            exclude={
                "root",
                "catalogues",
                "stellar_catalogues",
                "file_pattern",
                "gaia_release",
                "classes",
            },
        ),
        classes=as_it_is(CFG.survey.classes),
        file_pattern=as_it_is(CFG.survey.file_pattern),
        root=lambda wildcards: CTX.survey_root,
        digests=lambda wildcards: digests([*CTX.catalogues, *CTX.stellar_catalogues]),
        group_size=CFG.grouped.group_size,
        code_version=version_of("survey"),
    script:
        "../workflow_scripts/survey.py"
