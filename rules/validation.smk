# How right the labels and their errors are.

from lamostvac import validation as validation_library

with user_errors():
    COMPARISONS = (
        validation_library.load_comparisons(CFG.validation.comparisons)
        if CFG.validation.enabled and CFG.validation.comparisons
        else []
    )
# A comparison whose file is absent is skipped; the rule's log says so.
PRESENT = [comparison for comparison in COMPARISONS if comparison.path(CFG.survey.root).exists()]
TRUTH = f"{RESULTS}/simulated/truth.fits" if CFG.simulation.enabled else CFG.validation.truth


rule validation:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.parquet",
        references=[str(comparison.path(CFG.survey.root)) for comparison in PRESENT],
        crossvalidation=f"{RESULTS}/emulator/{CFG.library.name}_crossvalidation.csv",
        truth=[TRUTH] if TRUTH else [],
    output:
        comparisons=report(
            f"{RESULTS}/validation/comparisons.csv",
            caption="../report/comparisons.rst",
            category="2 Are the labels right?",
            labels={"what": "All comparisons in numbers"},
        ),
        pulls=report(
            f"{RESULTS}/validation/pulls.csv",
            caption="../report/pulls_table.rst",
            category="3 Are the errors right?",
            labels={"what": "Pulls in numbers"},
        ),
        pairs=f"{RESULTS}/validation/pairs.parquet",
    log:
        f"{RESULTS}/logs/validation.log",
    benchmark:
        f"{RESULTS}/benchmarks/validation.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=60,
    params:
        comparisons=[comparison.model_dump() for comparison in COMPARISONS],
        root=CFG.survey.root,
        library=CFG.library.name,
        snr_band=CFG.survey.snr_band,
        code_version=validation_library.CODE_VERSION,
    script:
        "../workflow_scripts/validation.py"
