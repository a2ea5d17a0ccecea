# First guess of each star by correlation with the library, and its principal components.

from lamostvac import project as project_library


rule project:
    input:
        spectra=PREPARED,
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
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
        n_matches=CFG.fit.first_guess_matches,
        code_version=project_library.CODE_VERSION,
    script:
        "../workflow_scripts/project.py"
