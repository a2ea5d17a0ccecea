# Principal components of each star's spectrum, for the grouped search.


rule project:
    input:
        meta=PREPARED_META,
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        f"{RESULTS}/project/{{type}}/{{chunk}}.h5",
    log:
        f"{RESULTS}/logs/project/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/project/{{type}}/{{chunk}}.tsv"
    group:
        "chunk"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("project", spectra=spectra_of),
    params:
        prepared=prepared_spectra,
        code_version=version_of("project"),
    script:
        "../workflow_scripts/project.py"
