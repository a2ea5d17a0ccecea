# The figures of the report. The report itself is written after the run: snakemake --report results/report.html

from lamostvac.core.paths import OVERVIEW_PATH, PUBLISHED_SAMPLES_PATH

# Comparisons with a figure of Teff against colour, those of clusters' members, and of these those with networks' labels.
COLOURED = [comparison for comparison in CTX.comparisons if comparison.colour_teff]
GROUPED = [comparison for comparison in CTX.comparisons if comparison.group is not None]
NETWORK_GROUPED = [comparison for comparison in GROUPED if comparison.network_labels]


def validation_targets():
    """Tables and figures of validation that a complete run has; none when it is switched off."""
    if not CFG.validation.enabled:
        return []
    names = ["accounting", "kiel", "kiel_emulator", "chi2", "spectra", "anomalous"]
    names += ["repeats", "bound", "hr", "positions", "distances", "colour_teff", "flags"]
    for comparison in CTX.comparisons:
        names += [f"comparison_{comparison.name}", f"trends_{comparison.name}"]
    names += [f"colour_{comparison.name}" for comparison in COLOURED]
    for comparison in GROUPED:
        names += [f"clusters_{comparison.name}", f"cluster_kiel_{comparison.name}"]
    names += [f"crossvalidation_{CFG.library.name}"]
    names += ["comparison_truth", "pulls"] if CTX.truth else []
    names += ["libraries"]
    tables = [FILES.comparisons, FILES.pulls, FILES.trends, FILES.clusters, FILES.libraries]
    tables.append(FILES.samples)
    if CTX.network_labels:
        tables += [FILES.network_scatter, FILES.repeat_errors]
        names += ["network_curves", "network_planes"]
        names += ["network_truth", "network_pulls"] if CTX.truth else []
        for name in CTX.sets_trained_here:
            names += [f"network_stars_{name}", f"network_predictions_{name}"]
        if CTX.sets_trained_here:
            names += [f"network_outliers_{comparison.name}" for comparison in NETWORK_GROUPED]
    return [*tables, FILES.overview, *(FILES.figure(name) for name in names)]


def first_fits(wildcards):
    """The first chunk's fit of each type; fits carry a few example spectra."""
    return [
        FILES.fit.format(type=name, chunk=chunk)
        for name in CFG.survey.types
        for chunk in chunks_of(name)[:1]
    ]


rule overview:
    input:
        # Made last: the page has the times of all other stages, whose benchmark files are no outputs of theirs.
        waits=[
            path for path in publication_targets() + validation_targets() if "overview" not in path
        ],
        catalogue=FILES.catalogue,
        accounting=FILES.accounting,
        summary=FILES.error_summary,
        comparisons=FILES.comparisons,
        pulls=FILES.pulls,
        networks=[FILES.network_scatter] if CTX.network_labels else [],
        curves=expand(FILES.errors_curves, type=CFG.survey.types),
        library=CTX.library,
    output:
        shown(FILES.overview, "overview", "The run at a glance", "overview"),
    log:
        FILES.log("overview"),
    benchmark:
        FILES.benchmark("overview")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("overview", spectra=spectra_of),
    params:
        limits=own_file(OVERVIEW_PATH),
        published=own_file(PUBLISHED_SAMPLES_PATH),
        types=CFG.survey.types,
        library=CFG.library.name,
        snr_band=CFG.survey.snr_band,
        flags=list(CTX.registry.flag_bits),
        benchmarks=FILES.benchmarks,
        code_version=version_of("overview"),
    script:
        "../workflow_scripts/overview.py"


