# Experiments that show why a setting is what it is. None is part of the catalogue; ask for them by name:
# snakemake ... {results}/experiments/line_spread.csv
# or, those of Liang et al. (2024) all at once (docs/experiments.md):
# snakemake experiments ...


EXPERIMENTS = f"{RESULTS}/experiments"


rule experiment_line_spread:
    input:
        spectra=prepared_of(["F", "G", "K"]),
        library=library_spectra(CFG.library.name),
        labels=library_labels(CFG.library.name),
    output:
        table=f"{RESULTS}/experiments/line_spread.csv",
        best=f"{RESULTS}/experiments/line_spread_best.csv",
        figure=f"{RESULTS}/experiments/line_spread.png",
    log:
        f"{RESULTS}/logs/experiment_line_spread.log",
    benchmark:
        f"{RESULTS}/benchmarks/experiment_line_spread.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_line_spread"),
    params:
        library=library_settings(CFG.library.name),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        fit=FIT_SETTINGS,
        code_version=version_of("experiment_line_spread"),
    script:
        "../workflow_scripts/experiment_line_spread.py"


rule experiments:
    input:
        f"{EXPERIMENTS}/prior_counts.csv",
        f"{EXPERIMENTS}/bounds.csv",
        f"{EXPERIMENTS}/group_size.csv",
        f"{EXPERIMENTS}/reproduction.csv",
        f"{EXPERIMENTS}/grouping.csv",
        f"{EXPERIMENTS}/matches.csv",


# Library stars in the prior intervals about each library star (their Figure 2).
rule experiment_prior_counts:
    input:
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/prior_counts.csv",
        stars=f"{EXPERIMENTS}/prior_counts_stars.csv",
        figure=f"{EXPERIMENTS}/prior_counts.png",
    log:
        f"{RESULTS}/logs/experiment_prior_counts.log",
    benchmark:
        f"{RESULTS}/benchmarks/experiment_prior_counts.tsv"
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
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/bounds.csv",
        figure=f"{EXPERIMENTS}/bounds.png",
    log:
        f"{RESULTS}/logs/experiment_bounds.log",
    benchmark:
        f"{RESULTS}/benchmarks/experiment_bounds.tsv"
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
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/group_size.csv",
        figure=f"{EXPERIMENTS}/group_size.png",
    log:
        f"{RESULTS}/logs/experiment_group_size.log",
    benchmark:
        f"{RESULTS}/benchmarks/experiment_group_size.tsv"
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
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        max_extrapolation=CFG.fit.max_extrapolation,
        seed=CFG.run.seed,
        code_version=version_of("experiment_group_size"),
    script:
        "../workflow_scripts/experiment_group_size.py"


# Emulated against library spectra (Figures 5 and 6).
rule experiment_reproduction:
    input:
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/reproduction.csv",
        examples=f"{EXPERIMENTS}/reproduction_examples.png",
        figure=f"{EXPERIMENTS}/reproduction.png",
    log:
        f"{RESULTS}/logs/experiment_reproduction.log",
    benchmark:
        f"{RESULTS}/benchmarks/experiment_reproduction.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("experiment_reproduction"),
    params:
        settings=CFG.experiments.model_dump(mode="json", include={"folds"}),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        seed=CFG.run.seed,
        code_version=version_of("experiment_reproduction"),
    script:
        "../workflow_scripts/experiment_reproduction.py"


# Reproduction error of stars grouped by their priors and at random (Figure 8).
rule experiment_grouping:
    input:
        spectra=experiment_chunks,
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/grouping.csv",
        figure=f"{EXPERIMENTS}/grouping.png",
    log:
        f"{RESULTS}/logs/experiment_grouping.log",
    benchmark:
        f"{RESULTS}/benchmarks/experiment_grouping.tsv"
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
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/matches.csv",
        figure=f"{EXPERIMENTS}/matches.png",
    log:
        f"{RESULTS}/logs/experiment_matches.log",
    benchmark:
        f"{RESULTS}/benchmarks/experiment_matches.tsv"
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
