# Networks: one trained per label, all applied to a chunk in one pass.

from lamostvac.networks.settings import NetworkTraining

# Label to the training set that has it, in the order of the catalogue.
SET_OF_LABEL = {
    label: entry.name for entry in TRAINING_SETS.values() for label in entry.label_names
}
# Networks from elsewhere bring no training sets and no stars left out of them.
TRAINED_HERE = {} if CFG.networks.pretrained else SET_OF_LABEL
SETS_TRAINED_HERE = list(dict.fromkeys(TRAINED_HERE.values()))
NETWORK_FOLDER = CFG.networks.pretrained or f"{RESULTS}/networks"
NETWORK_FILES = [f"{NETWORK_FOLDER}/{label}.h5" for label in SET_OF_LABEL]
NETWORK_INPUTS = outside(NETWORK_FILES) if CFG.networks.pretrained else NETWORK_FILES


wildcard_constraints:
    label="|".join(SET_OF_LABEL) or "none",


rule train:
    input:
        unpack(training_table),
    output:
        network=f"{RESULTS}/networks/{{label}}.h5",
        left_out=f"{RESULTS}/networks/{{label}}_left_out.parquet",
    log:
        f"{RESULTS}/logs/train/{{label}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{label}}.tsv"
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
        kept=lambda wildcards: f"{RESULTS}/networks/kept/{wildcards.label}",
        preparation=NETWORK_PREPARATION,
        settings=CFG.networks.model_dump(
            mode="json", include=set(NetworkTraining.__dataclass_fields__)
        ),
        seed=CFG.run.seed,
        code_version=version_of("train"),
    script:
        "../workflow_scripts/train.py"


rule predict:
    input:
        meta=PREPARED_META,
        networks=NETWORK_INPUTS,
        # Afterwards, because the last reader removes the spectra.
        after=[ancient(f"{RESULTS}/{name}/{{type}}/{{chunk}}.h5") for name in FITS],
    output:
        f"{RESULTS}/predicted/{{type}}/{{chunk}}.h5",
    log:
        f"{RESULTS}/logs/predict/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict/{{type}}/{{chunk}}.tsv"
    group:
        FIT_GROUP
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("predict", spectra=spectra_of, networks=len(SET_OF_LABEL) * CFG.networks.members),
    params:
        digests=network_digests,
        prepared=prepared_spectra,
        last=last_reader("predict"),
        # What each network alone said of the chunk: kept, so that a new network runs alone.
        parts=lambda wildcards: f"{RESULTS}/predicted/{wildcards.type}/{wildcards.chunk}_parts.h5",
        apply={
            label: TRAINING_SETS[name].network.apply
            for label, name in SET_OF_LABEL.items()
            if TRAINING_SETS[name].network.apply
        },
        grids={label: TRAINING_SETS[name].grid for label, name in SET_OF_LABEL.items()},
        code_version=version_of("predict"),
    script:
        "../workflow_scripts/predict.py"
