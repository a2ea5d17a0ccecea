# Networks: one trained per label, all applied to a chunk in one pass.

# Networks from elsewhere are known by their digests; those trained here Snakemake sees anew.
NETWORK_FILES = list(CTX.network_files.values())
NETWORKS_OUTSIDE = CFG.networks.pretrained is not None and not CTX.network_pack
NETWORK_INPUTS = outside(NETWORK_FILES) if NETWORKS_OUTSIDE else NETWORK_FILES


wildcard_constraints:
    label="|".join(CTX.set_of_label) or "none",


def training_table(wildcards):
    """Table and spectra of the set that a label belongs to."""
    name = CTX.set_of_label[wildcards.label]
    return {
        "table": FILES.training.format(training_set=name),
        "spectra": FILES.training_spectra.format(training_set=name),
    }


def label_entry(wildcards):
    """What the configuration says of a label and of its set's networks."""
    entry = CTX.training_sets[CTX.set_of_label[wildcards.label]]
    label = next(label for label in entry.labels if label.name == wildcards.label)
    return {
        "set": entry.name,
        "optional": entry.optional,
        "snr_band": entry.snr_band,
        "label": label.model_dump(mode="json", exclude={"cuts", "column", "error"}),
        "network": entry.network.model_dump(mode="json", exclude={"apply"}),
    }


rule train:
    input:
        unpack(training_table),
    output:
        network=FILES.network,
        left_out=FILES.network_left_out,
    log:
        FILES.log("train", "label"),
    benchmark:
        FILES.benchmark("train", "label")
    priority: MAKES_MODELS
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks(
            "train",
            input_kb=size_kb("spectra"),
            passes=CFG.networks.members * CFG.networks.epochs,
            members=CFG.networks.members,
        ),
    params:
        entry=label_entry,
        # The network with what it was trained on: kept, so that a label runs alone where its set is made anew.
        kept=lambda wildcards: FILES.network_kept.format(label=wildcards.label),
        preparation=CTX.network_preparation,
        settings=CTX.network_training,
        seed=CFG.run.seed,
        code_version=version_of("train"),
    script:
        "../workflow_scripts/train.py"


if CTX.network_pack and NETWORK_FILES:

    rule networks_of_pack:
        input:
            outside(CTX.network_pack),
        output:
            NETWORK_FILES,
        log:
            FILES.log("networks_of_pack"),
        benchmark:
            FILES.benchmark("networks_of_pack")
        priority: MAKES_MODELS
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("networks_of_pack"),
        params:
            digests=lambda wildcards: digests([CTX.network_pack]),
            labels=list(CTX.network_files),
            preparation=CTX.network_preparation,
            snr_bands=CTX.snr_bands,
            code_version=version_of("networks_of_pack"),
        script:
            "../workflow_scripts/networks_of_pack.py"


def network_digests(wildcards):
    """What networks from elsewhere are."""
    return digests(NETWORK_FILES) if NETWORKS_OUTSIDE else []


rule predict:
    input:
        meta=FILES.prepared_meta,
        networks=NETWORK_INPUTS,
        # Afterwards, because the last reader removes the spectra. Not `ancient`: Snakemake does not look at the params
        # of a job behind one that runs. Behind a new fit this job is short, since it keeps what the networks said.
        after=CTX.earlier_readers("predict"),
    output:
        FILES.predicted,
    log:
        FILES.log("predict", "type", "chunk"),
    benchmark:
        FILES.benchmark("predict", "type", "chunk")
    priority: READS_PREPARED
    group:
        FIT_GROUP
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("predict", spectra=spectra_of, networks=len(CTX.set_of_label) * CFG.networks.members),
    params:
        digests=network_digests,
        prepared=prepared_spectra,
        last=last_reader("predict"),
        # What each network alone said of the chunk: kept, so that a new network runs alone.
        parts=lambda wildcards: FILES.predicted_parts.format(**wildcards),
        apply={
            label: CTX.training_sets[name].network.apply
            for label, name in CTX.set_of_label.items()
            if CTX.training_sets[name].network.apply
        },
        grids=CTX.grids,
        snr_bands=CTX.snr_bands,
        code_version=version_of("predict"),
    script:
        "../workflow_scripts/predict.py"
