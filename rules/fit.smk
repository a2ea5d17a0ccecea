# Labels of each star. The grouped search of Liang et al. (2024) will stand between project and fit: it
# replaces the first guesses that the fit starts from.


rule fit:
    input:
        spectra=PREPARED,
        project=f"{RESULTS}/project/{{type}}/{{chunk}}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
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
        code_version=refine_library.CODE_VERSION,
    script:
        "../workflow_scripts/fit.py"
