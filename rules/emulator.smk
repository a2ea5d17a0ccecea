# The emulator of the library, and how well it recovers the library's own labels.

from lamostvac import emulator as emulator_library
from lamostvac import refine as refine_library

FIT_SETTINGS = CFG.fit.model_dump(mode="json", exclude={"method", "first_guess_matches"})


rule emulator:
    input:
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
    output:
        f"{RESULTS}/emulator/{CFG.library.name}.h5",
    log:
        f"{RESULTS}/logs/emulator.log",
    benchmark:
        f"{RESULTS}/benchmarks/emulator.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        # The kernel matrix of MaStar's 18,654 spectra is 2.8 GB, and there are three of its size.
        mem_mb=lambda wildcards, attempt: 12000 * attempt,
        runtime=120,
    params:
        settings=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        code_version=emulator_library.CODE_VERSION,
    script:
        "../workflow_scripts/emulator.py"


rule crossvalidation:
    input:
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
    output:
        f"{RESULTS}/emulator/{CFG.library.name}_crossvalidation.csv",
    log:
        f"{RESULTS}/logs/crossvalidation.log",
    benchmark:
        f"{RESULTS}/benchmarks/crossvalidation.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 12000 * attempt,
        runtime=lambda wildcards, attempt: 600 * attempt,
    params:
        settings=CFG.emulator.model_dump(mode="json"),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        fit=FIT_SETTINGS,
        seed=CFG.run.seed,
        code_version=(emulator_library.CODE_VERSION, refine_library.CODE_VERSION),
    script:
        "../workflow_scripts/crossvalidation.py"
