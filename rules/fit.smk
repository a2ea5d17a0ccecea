# Labels of each star, from its own spectrum alone or from the grouped search (grouped.smk).


EMULATOR_FILE = "_distilled.h5" if CFG.fit.emulator == "distilled" else ".h5"
FIT_EMULATOR = f"{RESULTS}/emulator/{CFG.library.name}{EMULATOR_FILE}"


rule fit:
    input:
        meta=PREPARED_META,
        emulator=FIT_EMULATOR,
        grouped=GROUPED_LABELS,
    output:
        f"{RESULTS}/fit/{{type}}/{{chunk}}.h5",
    log:
        f"{RESULTS}/logs/fit/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit/{{type}}/{{chunk}}.tsv"
    group:
        FIT_GROUP
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("fit", spectra=spectra_of),
    params:
        settings=FIT_SETTINGS,
        method=CFG.fit.method,
        prepared=prepared_spectra,
        last=last_reader("fit"),
        max_outlier_fraction=CFG.fit.max_outlier_fraction,
        code_version=version_of("fit"),
    script:
        "../workflow_scripts/fit.py"


if SECOND:

    # Without a grouped search: its groups have the labels of the first emulator.
    use rule fit as fit_imig with:
        input:
            meta=PREPARED_META,
            # Afterwards, because the last reader removes the spectra.
            after=ancient(f"{RESULTS}/fit/{{type}}/{{chunk}}.h5"),
            emulator=f"{RESULTS}/emulator/{SECOND}{EMULATOR_FILE}",
            grouped=[],
        output:
            f"{RESULTS}/fit_imig/{{type}}/{{chunk}}.h5",
        log:
            f"{RESULTS}/logs/fit_imig/{{type}}/{{chunk}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/fit_imig/{{type}}/{{chunk}}.tsv"
        resources:
            **asks("fit_imig", spectra=spectra_of),
        params:
            settings=FIT_SETTINGS,
            method="refine",
            prepared=prepared_spectra,
            last=last_reader("fit_imig"),
            max_outlier_fraction=CFG.fit.max_outlier_fraction,
            code_version=version_of("fit"),
