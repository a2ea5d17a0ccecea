# The training sets of the networks: catalogues matched to the survey, cut, and split by star.

from lamostvac.networks.settings import NetworkTraining
from lamostvac.training import schema as training_sets_library

CATALOGUES_ROOT = (
    f"{RESULTS}/simulated/catalogs"
    if CFG.simulation.enabled
    else (CFG.networks.root or CFG.survey.root)
)

with user_errors():
    PRESENT_SETS = (
        training_sets_library.load_training_sets(shipped(CFG.networks.training_sets))
        if CFG.networks.training_sets
        else []
    )
try:
    # A set whose files are absent is skipped when it is optional; TRAINING_SETS_SKIPPED says so.
    PRESENT_SETS, TRAINING_SETS_SKIPPED = training_sets_library.available_sets(
        PRESENT_SETS,
        CATALOGUES_ROOT,
        produced=[str(path) for path in rules.simulate.output] if CFG.simulation.enabled else [],
    )
except UserError as error:
    TRAINING_SETS_SKIPPED = []
    MISSING_DATA.append(str(error))
TRAINING_SETS = {entry.name: entry for entry in PRESENT_SETS}
for sentence in TRAINING_SETS_SKIPPED:
    logger.info(sentence)


CLIP_SETTINGS = CFG.networks.model_dump(
    mode="json", include=set(NetworkTraining.__dataclass_fields__)
)


wildcard_constraints:
    training_set="|".join(TRAINING_SETS) or "none",


rule crossmatch:
    input:
        # What the chunks and files contain is in parameters.
        manifest=ancient(f"{RESULTS}/survey/manifest.csv"),
        chunks=ancient(all_chunks),
        files=lambda wildcards: outside(training_files(wildcards)),
    output:
        candidates=f"{RESULTS}/training/{{training_set}}_candidates.parquet",
        steps=f"{RESULTS}/training/{{training_set}}_crossmatch.csv",
    log:
        f"{RESULTS}/logs/crossmatch/{{training_set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/crossmatch/{{training_set}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("crossmatch", spectra=spectra_of, input_kb=size_kb("files")),
    params:
        entry=crossmatch_settings,
        rows=lambda wildcards: [list(manifest_of(name).values()) for name in CFG.survey.types],
        digests=lambda wildcards: digests(training_files(wildcards)),
        root=CATALOGUES_ROOT,
        code_version=version_of("crossmatch"),
    script:
        "../workflow_scripts/crossmatch.py"


rule training:
    input:
        unpack(training_inputs),
    output:
        table=f"{RESULTS}/training/{{training_set}}.fits",
        spectra=f"{RESULTS}/training/{{training_set}}_spectra.h5",
        cuts=f"{RESULTS}/training/{{training_set}}_cuts.csv",
    log:
        f"{RESULTS}/logs/training/{{training_set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/training/{{training_set}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("training", input_kb=size_kb()),
    params:
        entry=training_settings,
        digests=lambda wildcards: digests(training_files(wildcards)),
        preparation=NETWORK_PREPARATION,
        # How the first network is trained; a set that is not clipped does not depend on it.
        clip=lambda wildcards: CLIP_SETTINGS if TRAINING_SETS[wildcards.training_set].clip else None,
        seed=CFG.run.seed,
        code_version=version_of("training"),
    script:
        "../workflow_scripts/training.py"
