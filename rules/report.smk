# The figures of the report. The report itself is written after the run: snakemake --report results/report.html

from lamostvac.core.paths import OVERVIEW_PATH


rule overview:
    input:
        # Made last: the page has the times of all other stages, whose benchmark files are no outputs of theirs.
        waits=[
            path for path in publication_targets() + validation_targets() if "overview" not in path
        ],
        catalogue=f"{RESULTS}/catalog/recommended.parquet",
        accounting=f"{RESULTS}/catalog/accounting.json",
        summary=f"{RESULTS}/catalog/summary.csv",
        comparisons=f"{RESULTS}/validation/comparisons.csv",
        pulls=f"{RESULTS}/validation/pulls.csv",
        networks=[f"{RESULTS}/validation/networks.csv"] if NETWORK_LABELS else [],
        curves=expand(f"{RESULTS}/errors/{{type}}_curves.csv", type=CFG.survey.types),
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        limits=own_file(OVERVIEW_PATH),
    output:
        report(
            f"{RESULTS}/validation/overview.html",
            caption="../report/overview.rst",
            category="0 Overview",
            labels={"what": "The run at a glance"},
        ),
    log:
        f"{RESULTS}/logs/overview.log",
    benchmark:
        f"{RESULTS}/benchmarks/overview.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("overview", spectra=spectra_of),
    params:
        types=CFG.survey.types,
        library=CFG.library.name,
        snr_band=CFG.survey.snr_band,
        flags=list(REGISTRY.flag_bits),
        benchmarks=f"{RESULTS}/benchmarks",
        code_version=version_of("overview"),
    script:
        "../workflow_scripts/overview.py"


rule figures_catalog:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.parquet",
        accounting=f"{RESULTS}/catalog/accounting.json",
    output:
        accounting=figure("accounting", "complete", "What became of every spectrum"),
        kiel=figure("kiel", "labels", "Kiel diagram and abundances"),
        chi2=figure("chi2", "use", "Misfit by spectral type"),
    log:
        f"{RESULTS}/logs/figures_catalog.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures_catalog.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("figures_catalog", spectra=spectra_of),
    params:
        snr_band=CFG.survey.snr_band,
        thresholds=CFG.catalog.snr_flag_threshold.model_dump(),
        code_version=version_of("figures_catalog"),
    script:
        "../workflow_scripts/figures_catalog.py"


rule figures_papers:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.parquet",
        curves=[f"{RESULTS}/validation/repeat_errors.csv"] if NETWORK_LABELS else [],
        isochrone=[CFG.validation.isochrone] if CFG.validation.isochrone else [],
    output:
        repeats=figure("repeats", "errors", "Random errors from repeats"),
        hr=figure("hr", "labels", "Hertzsprung-Russell diagrams by survey"),
        positions=figure("positions", "labels", "Where the stars are in the Galaxy"),
        distances=figure("distances", "labels", "Distances against Gaia"),
        colour_teff=figure("colour_teff", "labels", "Teff against dereddened colour"),
        flags=figure("flags", "use", "Which stars are flagged"),
    log:
        f"{RESULTS}/logs/figures_papers.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures_papers.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("figures_papers", spectra=spectra_of),
    params:
        snr_band=CFG.survey.snr_band,
        tolerance=CFG.errors.pair_snr_tolerance.networks,
        sun=CFG.distance.r0,
        network_labels=NETWORK_LABELS,
        columns=COLUMNS,
        code_version=version_of("figures_papers"),
    script:
        "../workflow_scripts/figures_papers.py"


rule figures_spectra:
    input:
        fits=first_fits,
    output:
        figure("spectra", "labels", "Observed and model spectra"),
    log:
        f"{RESULTS}/logs/figures_spectra.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures_spectra.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("figures_spectra", spectra=spectra_of),
    params:
        code_version=version_of("figures_spectra"),
    script:
        "../workflow_scripts/figures_spectra.py"


