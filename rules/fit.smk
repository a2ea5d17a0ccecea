# Labels of each star, from its own spectrum alone or from the grouped search (group.smk).

from lamostvac import grouping as grouping_library

FIT_EMULATOR = (
    f"{RESULTS}/emulator/{CFG.library.name}{'_distilled' if CFG.fit.emulator == 'distilled' else ''}.h5"
)


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
