# The emulator of the library, and how well it recovers the library's own labels.


rule emulator:
    input:
        library=FILES.library,
    output:
        whole=FILES.emulator,
        distilled=FILES.emulator_distilled,
    log:
        FILES.log("emulator", "library"),
    benchmark:
        FILES.benchmark("emulator", "library")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("emulator", input_kb=size_kb()),
    params:
        settings=lambda wildcards: CTX.emulator_settings(wildcards.library, {"folds"}),
        resolving_power=CFG.library.resolution.survey_resolving_power,
        prepare=CTX.prepare_settings,
        code_version=version_of("emulator"),
    script:
        "../workflow_scripts/emulator.py"


rule crossvalidation:
    input:
        library=FILES.library,
    output:
        FILES.crossvalidation,
    log:
        FILES.log("crossvalidation", "library"),
    benchmark:
        FILES.benchmark("crossvalidation", "library")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("crossvalidation", input_kb=size_kb(), folds=CFG.emulator.folds),
    params:
        settings=lambda wildcards: CTX.emulator_settings(wildcards.library),
        resolving_power=CFG.library.resolution.survey_resolving_power,
        prepare=CTX.prepare_settings,
        fit=CTX.fit_settings,
        distilled=CFG.fit.emulator == "distilled",
        seed=CFG.run.seed,
        code_version=version_of("crossvalidation"),
    script:
        "../workflow_scripts/crossvalidation.py"