rule figures_catalog:
    input:
        catalogue=FILES.catalogue,
        accounting=FILES.accounting,
    output:
        accounting=figure("accounting", "complete", "What became of every spectrum"),
        kiel=figure("kiel", "labels", "1 Kiel diagram and abundances"),
        kiel_emulator=figure("kiel_emulator", "labels", "2 The same by the emulator alone"),
        chi2=figure("chi2", "use", "Misfit by spectral type"),
    log:
        FILES.log("figures_catalog"),
    benchmark:
        FILES.benchmark("figures_catalog")
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
        catalogue=FILES.catalogue,
        pairs=FILES.pairs,
        curves=[FILES.repeat_errors] if CTX.network_labels else [],
        isochrone=[CFG.validation.isochrone] if CFG.validation.isochrone else [],
    output:
        repeats=figure("repeats", "errors", "Random errors from repeats"),
        bound=figure("bound", "errors", "How much of the errors is noise"),
        hr=figure("hr", "labels", "Hertzsprung-Russell diagrams by survey"),
        planes=(
            figure(
                "network_planes",
                "labels",
                "Networks: all spectra in the planes of their labels",
                part="networks",
            )
            if CTX.network_labels
            else []
        ),
        positions=figure("positions", "labels", "Where the stars are in the Galaxy"),
        distances=figure("distances", "labels", "Distances against Gaia"),
        colour_teff=figure("colour_teff", "labels", "Teff against dereddened colour"),
        flags=figure("flags", "use", "Which stars are flagged"),
    log:
        FILES.log("figures_papers"),
    benchmark:
        FILES.benchmark("figures_papers")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("figures_papers", spectra=spectra_of),
    params:
        snr_band=CFG.survey.snr_band,
        tolerances=CFG.errors.pair_snr_tolerance.model_dump(),
        sun=CFG.distance.r0,
        # E(BP - RP) / E(B-V)
        reddening=CFG.band_coefficients["bp"] - CFG.band_coefficients["rp"],
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        columns=CTX.columns,
        code_version=version_of("figures_papers"),
    script:
        "../workflow_scripts/figures_papers.py"


rule figures_spectra:
    input:
        fits=first_fits,
        catalogue=FILES.catalogue,
        manifest=FILES.manifest,
        emulator=CTX.fit_emulator(CFG.library.name),
    output:
        spectra=figure("spectra", "labels", "Observed and model spectra"),
        anomalous=figure("anomalous", "use", "Spectra most unlike any star"),
    log:
        FILES.log("figures_spectra"),
    benchmark:
        FILES.benchmark("figures_spectra")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("figures_spectra", spectra=spectra_of),
    params:
        # A function, because Snakemake would take the names in braces for wildcards.
        chunks=lambda wildcards: FILES.chunk,
        preparation=CTX.prepare_settings,
        fit=CTX.drawn_fit,
        snr_band=CFG.survey.snr_band,
        code_version=version_of("figures_spectra"),
    script:
        "../workflow_scripts/figures_spectra.py"


rule figures_comparison:
    input:
        pairs=FILES.pairs,
        isochrone=[CFG.validation.isochrone] if CFG.validation.isochrone else [],
    output:
        comparisons=[
            figure(
                f"comparison_{comparison.name}",
                "labels",
                comparison.title,
                "comparison",
                "others",
                comparison.name,
            )
            for comparison in CTX.comparisons
        ]
        + [
            figure(
                f"crossvalidation_{CFG.library.name}",
                "labels",
                "The emulator on its own library",
                "crossvalidation",
                "emulator",
                f"crossvalidation_{CFG.library.name}",
            )
        ],
        colours=[
            figure(
                f"colour_{comparison.name}",
                "labels",
                f"{comparison.title}: Teff against colour",
                "colour_beside",
                "others",
            )
            for comparison in COLOURED
        ],
    log:
        FILES.log("figures_comparison"),
    benchmark:
        FILES.benchmark("figures_comparison")
    # Those that take longest begin first, so that none of them is drawn alone in the end.
    priority: 2
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("figures_comparison", spectra=spectra_of),
    params:
        datasets=[comparison.name for comparison in CTX.comparisons]
        + [f"crossvalidation_{CFG.library.name}"],
        titles=[comparison.title for comparison in CTX.comparisons]
        + [
            f"Cross-validation on {CFG.library.name}: each star predicted without its tenth of the library"
        ],
        ours=as_it_is([comparison.ours for comparison in CTX.comparisons] + ["this catalogue"]),
        # E(BP - RP) / E(B-V)
        reddening=CFG.band_coefficients["bp"] - CFG.band_coefficients["rp"],
        coloured=[(comparison.name, comparison.colour_teff) for comparison in COLOURED],
        code_version=version_of("figures_comparison"),
    script:
        "../workflow_scripts/figures_comparison.py"


