# Spectra onto the common grid: one pass over the files of a chunk.
#
# The spectra themselves are no declared output. They are removed when all have read them, and as an output that
# Snakemake removes they would have to be made anew, as new input of all their readers, whenever one of these runs
# again. As it is, a reader that finds none prepares its own (lamostvac/spectra/chunk.py), and the others keep what they have.


# On a cluster all of a chunk is one job, read on the node that wrote the prepared spectra. A fit that begins with groups
# of all chunks waits for these, and is then, with the networks after it, a job of its own.
FIT_GROUP = "chunk" if CFG.fit.method == "refine" or CFG.grouped.scope == "chunk" else "fit"


def prepared_spectra(wildcards, output):
    """What a reader of prepared spectra has to know (`open_prepared`).

    `output` is there because Snakemake does not compare parameters that come from outputs: a reader runs again when
    `meta` is new, whatever the settings it was made with.
    """
    return {
        "spectra": FILES.prepared.format(**wildcards),
        "meta": FILES.prepared_meta.format(**wildcards),
        "chunk": FILES.chunk.format(**wildcards),
        "settings": CTX.prepare_settings,
        "networks": CTX.network_preparation,
    }


def last_reader(reader):
    """Whether a rule is the last that reads a chunk's spectra, and removes them; no reason to run again either."""
    return lambda wildcards, output: not CFG.prepare.keep and reader == CTX.last_reader


def chunk_digest(wildcards):
    """What a chunk's rows say."""
    return CHUNKS.digests(wildcards.type).get(wildcards.chunk, "")


rule prepare:
    input:
        # What its rows say is in `digest`; its time says nothing.
        chunk=ancient(FILES.chunk),
    output:
        meta=FILES.prepared_meta,
    log:
        FILES.log("prepare", "type", "chunk"),
    benchmark:
        FILES.benchmark("prepare", "type", "chunk")
    group:
        "chunk"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("prepare", spectra=spectra_of),
    params:
        settings=CTX.prepare_settings,
        networks=CTX.network_preparation,
        # By way of `output` Snakemake does not compare it: another scratch folder is no reason to run again.
        spectra=lambda wildcards, output: FILES.prepared.format(**wildcards),
        digest=chunk_digest,
        code_version=version_of("prepare"),
    script:
        "../workflow_scripts/prepare.py"


# For the experiments alone, which have no part in the order in which the others read and remove them.
rule spectra:
    input:
        meta=FILES.prepared_meta,
    output:
        temp(FILES.spectra),
    log:
        FILES.log("spectra", "type", "chunk"),
    benchmark:
        FILES.benchmark("spectra", "type", "chunk")
    priority: READS_PREPARED
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("spectra", spectra=spectra_of),
    params:
        prepared=prepared_spectra,
        code_version=version_of("spectra"),
    script:
        "../workflow_scripts/spectra.py"
