# The training sets of the networks: catalogues matched to the survey, cut, and split by star.

from lamostvac import crossmatch as crossmatch_library
from lamostvac import joins as joins_library
from lamostvac import network_spectra as network_spectra_library
from lamostvac import network_training as network_training_library
from lamostvac import tables as tables_library
from lamostvac import training as training_library
from lamostvac import training_sets as training_sets_library

CATALOGUES_ROOT = (
    f"{RESULTS}/simulated/catalogs" if CFG.simulation.enabled else (CFG.networks.root or CFG.survey.root)
)

with user_errors():
    # A set whose files are absent is skipped when it is optional; TRAINING_SETS_SKIPPED says so.
    PRESENT_SETS, TRAINING_SETS_SKIPPED = (
        training_sets_library.available_sets(
            training_sets_library.load_training_sets(shipped(CFG.networks.training_sets)),
            CATALOGUES_ROOT,
            produced=[str(path) for path in rules.simulate.output] if CFG.simulation.enabled else [],
        )
        if CFG.networks.training_sets
        else ([], [])
    )
TRAINING_SETS = {entry.name: entry for entry in PRESENT_SETS}
for sentence in TRAINING_SETS_SKIPPED:
    logger.info(sentence)


CLIP_SETTINGS = CFG.networks.model_dump(
    mode="json", include=set(network_training_library.NetworkTraining.__dataclass_fields__)
)


wildcard_constraints:
    training_set="|".join(TRAINING_SETS) or "none",


rule crossmatch:
    input:
        manifest=f"{RESULTS}/survey/manifest.csv",
        chunks=all_chunks,
        files=training_files,
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
        # 11.4 million positions against a million stars took 1.5 GB; catalogues stand in memory as read.
        mem_mb=lambda wildcards, input, attempt: int((4000 + 2 * input.size_mb) * attempt),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        entry=crossmatch_settings,
        root=CATALOGUES_ROOT,
        code_version=(
            crossmatch_library.CODE_VERSION,
            joins_library.CODE_VERSION,
            tables_library.CODE_VERSION,
            training_library.CODE_VERSION,
        ),
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
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        entry=lambda wildcards: TRAINING_SETS[wildcards.training_set].model_dump(mode="json", by_alias=True),
        preparation=NETWORK_PREPARATION,
        # How the first network is trained; a set that is not clipped does not depend on it.
        clip=lambda wildcards: CLIP_SETTINGS if TRAINING_SETS[wildcards.training_set].clip else None,
        seed=CFG.run.seed,
        code_version=(training_library.CODE_VERSION, network_spectra_library.CODE_VERSION),
    script:
        "../workflow_scripts/training.py"