# The cross-validation has no trends.
if CTX.comparisons:

    rule figures_trends:
        input:
            trends=FILES.trends,
        output:
            trends=[
                figure(
                    f"trends_{comparison.name}",
                    "use",
                    f"{comparison.title}: residual trends",
                    "trends",
                )
                for comparison in CTX.comparisons
            ],
        log:
            FILES.log("figures_trends"),
        benchmark:
            FILES.benchmark("figures_trends")
        priority: 2
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("figures_trends"),
        params:
            datasets=[comparison.name for comparison in CTX.comparisons],
            titles=[comparison.title for comparison in CTX.comparisons],
            code_version=version_of("figures_trends"),
        script:
            "../workflow_scripts/figures_trends.py"


if GROUPED:

    rule figures_clusters:
        input:
            pairs=FILES.pairs,
            clusters=FILES.clusters,
            isochrones=(
                [CFG.validation.cluster_isochrones] if CFG.validation.cluster_isochrones else []
            ),
        output:
            clusters=[
                figure(f"clusters_{comparison.name}", "errors", comparison.title, "clusters")
                for comparison in GROUPED
            ],
            kiel=[
                figure(
                    f"cluster_kiel_{comparison.name}",
                    "labels",
                    f"{comparison.title}: Teff and log g",
                    "cluster_kiel",
                    "others",
                )
                for comparison in GROUPED
            ],
        log:
            FILES.log("figures_clusters"),
        benchmark:
            FILES.benchmark("figures_clusters")
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("figures_clusters", spectra=spectra_of),
        params:
            datasets=[comparison.name for comparison in GROUPED],
            titles=[comparison.title for comparison in GROUPED],
            code_version=version_of("figures_clusters"),
        script:
            "../workflow_scripts/figures_clusters.py"


if CTX.truth:

    rule figures_truth:
        input:
            pairs=FILES.pairs,
            pulls=FILES.pulls,
        output:
            comparison=figure(
                "comparison_truth",
                "labels",
                "The catalogue",
                part="truth",
                dataset="truth",
            ),
            pulls=figure("pulls", "errors", "Pulls against the injected truth"),
        log:
            FILES.log("figures_truth"),
        benchmark:
            FILES.benchmark("figures_truth")
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("figures_truth", spectra=spectra_of),
        params:
            code_version=version_of("figures_truth"),
        script:
            "../workflow_scripts/figures_truth.py"


if CTX.network_labels:

    rule figures_networks:
        input:
            catalogue=FILES.catalogue,
            pairs=FILES.pairs,
            pulls=FILES.pulls,
            networks=list(CTX.network_files.values()),
            training=[FILES.training.format(training_set=name) for name in CTX.sets_trained_here],
        output:
            curves=figure("network_curves", "labels", "How they learned", part="networks"),
            planes=[
                figure(
                    f"network_stars_{name}",
                    "labels",
                    f"The stars of set {name}",
                    "network_stars",
                    "networks",
                )
                for name in CTX.sets_trained_here
            ],
            predictions=[
                figure(
                    f"network_predictions_{name}",
                    "labels",
                    f"Against set {name}",
                    "network_predictions",
                    "networks",
                )
                for name in CTX.sets_trained_here
            ],
            outliers=(
                [
                    figure(
                        f"network_outliers_{comparison.name}",
                        "errors",
                        f"Networks, outliers: {comparison.title}",
                        "network_outliers",
                    )
                    for comparison in NETWORK_GROUPED
                ]
                if CTX.sets_trained_here
                else []
            ),
            truth=(figure("network_truth", "labels", "Networks", part="truth") if CTX.truth else []),
            pulls=(
                figure("network_pulls", "errors", "Networks: pulls against the injected truth")
                if CTX.truth
                else []
            ),
        log:
            FILES.log("figures_networks"),
        benchmark:
            FILES.benchmark("figures_networks")
        priority: 1
        conda:
            "../envs/lamostvac.yaml"
        resources:
            **asks("figures_networks", spectra=spectra_of),
        params:
            network_labels=CTX.network_labels,
            sets=CTX.sets_trained_here,
            titles=as_it_is([CTX.training_sets[name].title for name in CTX.sets_trained_here]),
            grouped=[(comparison.name, comparison.title) for comparison in NETWORK_GROUPED],
            code_version=version_of("figures_networks"),
        script:
            "../workflow_scripts/figures_networks.py"
