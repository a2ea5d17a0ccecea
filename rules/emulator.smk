# The emulator of the library, and how well it recovers the library's own labels.


FIT_SETTINGS = CFG.fit.model_dump(
    mode="json", exclude={"method", "emulator", "max_outlier_fraction"}
)


rule emulator:
    input:
        library=f"{RESULTS}/library/{{library}}.h5",
    output:
        whole=f"{RESULTS}/emulator/{{library}}.h5",
        distilled=f"{RESULTS}/emulator/{{library}}_distilled.h5",
    log:
        f"{RESULTS}/logs/emulator/{{library}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/emulator/{{library}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("emulator", input_kb=size_kb()),
    params:
        settings=lambda wildcards: emulator_settings(wildcards.library, {"folds"}),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        code_version=version_of("emulator"),
    script:
        "../workflow_scripts/emulator.py"


rule crossvalidation:
    input:
        library=f"{RESULTS}/library/{{library}}.h5",
    output:
        f"{RESULTS}/emulator/{{library}}_crossvalidation.csv",
    log:
        f"{RESULTS}/logs/crossvalidation/{{library}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/crossvalidation/{{library}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("crossvalidation", input_kb=size_kb(), folds=CFG.emulator.folds),
    params:
        settings=lambda wildcards: emulator_settings(wildcards.library),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        fit=FIT_SETTINGS,
        distilled=CFG.fit.emulator == "distilled",
        seed=CFG.run.seed,
        code_version=version_of("crossvalidation"),
    script:
        "../workflow_scripts/crossvalidation.py"
