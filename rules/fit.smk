# Labels of each star, from its own first guesses or from the grouped search (group.smk).

from lamostvac import grouping as grouping_library


rule fit:
    input:
        spectra=PREPARED,
        project=f"{RESULTS}/project/{{type}}/{{chunk}}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
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
        code_version=(refine_library.CODE_VERSION, grouping_library.CODE_VERSION),
    script:
        "../workflow_scripts/fit.py"