rule figures_comparison:
    input:
        pairs=f"{RESULTS}/validation/pairs.parquet",
        trends=f"{RESULTS}/validation/trends.csv",
        clusters=f"{RESULTS}/validation/clusters.csv",
    output:
        comparisons=[
            figure(
                f"comparison_{comparison.name}",
                "labels",
                f"Against: {comparison.title}",
                "comparison",
            )
            for comparison in PRESENT
        ]
        + [
            figure(
                f"crossvalidation_{CFG.library.name}",
                "labels",
                "The emulator on its own library",
                "crossvalidation",
            )
        ],
        trends=[
            figure(
                f"trends_{comparison.name}",
                "use",
                f"Residual trends: {comparison.title}",
                "trends",
            )
            for comparison in PRESENT
        ],
        clusters=[
            figure(f"clusters_{comparison.name}", "errors", comparison.title, "clusters")
            for comparison in PRESENT
            if comparison.group is not None
        ],
    log:
        f"{RESULTS}/logs/figures_comparison.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures_comparison.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("figures_comparison", spectra=spectra_of),
    params:
        datasets=[comparison.name for comparison in PRESENT]
        + [f"crossvalidation_{CFG.library.name}"],
        titles=[comparison.title for comparison in PRESENT]
        + [
            f"Cross-validation on {CFG.library.name}: each star predicted without its tenth of the library"
        ],
        grouped=[comparison.name for comparison in PRESENT if comparison.group is not None],
        code_version=version_of("figures_comparison"),
    script:
        "../workflow_scripts/figures_comparison.py"


if TRUTH:

    rule figures_truth:
        input:
            pairs=f"{RESULTS}/validation/pairs.parquet",
            pulls=f"{RESULTS}/validation/pulls.csv",
        output:
            comparison=figure("comparison_truth", "labels", "Against the injected truth"),
            pulls=figure("pulls", "errors", "Pulls against the injected truth"),
        log:
            f"{RESULTS}/logs/figures_truth.log",
        benchmark:
            f"{RESULTS}/benchmarks/figures_truth.tsv"
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("figures_truth", spectra=spectra_of),
        params:
            code_version=version_of("figures_truth"),
        script:
            "../workflow_scripts/figures_truth.py"


if NETWORK_LABELS:

    rule figures_networks:
        input:
            catalogue=f"{RESULTS}/catalog/recommended.parquet",
            pairs=f"{RESULTS}/validation/pairs.parquet",
            pulls=f"{RESULTS}/validation/pulls.csv",
            networks=[f"{NETWORK_FOLDER}/{label}.h5" for label in SET_OF_LABEL],
            training=[f"{RESULTS}/training/{name}.fits" for name in SETS_TRAINED_HERE],
        output:
            curves=figure("network_curves", "labels", "Networks: how they learned"),
            planes=[
                figure(
                    f"network_stars_{name}",
                    "labels",
                    f"Networks: the stars of set {name}",
                    "network_stars",
                )
                for name in SETS_TRAINED_HERE
            ],
            predictions=[
                figure(
                    f"network_predictions_{name}",
                    "labels",
                    f"Networks: against set {name}",
                    "network_predictions",
                )
                for name in SETS_TRAINED_HERE
            ],
            truth=(
                figure("network_truth", "labels", "Networks: against the injected truth")
                if TRUTH
                else []
            ),
            pulls=(
                figure("network_pulls", "errors", "Networks: pulls against the injected truth")
                if TRUTH
                else []
            ),
        log:
            f"{RESULTS}/logs/figures_networks.log",
        benchmark:
            f"{RESULTS}/benchmarks/figures_networks.tsv"
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("figures_networks", spectra=spectra_of),
        params:
            network_labels=NETWORK_LABELS,
            sets=SETS_TRAINED_HERE,
            titles=[TRAINING_SETS[name].title for name in SETS_TRAINED_HERE],
            code_version=version_of("figures_networks"),
        script:
            "../workflow_scripts/figures_networks.py"
