# How large the errors of a type's labels are: models from repeats and from stars of known labels.

from lamostvac.core.paths import PUBLISHED_ERRORS_PATH


rule errors:
    input:
        collected=FILES.collected,
        crossvalidation=CTX.crossvalidation,
        second_crossvalidation=(
            FILES.crossvalidation.format(library=CTX.second) if CTX.second else []
        ),
        further=[FILES.crossvalidation.format(library=name) for name in CTX.further],
        left_out=CTX.left_out,
        networks=NETWORK_INPUTS,
    output:
        models=FILES.errors,
        summary=FILES.errors_summary,
        curves=FILES.errors_curves,
        threshold=FILES.errors_threshold,
    log:
        FILES.log("errors", "type"),
    benchmark:
        FILES.benchmark("errors", "type")
    group:
        COLLECT_GROUP
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("errors", spectra=spectra_of),
    params:
        published=own_file(PUBLISHED_ERRORS_PATH),
        digests=network_digests,
        settings=CFG.errors.model_dump(mode="json"),
        snr_band=CFG.survey.snr_band,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        trained_here=list(CTX.trained_here),
        columns=CTX.columns,
        code_version=version_of("errors"),
    script:
        "../workflow_scripts/errors.py"


# With errors.networks: published; a run of one type then needs the networks' labels of all types.
rule network_curves:
    input:
        collected=expand(FILES.collected, type=CFG.survey.types),
        left_out=CTX.left_out,
        networks=NETWORK_INPUTS,
    output:
        FILES.network_curves,
    log:
        FILES.log("network_curves"),
    benchmark:
        FILES.benchmark("network_curves")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("network_curves", spectra=spectra_of),
    params:
        published=own_file(PUBLISHED_ERRORS_PATH),
        digests=network_digests,
        settings=CFG.errors.model_dump(mode="json"),
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        trained_here=list(CTX.trained_here),
        columns=CTX.columns,
        code_version=version_of("network_curves"),
    script:
        "../workflow_scripts/network_curves.py"
