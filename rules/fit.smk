# Labels of each star, from its own spectrum alone or from the grouped search (grouped.smk).


rule fit:
    input:
        meta=FILES.prepared_meta,
        emulator=CTX.fit_emulator(CFG.library.name),
        # Where the library's stars are the survey's; else empty.
        without=CTX.emulators_without(CFG.library.name),
        stars=CTX.library_stars(CFG.library.name),
        grouped=GROUPED_LABELS,
    output:
        FILES.fit,
    log:
        FILES.log("fit", "type", "chunk"),
    benchmark:
        FILES.benchmark("fit", "type", "chunk")
    priority: READS_PREPARED
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
            without=[],
            stars=[],
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


if CTX.further:

    def further_inputs(wildcards):
        """`emulator_{name}`, `without_{name}` and `stars_{name}` of each of these emulators."""
        files = {}
        for name in CTX.further:
            files[f"emulator_{name}"] = CTX.fit_emulator(name)
            files[f"without_{name}"] = CTX.emulators_without(name)
            files[f"stars_{name}"] = CTX.library_stars(name)
        return files

    # All of them in one job, for which the spectra are read once.
    rule fit_further:
        input:
            unpack(further_inputs),
            meta=FILES.prepared_meta,
            # Not `ancient`, for the reason that fit_imig has.
            after=CTX.earlier_readers("fit_further"),
        output:
            FILES.fit_further,
        log:
            FILES.log("fit_further", "type", "chunk"),
        benchmark:
            FILES.benchmark("fit_further", "type", "chunk")
        priority: READS_PREPARED
        group:
            FIT_GROUP
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("fit_further", spectra=spectra_of, emulators=len(CTX.further)),
        params:
            settings=CTX.fit_settings,
            emulators=CTX.further,
            prepared=prepared_spectra,
            last=last_reader("fit_further"),
            max_outlier_fraction=CFG.fit.max_outlier_fraction,
            code_version=version_of("fit_further"),
        script:
            "../workflow_scripts/fit_further.py"
