# Principal components of each star's spectrum, for the grouped search.

from lamostvac import project as project_library


rule project:
    input:
        spectra=PREPARED,
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        f"{RESULTS}/project/{{type}}/{{chunk}}.h5",
    log:
        f"{RESULTS}/logs/project/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/project/{{type}}/{{chunk}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        code_version=project_library.CODE_VERSION,
    script:
        "../workflow_scripts/project.py"
