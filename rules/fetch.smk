# The data of a run on a real release: public files are fetched, the release's own are compared with its catalogue.
# Nothing of the workflow depends on these rules. The files are no declared outputs: Snakemake removes outputs before it
# makes them, and a file that somebody brought by hand must stay. Rules without outputs run whenever they are asked for.


localrules:
    fetch,
    check_release,


def fetch_needs(wildcards):
    """The files besides the release that this run reads."""
    from lamostvac.fetch.plan import needs_as_params
    from lamostvac.run.needs import needs_of

    with user_errors():
        return needs_as_params(needs_of(CFG))


rule fetch:
    log:
        FILES.log("fetch"),
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("fetch"),
    params:
        folder=FILES.fetch,
        needs=fetch_needs,
        settings=CFG.fetch.model_dump(mode="json", exclude={"file", "sources", "sizes"}),
        catalogues=lambda wildcards: CTX.catalogues,
        headers=FILES.survey_headers if CTX.headers else None,
        root=lambda wildcards: CTX.survey_root,
        results=FILES.results if CTX.headers else None,
        column_aliases=CFG.survey.column_aliases,
        classes=as_it_is(CFG.survey.classes),
        code_version=version_of("fetch"),
    script:
        "../workflow_scripts/fetch.py"


rule check_release:
    log:
        FILES.log("check_release"),
    conda:
        "../envs/lamostvac.yaml"
    threads: 4
    resources:
        **asks("check_release"),
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
        folder=FILES.release,
        file_pattern=as_it_is(CFG.survey.file_pattern),
        root=lambda wildcards: CTX.survey_root,
        catalogues=lambda wildcards: CTX.catalogues,
        sizes=CFG.fetch.sizes,
        code_version=version_of("check_release"),
    script:
        "../workflow_scripts/check_release.py"
