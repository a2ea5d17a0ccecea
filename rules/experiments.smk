# Experiments that show why a setting is what it is. None is part of the catalogue; ask for them by name:
# snakemake ... {results}/experiments/line_spread.csv
# or, those of Liang et al. (2024) all at once (docs/experiments.md):
# snakemake experiments ...


def prepared_of(types):
    """Prepared chunks of some spectral types."""

    def files(wildcards):
        return [
            FILES.spectra.format(type=name, chunk=chunk)
            for name in types
            for chunk in chunks_of(name)
        ]

    return files


def experiment_chunks(wildcards):
    """Prepared chunks that survey stars are drawn from: a few of each type, evenly spaced."""
    files = []
    for name in CFG.survey.types:
        chunks = chunks_of(name)
        n = min(CFG.experiments.n_chunks, len(chunks))
        chosen = [chunks[len(chunks) * (2 * i + 1) // (2 * n)] for i in range(n)]
        files += [FILES.spectra.format(type=name, chunk=chunk) for chunk in chosen]
    return files


rule experiment_line_spread:
    input:
        spectra=prepared_of(["F", "G", "K"]),
        library=CTX.library_spectra(CFG.library.name),
        labels=CTX.library_labels(CFG.library.name),
    output:
        table=FILES.experiment("line_spread.csv"),
        best=FILES.experiment("line_spread_best.csv"),
        figure=FILES.experiment("line_spread.png"),
    log:
        FILES.log("experiment_line_spread"),
    benchmark:
        FILES.benchmark("experiment_line_spread")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_line_spread"),
    params:
        library=CTX.library_settings(CFG.library.name),
        prepare=CTX.prepare_settings,
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        fit=CTX.fit_settings,
        code_version=version_of("experiment_line_spread"),
    script:
        "../workflow_scripts/experiment_line_spread.py"


rule experiments:
    input:
        FILES.experiment("prior_counts.csv"),
        FILES.experiment("bounds.csv"),
        FILES.experiment("group_size.csv"),
        FILES.experiment("reproduction.csv"),
        FILES.experiment("grouping.csv"),
        FILES.experiment("matches.csv"),


# Library stars in the prior intervals about each library star (their Figure 2).
rule experiment_prior_counts:
    input:
        library=CTX.library,
        emulator=CTX.emulator,
    output:
        table=FILES.experiment("prior_counts.csv"),
        stars=FILES.experiment("prior_counts_stars.csv"),
        figure=FILES.experiment("prior_counts.png"),
    log:
        FILES.log("experiment_prior_counts"),
    benchmark:
        FILES.benchmark("experiment_prior_counts")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_prior_counts"),
    params:
        code_version=version_of("experiment_prior_counts"),
    script:
        "../workflow_scripts/experiment_prior_counts.py"


# Range of the search against the number of candidates (Figure 3).
rule experiment_bounds:
    input:
        spectra=experiment_chunks,
        library=CTX.library,
        emulator=CTX.emulator,
    output:
        table=FILES.experiment("bounds.csv"),
        figure=FILES.experiment("bounds.png"),
    log:
        FILES.log("experiment_bounds"),
    benchmark:
        FILES.benchmark("experiment_bounds")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_bounds"),
    params:
        settings=CFG.experiments.model_dump(
            mode="json", include={"n_stars", "matches", "bound_sizes", "n_groups", "variance"}
        ),
        seed=CFG.run.seed,
        code_version=version_of("experiment_bounds"),
    script:
        "../workflow_scripts/experiment_bounds.py"


# Time and dispersion of Teff against the size of groups (Figure 4).
rule experiment_group_size:
    input:
        spectra=experiment_chunks,
        library=CTX.library,
        emulator=CTX.emulator,
    output:
        table=FILES.experiment("group_size.csv"),
        figure=FILES.experiment("group_size.png"),
    log:
        FILES.log("experiment_group_size"),
    benchmark:
        FILES.benchmark("experiment_group_size")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_group_size"),
    params:
        settings=CFG.experiments.model_dump(
            mode="json",
            include={
                "n_stars",
                "n_candidates",
                "group_sizes",
                "trial_stars",
                "variance",
                "form",
                "search",
                "folds",
            },
        ),
        prepare=CTX.prepare_settings,
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        max_extrapolation=CFG.fit.max_extrapolation,
        seed=CFG.run.seed,
        code_version=version_of("experiment_group_size"),
    script:
        "../workflow_scripts/experiment_group_size.py"


# Emulated against library spectra (Figures 5 and 6).
rule experiment_reproduction:
    input:
        library=CTX.library,
        emulator=CTX.emulator,
    output:
        table=FILES.experiment("reproduction.csv"),
        examples=FILES.experiment("reproduction_examples.png"),
        figure=FILES.experiment("reproduction.png"),
    log:
        FILES.log("experiment_reproduction"),
    benchmark:
        FILES.benchmark("experiment_reproduction")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_reproduction"),
    params:
        settings=CFG.experiments.model_dump(mode="json", include={"folds"}),
        prepare=CTX.prepare_settings,
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        seed=CFG.run.seed,
        code_version=version_of("experiment_reproduction"),
    script:
        "../workflow_scripts/experiment_reproduction.py"


# Reproduction error of stars grouped by their priors and at random (Figure 8).
rule experiment_grouping:
    input:
        spectra=experiment_chunks,
        library=CTX.library,
        emulator=CTX.emulator,
    output:
        table=FILES.experiment("grouping.csv"),
        figure=FILES.experiment("grouping.png"),
    log:
        FILES.log("experiment_grouping"),
    benchmark:
        FILES.benchmark("experiment_grouping")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_grouping"),
    params:
        settings=CFG.experiments.model_dump(
            mode="json",
            include={"n_stars", "n_candidates", "n_group", "n_groups", "variance", "form"},
        ),
        seed=CFG.run.seed,
        code_version=version_of("experiment_grouping"),
    script:
        "../workflow_scripts/experiment_grouping.py"


# Reproduction error of Teff against the number of candidates (Figure 9).
rule experiment_matches:
    input:
        spectra=experiment_chunks,
        library=CTX.library,
        emulator=CTX.emulator,
    output:
        table=FILES.experiment("matches.csv"),
        figure=FILES.experiment("matches.png"),
    log:
        FILES.log("experiment_matches"),
    benchmark:
        FILES.benchmark("experiment_matches")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_matches"),
    params:
        settings=CFG.experiments.model_dump(
            mode="json", include={"n_stars", "matches", "n_group", "n_groups", "variance", "form"}
        ),
        seed=CFG.run.seed,
        code_version=version_of("experiment_matches"),
    script:
        "../workflow_scripts/experiment_matches.py"
