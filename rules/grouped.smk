# The grouped search of Liang et al. (2024) for fit.method grouped and grouped_refine; with refine nothing of it runs.


SEARCH_SETTINGS = CFG.grouped.model_dump(mode="json", exclude={"group_size", "groups_per_job"}) | {
    "max_extrapolation": CFG.fit.max_extrapolation
}
# What the fit needs of the grouped search.
GROUPED_LABELS = f"{RESULTS}/grouped/{{type}}/labels.h5" if CFG.fit.method != "refine" else []


rule candidates:
    input:
        meta=PREPARED_META,
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        f"{RESULTS}/candidates/{{type}}/{{chunk}}.h5",
    log:
        f"{RESULTS}/logs/candidates/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/candidates/{{type}}/{{chunk}}.tsv"
    group:
        "chunk"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("candidates", spectra=spectra_of, library_kb=size_kb("library")),
    params:
        matches=CFG.grouped.matches,
        prepared=prepared_spectra,
        code_version=version_of("candidates"),
    script:
        "../workflow_scripts/candidates.py"


# A job of a search has stars of all chunks. So that it need not open hundreds of files, the stars of a type
# are copied in the order of their groups, and their labels brought back into that of the chunks.
rule sort_groups:
    input:
        candidates=chunk_files(f"{RESULTS}/candidates/{{type}}/{{chunk}}.h5"),
        project=chunk_files(f"{RESULTS}/project/{{type}}/{{chunk}}.h5"),
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
    output:
        order=f"{RESULTS}/grouped/{{type}}/order.h5",
        stars=temp(f"{RESULTS}/grouped/{{type}}/stars.h5"),
    log:
        f"{RESULTS}/logs/sort_groups/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sort_groups/{{type}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("sort_groups", spectra=spectra_of),
    params:
        code_version=version_of("sort_groups"),
    script:
        "../workflow_scripts/sort_groups.py"


rule search:
    input:
        stars=f"{RESULTS}/grouped/{{type}}/stars.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
    output:
        f"{RESULTS}/grouped/{{type}}/{{batch}}.h5",
    log:
        f"{RESULTS}/logs/search/{{type}}/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/search/{{type}}/{{batch}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("search", spectra=spectra_of_batch),
    params:
        settings=SEARCH_SETTINGS,
        group_size=CFG.grouped.group_size,
        groups_per_job=CFG.grouped.groups_per_job,
        seed=CFG.run.seed,
        code_version=version_of("search"),
    script:
        "../workflow_scripts/search.py"


rule grouped_labels:
    input:
        order=f"{RESULTS}/grouped/{{type}}/order.h5",
        batches=group_batches,
    output:
        f"{RESULTS}/grouped/{{type}}/labels.h5",
    log:
        f"{RESULTS}/logs/grouped_labels/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/grouped_labels/{{type}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("grouped_labels", spectra=spectra_of),
    params:
        code_version=version_of("grouped_labels"),
    script:
        "../workflow_scripts/grouped_labels.py"
