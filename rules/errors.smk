# How large the errors of a type's labels are: models from repeats and from stars of known labels.

from lamostvac import error_models as error_models_library
from lamostvac import error_process as error_process_library
from lamostvac import random_error as random_error_library
from lamostvac import repeats as repeats_library
from lamostvac import snr_threshold as snr_threshold_library


rule errors:
    input:
        collected=f"{RESULTS}/collected/{{type}}.fits",
        crossvalidation=f"{RESULTS}/emulator/{CFG.library.name}_crossvalidation.csv",
        second_crossvalidation=f"{RESULTS}/emulator/{SECOND}_crossvalidation.csv" if SECOND else [],
        left_out=[f"{RESULTS}/networks/{label}_left_out.parquet" for label in TRAINED_HERE],
        networks=[f"{NETWORK_FOLDER}/{label}.h5" for label in SET_OF_LABEL],
        published=str(random_error_library.PUBLISHED_PATH),
    output:
        models=f"{RESULTS}/errors/{{type}}.h5",
        summary=f"{RESULTS}/errors/{{type}}.csv",
        curves=f"{RESULTS}/errors/{{type}}_curves.csv",
        threshold=f"{RESULTS}/errors/{{type}}_snr.csv",
    log:
        f"{RESULTS}/logs/errors/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/errors/{{type}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        # Of each star four numbers per label are in memory.
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=60,
    params:
        settings=CFG.errors.model_dump(mode="json"),
        snr_band=CFG.survey.snr_band,
        network_labels=NETWORK_LABELS,
        trained_here=list(TRAINED_HERE),
        columns=COLUMNS,
        code_version=(
            error_models_library.CODE_VERSION,
            error_process_library.CODE_VERSION,
            random_error_library.CODE_VERSION,
            repeats_library.CODE_VERSION,
            snr_threshold_library.CODE_VERSION,
        ),
    script:
        "../workflow_scripts/errors.py"
