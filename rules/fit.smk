# Labels of each star, from its own spectrum alone or from the grouped search (group.smk).

from lamostvac import grouping as grouping_library

EMULATOR_FILE = "_distilled.h5" if CFG.fit.emulator == "distilled" else ".h5"
FIT_EMULATOR = f"{RESULTS}/emulator/{CFG.library.name}{EMULATOR_FILE}"


rule fit:
    input:
        spectra=PREPARED,
        emulator=FIT_EMULATOR,
        grouped=GROUPED_LABELS,
    output:
        f"{RESULTS}/fit/{{type}}/{{chunk}}.h5",
    log:
        f"{RESULTS}/logs/fit/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit/{{type}}/{{chunk}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        settings=FIT_SETTINGS,
        method=CFG.fit.method,
        max_outlier_fraction=CFG.fit.max_outlier_fraction,
        code_version=(FIT_VERSION, grouping_library.CODE_VERSION),
    script:
        "../workflow_scripts/fit.py"


if SECOND:

    # Without a grouped search: its groups have the labels of the first emulator.
    use rule fit as fit_imig with:
        input:
            spectra=PREPARED,
            emulator=f"{RESULTS}/emulator/{SECOND}{EMULATOR_FILE}",
            grouped=[],
        output:
            f"{RESULTS}/fit_imig/{{type}}/{{chunk}}.h5",
        log:
            f"{RESULTS}/logs/fit_imig/{{type}}/{{chunk}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/fit_imig/{{type}}/{{chunk}}.tsv"
        params:
            settings=FIT_SETTINGS,
            method="refine",
            max_outlier_fraction=CFG.fit.max_outlier_fraction,
            code_version=(FIT_VERSION, grouping_library.CODE_VERSION),
