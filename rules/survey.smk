# The release's catalogue: selection, spectral types and chunks of work.


def release_catalogues(wildcards):
    """The release's catalogues. All that follows needs them, so here it is told what else is missing."""
    with user_errors():
        for missing in (CTX.missing_data, CTX.missing_networks):
            if missing is not None:
                raise UserError(missing)
        spectra_files()  # says what is wrong with a folder that is its own catalogue
    return outside(CTX.catalogues)


def spectra_files():
    """Digest of the names below the folder whose spectra's headers are the catalogue, and their number."""
    from lamostvac.survey.tree import tree_state

    return tree_state(CTX.survey_root, FILES.results) if CTX.headers else ("", 0)


def catalogue_text_kb(wildcards, input):
    """Size of the release's catalogues as text in kB; gzip takes one to a third or less.

    A spectrum's header counts as a row of a catalogue, 0.25 kB.
    """
    sizes = (os.path.getsize(path) * (3 if path.endswith(".gz") else 1) for path in input)
    return sum(sizes) / 1000 + 0.25 * spectra_files()[1]


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
    threads: 4 if CTX.headers else 1
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
        headers=FILES.survey_headers if CTX.headers else None,
        results=FILES.results if CTX.headers else None,
        tree=lambda wildcards: spectra_files()[0],
        group_size=CFG.grouped.group_size,
        code_version=version_of("survey"),
    script:
        "../workflow_scripts/survey.py"
