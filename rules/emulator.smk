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
    priority: MAKES_MODELS
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
        table=FILES.crossvalidation,
    log:
        FILES.log("crossvalidation", "library"),
    benchmark:
        FILES.benchmark("crossvalidation", "library")
    wildcard_constraints:
        library="|".join(name for name in CTX.libraries if name not in CTX.survey_libraries)
        or "none",
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


# Where the library's stars are the survey's, the emulators without each fold label these stars: none by itself.
use rule crossvalidation as crossvalidation_survey with:
    output:
        table=FILES.crossvalidation,
        without=expand(FILES.emulator_without, fold=range(CFG.emulator.folds), allow_missing=True),
    log:
        FILES.log("crossvalidation_survey", "library"),
    benchmark:
        FILES.benchmark("crossvalidation_survey", "library")
    wildcard_constraints:
        library="|".join(CTX.survey_libraries) or "none",
    resources:
        **asks("crossvalidation_survey", input_kb=size_kb(), folds=CFG.emulator.folds),
