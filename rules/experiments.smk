# Experiments that show why a setting is what it is. None is part of the catalogue; ask for them by name:
# snakemake ... {results}/experiments/line_spread.csv

from lamostvac import line_spread as line_spread_library


rule line_spread:
    input:
        spectra=prepared_of(["F", "G", "K"]),
        library=library_spectra(CFG.library.name),
        labels=library_labels(CFG.library.name),
    output:
        table=f"{RESULTS}/experiments/line_spread.csv",
        best=f"{RESULTS}/experiments/line_spread_best.csv",
        figure=f"{RESULTS}/experiments/line_spread.png",
    log:
        f"{RESULTS}/logs/line_spread.log",
    benchmark:
        f"{RESULTS}/benchmarks/line_spread.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=120,
    params:
        library=library_settings(CFG.library.name),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        fit=FIT_SETTINGS,
        code_version=line_spread_library.CODE_VERSION,
    script:
        "../workflow_scripts/line_spread.py"
