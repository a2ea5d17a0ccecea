# Spectra onto the common grid: one pass over the files of a chunk.
#
# The spectra themselves are no declared output. They are removed when all have read them, and as an output that
# Snakemake removes they would have to be made anew, as new input of all their readers, whenever one of these runs
# again. As it is, a reader that finds none prepares its own (lamostvac/spectra/chunk.py), and the others keep what they have.


# None when no network will see the spectra.
NETWORK_PREPARATION = (
    CFG.networks.model_dump(mode="json", include={"windows", "median_window", "polynomial_degree"})
    if CFG.networks.training_sets
    else None
)
# Removed when all have read them unless prepare.keep says otherwise, so they may stand in a scratch folder until then.
PREPARED = f"{RESULTS if CFG.prepare.keep else SCRATCH}/prepared/{{type}}/{{chunk}}.h5"
PREPARED_META = f"{RESULTS}/prepared/{{type}}/{{chunk}}_meta.h5"
CHUNK = f"{RESULTS}/survey/chunks/{{type}}/{{chunk}}.parquet"


# The fits that read a chunk's spectra, in their order; after them come the networks.
FITS = ["fit", "fit_imig"] if CFG.second_library else ["fit"]

# On a cluster all of a chunk is one job, read on the node that wrote the prepared spectra. A grouped search looks at
# all chunks between their preparation and their fits, which are then, with the networks after them, a job of their own.
FIT_GROUP = "chunk" if CFG.fit.method == "refine" else "fit"


rule prepare:
    input:
        # What its rows say is in `digest`; its time says nothing.
        chunk=ancient(CHUNK),
    output:
        meta=PREPARED_META,
    log:
        f"{RESULTS}/logs/prepare/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare/{{type}}/{{chunk}}.tsv"
    group:
        "chunk"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("prepare", spectra=spectra_of),
    params:
        settings=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        networks=NETWORK_PREPARATION,
        # By way of `output` Snakemake does not compare it: another scratch folder is no reason to run again.
        spectra=lambda wildcards, output: PREPARED.format(**wildcards),
        digest=chunk_digest,
        code_version=version_of("prepare"),
    script:
        "../workflow_scripts/prepare.py"


# For the experiments alone, which have no part in the order in which the others read and remove them.
rule spectra:
    input:
        meta=PREPARED_META,
    output:
        temp(f"{RESULTS}/spectra/{{type}}/{{chunk}}.h5"),
    log:
        f"{RESULTS}/logs/spectra/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/spectra/{{type}}/{{chunk}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("spectra", spectra=spectra_of),
    params:
        prepared=prepared_spectra,
        code_version=version_of("spectra"),
    script:
        "../workflow_scripts/spectra.py"
