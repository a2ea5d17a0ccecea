# The training sets of the networks: catalogues matched to the survey, cut, and split by star.


wildcard_constraints:
    training_set="|".join(CTX.training_sets) or "none",


def training_files(wildcards):
    """The catalogue files of a set."""
    return CTX.training_files(wildcards.training_set)


def crossmatch_settings(wildcards):
    """What of a set the match depends on; cuts and labels can change without a new match."""
    later = {"optional", "cuts", "grid", "clip", "network", "spectra", "max_bad_fraction"}
    entry = CTX.training_sets[wildcards.training_set]
    # Without these an entry is not complete, so the match gets some that never change.
    return entry.model_dump(mode="json", by_alias=True, exclude=later) | {
        "title": "",
        "split": {"train_fraction": 1},
        "labels": [{"name": "unused", "column": "snr", "description": ""}],
    }


def every_chunk(wildcards):
    """The chunks of all types, whose time says nothing; marked here as in `chunk_files`."""
    checkpoints.survey.get()
    return [ancient(path) for path in CHUNKS.files()]


rule crossmatch:
    input:
        # What the chunks and files contain is in parameters.
        manifest=ancient(FILES.manifest),
        chunks=every_chunk,
        files=lambda wildcards: outside(training_files(wildcards)),
    output:
        candidates=FILES.training_candidates,
        steps=FILES.training_crossmatch,
    log:
        FILES.log("crossmatch", "training_set"),
    benchmark:
        FILES.benchmark("crossmatch", "training_set")
    priority: MAKES_MODELS
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("crossmatch", spectra=spectra_of, input_kb=size_kb("files")),
    params:
        entry=crossmatch_settings,
        rows=lambda wildcards: [list(CHUNKS.digests(name).values()) for name in CFG.survey.types],
        digests=lambda wildcards: digests(training_files(wildcards)),
        root=CTX.catalogues_root,
        code_version=version_of("crossmatch"),
    script:
        "../workflow_scripts/crossmatch.py"


def training_inputs(wildcards):
    """Candidates of a set, or the parent that its rows are from."""
    entry = CTX.training_sets[wildcards.training_set]
    if entry.parent is not None:
        return {
            "table": FILES.training.format(training_set=entry.parent),
            "spectra": FILES.training_spectra.format(training_set=entry.parent),
        }
    return {
        "candidates": FILES.training_candidates.format(training_set=entry.name),
        "steps": FILES.training_crossmatch.format(training_set=entry.name),
        "files": outside(training_files(wildcards)),
    }


def training_settings(wildcards):
    """What of a set its table depends on; how a label is learned and where it applies can change without a new one."""
    later = {"labels": {"__all__": {"learn", "range"}}, "network": {"apply"}}
    entry = CTX.training_sets[wildcards.training_set]
    return entry.model_dump(mode="json", by_alias=True, exclude=later)


def clip_settings(wildcards):
    """How the first network is trained; a set that is not clipped does not depend on it."""
    return CTX.network_training if CTX.training_sets[wildcards.training_set].clip else None


rule training:
    input:
        unpack(training_inputs),
    output:
        table=FILES.training,
        spectra=FILES.training_spectra,
        cuts=FILES.training_cuts,
    log:
        FILES.log("training", "training_set"),
    benchmark:
        FILES.benchmark("training", "training_set")
    priority: MAKES_MODELS
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("training", input_kb=size_kb()),
    params:
        entry=training_settings,
        digests=lambda wildcards: digests(training_files(wildcards)),
        preparation=CTX.network_preparation,
        headers=CTX.header_tolerances,
        clip=clip_settings,
        seed=CFG.run.seed,
        code_version=version_of("training"),
    script:
        "../workflow_scripts/training.py"
