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
        networks=NETWORK_INPUTS,
        published=own_file(random_error_library.PUBLISHED_PATH),
    output:
        models=f"{RESULTS}/errors/{{type}}.h5",
        summary=f"{RESULTS}/errors/{{type}}.csv",
        curves=f"{RESULTS}/errors/{{type}}_curves.csv",
        threshold=f"{RESULTS}/errors/{{type}}_snr.csv",
    log:
        f"{RESULTS}/logs/errors/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/errors/{{type}}.tsv"
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("errors", spectra=spectra_of),
    params:
        digests=network_digests,
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
