# Experiments that show why a setting is what it is. None is part of the catalogue; ask for them by name:
# snakemake ... {results}/experiments/line_spread.csv
# or, those of Liang et al. (2024) all at once (docs/experiments.md):
# snakemake experiments ...


EXPERIMENTS = f"{RESULTS}/experiments"


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
        **asks("line_spread"),
    params:
        library=library_settings(CFG.library.name),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        fit=FIT_SETTINGS,
        code_version=version_of("line_spread"),
    script:
        "../workflow_scripts/line_spread.py"


rule experiments:
    input:
        f"{EXPERIMENTS}/prior_counts.csv",
        f"{EXPERIMENTS}/bounds.csv",
        f"{EXPERIMENTS}/group_size.csv",
        f"{EXPERIMENTS}/reproduction.csv",
        f"{EXPERIMENTS}/grouping.csv",
        f"{EXPERIMENTS}/matches.csv",


# Library stars in the prior intervals about each library star (their Figure 2).
rule prior_counts:
    input:
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/prior_counts.csv",
        stars=f"{EXPERIMENTS}/prior_counts_stars.csv",
        figure=f"{EXPERIMENTS}/prior_counts.png",
    log:
        f"{RESULTS}/logs/prior_counts.log",
    benchmark:
        f"{RESULTS}/benchmarks/prior_counts.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("prior_counts"),
    params:
        code_version=version_of("prior_counts"),
    script:
        "../workflow_scripts/prior_counts.py"


# Range of the search against the number of candidates (Figure 3).
rule bounds:
    input:
        spectra=experiment_chunks,
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/bounds.csv",
        figure=f"{EXPERIMENTS}/bounds.png",
    log:
        f"{RESULTS}/logs/bounds.log",
    benchmark:
        f"{RESULTS}/benchmarks/bounds.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("bounds"),
    params:
        settings=CFG.experiments.model_dump(
            mode="json", include={"n_stars", "matches", "bound_sizes", "n_groups", "variance"}
        ),
        seed=CFG.run.seed,
        code_version=version_of("bounds"),
    script:
        "../workflow_scripts/bounds.py"


# Time and dispersion of Teff against the size of groups (Figure 4).
rule group_size:
    input:
        spectra=experiment_chunks,
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/group_size.csv",
        figure=f"{EXPERIMENTS}/group_size.png",
    log:
        f"{RESULTS}/logs/group_size.log",
    benchmark:
        f"{RESULTS}/benchmarks/group_size.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("group_size"),
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
        code_version=version_of("group_size"),
    script:
        "../workflow_scripts/group_size.py"


# Emulated against library spectra (Figures 5 and 6).
rule reproduction:
    input:
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/reproduction.csv",
        examples=f"{EXPERIMENTS}/reproduction_examples.png",
        figure=f"{EXPERIMENTS}/reproduction.png",
    log:
        f"{RESULTS}/logs/reproduction.log",
    benchmark:
        f"{RESULTS}/benchmarks/reproduction.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("reproduction"),
    params:
        settings=CFG.experiments.model_dump(mode="json", include={"folds"}),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        emulator=CFG.emulator.model_dump(mode="json", exclude={"folds"}),
        seed=CFG.run.seed,
        code_version=version_of("reproduction"),
    script:
        "../workflow_scripts/reproduction.py"


# Reproduction error of stars grouped by their priors and at random (Figure 8).
rule grouping:
    input:
        spectra=experiment_chunks,
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/grouping.csv",
        figure=f"{EXPERIMENTS}/grouping.png",
    log:
        f"{RESULTS}/logs/grouping.log",
    benchmark:
        f"{RESULTS}/benchmarks/grouping.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("grouping"),
    params:
        settings=CFG.experiments.model_dump(
            mode="json",
            include={"n_stars", "n_candidates", "n_group", "n_groups", "variance", "form"},
        ),
        seed=CFG.run.seed,
        code_version=version_of("grouping"),
    script:
        "../workflow_scripts/grouping.py"


# Reproduction error of Teff against the number of candidates (Figure 9).
rule matches:
    input:
        spectra=experiment_chunks,
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        emulator=f"{RESULTS}/emulator/{CFG.library.name}.h5",
    output:
        table=f"{EXPERIMENTS}/matches.csv",
        figure=f"{EXPERIMENTS}/matches.png",
    log:
        f"{RESULTS}/logs/matches.log",
    benchmark:
        f"{RESULTS}/benchmarks/matches.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("matches"),
    params:
        settings=CFG.experiments.model_dump(
            mode="json", include={"n_stars", "matches", "n_group", "n_groups", "variance", "form"}
        ),
        seed=CFG.run.seed,
        code_version=version_of("matches"),
    script:
        "../workflow_scripts/matches.py"
