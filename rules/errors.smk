# How large the errors of a type's labels are: models from repeats and from stars of known labels.

from lamostvac.core.paths import PUBLISHED_ERRORS_PATH


rule errors:
    input:
        collected=f"{RESULTS}/collected/{{type}}.fits",
        crossvalidation=f"{RESULTS}/emulator/{CFG.library.name}_crossvalidation.csv",
        second_crossvalidation=f"{RESULTS}/emulator/{SECOND}_crossvalidation.csv" if SECOND else [],
        left_out=[f"{RESULTS}/networks/{label}_left_out.parquet" for label in TRAINED_HERE],
        networks=NETWORK_INPUTS,
        published=own_file(PUBLISHED_ERRORS_PATH),
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
        code_version=version_of("errors"),
    script:
        "../workflow_scripts/errors.py"
