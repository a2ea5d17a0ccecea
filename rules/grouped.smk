# The grouped search of Liang et al. (2024): within each chunk, or with grouped.scope type over all chunks of a type.


SEARCH_SETTINGS = CFG.grouped.model_dump(
    mode="json", exclude={"run", "scope", "group_size", "groups_per_job"}
) | {"max_extrapolation": CFG.fit.max_extrapolation}
GROUPS_OF_CHUNK = CFG.grouped.scope == "chunk"
# What the fit needs of the grouped search.
GROUPED_LABELS = FILES.chunk_groups if GROUPS_OF_CHUNK else FILES.grouped_labels
if CFG.fit.method == "refine":
    GROUPED_LABELS = []
# What the rows of the catalogue need of it.
GROUPED_OF_ROWS = chunk_files(FILES.chunk_groups) if GROUPS_OF_CHUNK else FILES.grouped_labels
if not CFG.searches_groups:
    GROUPED_OF_ROWS = []


def readers_before_search(reader):
    """Where the fit does not need the groups, they are searched after it: so its labels never wait for them.

    Not `ancient`, for the reason that fit_imig has (fit.smk); a search again takes a small part of a fit's time.
    """
    return CTX.earlier_readers(reader) if CFG.fit.method == "refine" else []


if CFG.searches_groups and GROUPS_OF_CHUNK:

    rule search_chunk:
        input:
            meta=FILES.prepared_meta,
            library=CTX.library,
            emulator=CTX.fit_emulator(CFG.library.name),
            whole=CTX.emulator,
            after=readers_before_search("search_chunk"),
        output:
            FILES.chunk_groups,
        log:
            FILES.log("search_chunk", "type", "chunk"),
        benchmark:
            FILES.benchmark("search_chunk", "type", "chunk")
        priority: READS_PREPARED
        group:
            "chunk"
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("search_chunk", spectra=spectra_of, library_kb=size_kb("library")),
        params:
            settings=SEARCH_SETTINGS,
            group_size=CFG.grouped.group_size,
            seed=CFG.run.seed,
            prepared=prepared_spectra,
            last=last_reader("search_chunk"),
            code_version=version_of("search_chunk"),
        script:
            "../workflow_scripts/search_chunk.py"


if CFG.searches_groups and not GROUPS_OF_CHUNK:
    READERS_BEFORE_PROJECT = readers_before_search("project")
    READERS_BEFORE_CANDIDATES = readers_before_search("candidates")
else:
    READERS_BEFORE_PROJECT = READERS_BEFORE_CANDIDATES = []


# Principal components of each spectrum.
rule project:
    input:
        meta=FILES.prepared_meta,
        emulator=CTX.fit_emulator(CFG.library.name),
        after=READERS_BEFORE_PROJECT,
    output:
        FILES.project,
    log:
        FILES.log("project", "type", "chunk"),
    benchmark:
        FILES.benchmark("project", "type", "chunk")
    priority: READS_PREPARED
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


rule candidates:
    input:
        meta=FILES.prepared_meta,
        library=CTX.library,
        emulator=CTX.emulator,
        after=READERS_BEFORE_CANDIDATES,
    output:
        FILES.candidates,
    log:
        FILES.log("candidates", "type", "chunk"),
    benchmark:
        FILES.benchmark("candidates", "type", "chunk")
    priority: READS_PREPARED
    group:
        "chunk"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("candidates", spectra=spectra_of, library_kb=size_kb("library")),
    params:
        matches=CFG.grouped.matches,
        prepared=prepared_spectra,
        last=last_reader("candidates"),
        code_version=version_of("candidates"),
    script:
        "../workflow_scripts/candidates.py"


# A job of a search has stars of all chunks. So that it need not open hundreds of files, the stars of a type
# are copied in the order of their groups, and their labels brought back into that of the chunks.
rule sort_groups:
    input:
        candidates=chunk_files(FILES.candidates),
        project=chunk_files(FILES.project),
        library=CTX.library,
    output:
        order=FILES.group_order,
        stars=temp(FILES.group_stars),
    log:
        FILES.log("sort_groups", "type"),
    benchmark:
        FILES.benchmark("sort_groups", "type")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("sort_groups", spectra=spectra_of),
    params:
        code_version=version_of("sort_groups"),
    script:
        "../workflow_scripts/sort_groups.py"


def spectra_of_batch(wildcards, input):
    """Spectra of a job of the grouped search, at most."""
    return min(CFG.grouped.group_size * CFG.grouped.groups_per_job, spectra_of(wildcards))


rule search:
    input:
        stars=FILES.group_stars,
        emulator=CTX.fit_emulator(CFG.library.name),
        library=CTX.library,
    output:
        FILES.group_batch,
    log:
        FILES.log("search", "type", "batch"),
    benchmark:
        FILES.benchmark("search", "type", "batch")
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


def group_batches(wildcards):
    """Results of the jobs that search the groups of a type; the survey knows how many there can be."""
    import pandas as pd

    from lamostvac.grouped.groups import batch_names

    checkpoints.survey.get()
    groups = pd.read_csv(FILES.groups, dtype={"type": str}, keep_default_na=False)
    n_groups = int(groups.loc[groups["type"] == wildcards.type, "n_groups"].sum())
    names = batch_names(n_groups, CFG.grouped.groups_per_job)
    return expand(FILES.group_batch, type=wildcards.type, batch=names)


rule grouped_labels:
    input:
        order=FILES.group_order,
        batches=group_batches,
        library=CTX.library,
    output:
        FILES.grouped_labels,
    log:
        FILES.log("grouped_labels", "type"),
    benchmark:
        FILES.benchmark("grouped_labels", "type")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("grouped_labels", spectra=spectra_of),
    params:
        code_version=version_of("grouped_labels"),
    script:
        "../workflow_scripts/grouped_labels.py"
