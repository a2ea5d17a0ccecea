# One value of each label from all systems.


rule recommend:
    input:
        collected=FILES.collected,
        errors=FILES.errors,
        # The published errors of networks are functions of S/N alone, over all types.
        curves=[FILES.network_curves] if CTX.published_curves else [],
        library=CTX.library,
        # What networks say of training stars by members that did not learn from them.
        left_out=CTX.left_out,
        further=[FILES.library.format(library=name) for name in CTX.further],
    output:
        table=FILES.recommended,
        relations=FILES.recommended_relations,
    log:
        FILES.log("recommend", "type"),
    benchmark:
        FILES.benchmark("recommend", "type")
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("recommend", spectra=spectra_of, row_bytes=CTX.row_bytes),
    params:
        **CTX.flag_settings,
        snr_band=CFG.survey.snr_band,
        snr_threshold=lambda wildcards: CFG.catalog.snr_flag_threshold.of(wildcards.type),
        snr_flag=CFG.catalog.snr_flag,
        keep_errors=CFG.errors.few_repeats != "none",
        definitions=[definition.model_dump(mode="json") for definition in CTX.definitions],
        settings=CFG.recommended.model_dump(mode="json", exclude={"definitions"}),
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        trained_here=list(CTX.trained_here),
        emulators=CTX.emulator_labels,
        code_version=version_of("recommend"),
    script:
        "../workflow_scripts/recommend.py"
