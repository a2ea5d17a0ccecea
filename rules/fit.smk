# Labels of each star, from its own spectrum alone or from the grouped search (grouped.smk).


rule fit:
    input:
        meta=FILES.prepared_meta,
        emulator=CTX.fit_emulator(CFG.library.name),
        grouped=GROUPED_LABELS,
    output:
        FILES.fit,
    log:
        FILES.log("fit", "type", "chunk"),
    benchmark:
        FILES.benchmark("fit", "type", "chunk")
    group:
        FIT_GROUP
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("fit", spectra=spectra_of),
    params:
        settings=CTX.fit_settings,
        method=CFG.fit.method,
        prepared=prepared_spectra,
        last=last_reader("fit"),
        max_outlier_fraction=CFG.fit.max_outlier_fraction,
        code_version=version_of("fit"),
    script:
        "../workflow_scripts/fit.py"


if CTX.second:

    # Without a grouped search: its groups have the labels of the first emulator.
    use rule fit as fit_imig with:
        input:
            meta=FILES.prepared_meta,
            # Afterwards, because the last reader removes the spectra. Not `ancient`: what makes a fit run again
            # makes this one too, and Snakemake does not look at the params of a job behind one that runs.
            after=FILES.fit,
            emulator=CTX.fit_emulator(CTX.second),
            grouped=[],
        output:
            FILES.fit_imig,
        log:
            FILES.log("fit_imig", "type", "chunk"),
        benchmark:
            FILES.benchmark("fit_imig", "type", "chunk")
        resources:
            **asks("fit_imig", spectra=spectra_of),
        params:
            settings=CTX.fit_settings,
            method="refine",
            prepared=prepared_spectra,
            last=last_reader("fit_imig"),
            max_outlier_fraction=CFG.fit.max_outlier_fraction,
            code_version=version_of("fit"),
