# The figures of the report. The report itself is written after the run: snakemake --report results/report.html

from lamostvac import figures as figures_library

FIGURES = RESULTS + "/validation/figures"
CATEGORIES = {
    "complete": "1 Is the data complete?",
    "labels": "2 Are the labels right?",
    "errors": "3 Are the errors right?",
}


def figure(name, question, title, caption=None):
    """An output that the report shows under a question."""
    return report(
        f"{FIGURES}/{name}.png",
        caption=f"../report/{caption or name}.rst",
        category=CATEGORIES[question],
        labels={"what": title},
    )


def validation_targets():
    """What `rule all` asks of validation: tables and figures, or nothing when it is switched off."""
    if not CFG.validation.enabled:
        return []
    names = ["accounting", "kiel", "chi2", "spectra"]
    names += [f"comparison_{comparison.name}" for comparison in PRESENT]
    names += [f"crossvalidation_{CFG.library.name}"]
    names += ["comparison_truth", "pulls"] if TRUTH else []
    tables = [RESULTS + "/validation/comparisons.csv", RESULTS + "/validation/pulls.csv"]
    return tables + [f"{FIGURES}/{name}.png" for name in names]


def first_fits(wildcards):
    """The first chunk's fit of each type; fits carry a few example spectra."""
    return [
        RESULTS + f"/fit/{spectral_type}/{chunk}.h5"
        for spectral_type in CFG.survey.types
        for chunk in chunks_of(spectral_type)[:1]
    ]


rule figures_catalog:
    input:
        catalogue=RESULTS + "/catalog/recommended.parquet",
        accounting=RESULTS + "/catalog/accounting.json",
    output:
        accounting=figure("accounting", "complete", "What became of every spectrum"),
        kiel=figure("kiel", "labels", "Kiel diagram and abundances"),
        chi2=figure("chi2", "labels", "Misfit by spectral type"),
    log:
        RESULTS + "/logs/figures_catalog.log",
    benchmark:
        RESULTS + "/benchmarks/figures_catalog.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=30,
    params:
        snr_band=CFG.survey.snr_band,
        thresholds=CFG.catalog.snr_flag_threshold.model_dump(),
        code_version=figures_library.CODE_VERSION,
    script:
        "../workflow_scripts/figures_catalog.py"


rule figures_spectra:
    input:
        fits=first_fits,
    output:
        figure("spectra", "labels", "Observed and model spectra"),
    log:
        RESULTS + "/logs/figures_spectra.log",
    benchmark:
        RESULTS + "/benchmarks/figures_spectra.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code_version=figures_library.CODE_VERSION,
    script:
        "../workflow_scripts/figures_spectra.py"


rule figures_comparison:
    input:
        pairs=RESULTS + "/validation/pairs.parquet",
    output:
        [
            figure(f"comparison_{comparison.name}", "labels", f"Against: {comparison.title}", "comparison")
            for comparison in PRESENT
        ],
        figure(
            f"crossvalidation_{CFG.library.name}",
            "labels",
            "The emulator on its own library",
            "crossvalidation",
        ),
    log:
        RESULTS + "/logs/figures_comparison.log",
    benchmark:
        RESULTS + "/benchmarks/figures_comparison.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        datasets=[comparison.name for comparison in PRESENT] + [f"crossvalidation_{CFG.library.name}"],
        titles=[comparison.title for comparison in PRESENT]
        + [f"Cross-validation on {CFG.library.name}: each star predicted without its tenth of the library"],
        code_version=figures_library.CODE_VERSION,
    script:
        "../workflow_scripts/figures_comparison.py"


if TRUTH:

    rule figures_truth:
        input:
            pairs=RESULTS + "/validation/pairs.parquet",
            pulls=RESULTS + "/validation/pulls.csv",
        output:
            comparison=figure("comparison_truth", "labels", "Against the injected truth"),
            pulls=figure("pulls", "errors", "Pulls against the injected truth"),
        log:
            RESULTS + "/logs/figures_truth.log",
        benchmark:
            RESULTS + "/benchmarks/figures_truth.tsv"
        conda:
            "../envs/lamostvac.yaml"
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            code_version=figures_library.CODE_VERSION,
        script:
            "../workflow_scripts/figures_truth.py"
