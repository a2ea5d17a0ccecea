# How large the errors of a type's labels are: models from repeats and from stars of known labels.

from lamostvac import error_models as error_models_library
from lamostvac import error_process as error_process_library


rule errors:
    input:
        collected=f"{RESULTS}/collected/{{type}}.fits",
        crossvalidation=f"{RESULTS}/emulator/{CFG.library.name}_crossvalidation.csv",
        second_crossvalidation=f"{RESULTS}/emulator/{SECOND}_crossvalidation.csv" if SECOND else [],
        left_out=[f"{RESULTS}/networks/{label}_left_out.parquet" for label in TRAINED_HERE],
    output:
        models=f"{RESULTS}/errors/{{type}}.h5",
        summary=f"{RESULTS}/errors/{{type}}.csv",
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
        code_version=(error_models_library.CODE_VERSION, error_process_library.CODE_VERSION),
    script:
        "../workflow_scripts/errors.py"
