# How right the labels and their errors are.

from lamostvac.validation import schema as comparison_sets_library
from lamostvac.catalog import registry as registry_library
from lamostvac.core.paths import PUBLISHED_ERRORS_PATH, PUBLISHED_NETWORKS_PATH

with user_errors():
    # A comparison whose file is absent is skipped; the rule's log says so.
    COMPARISONS = (
        comparison_sets_library.load_comparisons(
            shipped(CFG.validation.comparisons),
            registry_library.load_registry(registry_library.network_labels(NETWORK_LABELS)),
        )
        if CFG.validation.enabled and CFG.validation.comparisons
        else []
    )
    COMPARISON_FILES, COMPARISONS_SKIPPED = comparison_sets_library.available(
        COMPARISONS,
        [CFG.survey.root, CATALOGUES_ROOT],
        produced=[str(path) for path in rules.simulate.output] if CFG.simulation.enabled else [],
    )
PRESENT = [comparison for comparison in COMPARISONS if comparison.name in COMPARISON_FILES]
TRUTH = f"{RESULTS}/simulated/truth.fits" if CFG.simulation.enabled else CFG.validation.truth


rule validation:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.parquet",
        references=outside([str(path) for path in COMPARISON_FILES.values() if path]),
        crossvalidation=f"{RESULTS}/emulator/{CFG.library.name}_crossvalidation.csv",
        truth=outside([TRUTH]) if TRUTH else [],
        training=[f"{RESULTS}/training/{name}.fits" for name in SETS_TRAINED_HERE],
        left_out=[f"{RESULTS}/networks/{label}_left_out.parquet" for label in TRAINED_HERE],
        published=[own_file(PUBLISHED_NETWORKS_PATH)] if NETWORK_LABELS else [],
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
        networks=(
            report(
                f"{RESULTS}/validation/networks.csv",
                caption="../report/networks_table.rst",
                category="2 Are the labels right?",
                labels={"what": "Networks in numbers"},
            )
            if NETWORK_LABELS
            else []
        ),
        trends=report(
            f"{RESULTS}/validation/trends.csv",
            caption="../report/trends_table.rst",
            category="4 Where not to use it?",
            labels={"what": "Residual trends in numbers"},
        ),
        clusters=report(
            f"{RESULTS}/validation/clusters.csv",
            caption="../report/clusters_table.rst",
            category="3 Are the errors right?",
            labels={"what": "Open clusters in numbers"},
        ),
        pairs=f"{RESULTS}/validation/pairs.parquet",
    log:
        f"{RESULTS}/logs/validation.log",
    benchmark:
        f"{RESULTS}/benchmarks/validation.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("validation", spectra=spectra_of),
    params:
        comparisons=[comparison.model_dump() for comparison in PRESENT],
        files=COMPARISON_FILES,
        digests=lambda wildcards: digests(
            [str(path) for path in [*COMPARISON_FILES.values(), TRUTH] if path]
        ),
        skipped=COMPARISONS_SKIPPED,
        seed=CFG.run.seed,
        library=CFG.library.name,
        snr_band=CFG.survey.snr_band,
        network_labels=NETWORK_LABELS,
        trained_here=SETS_TRAINED_HERE,
        columns=COLUMNS,
        code_version=version_of("validation"),
    script:
        "../workflow_scripts/validation.py"


rule repeat_errors:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.parquet",
        left_out=[f"{RESULTS}/networks/{label}_left_out.parquet" for label in TRAINED_HERE],
        published=own_file(PUBLISHED_ERRORS_PATH),
    output:
        report(
            f"{RESULTS}/validation/repeat_errors.csv",
            caption="../report/repeat_errors.rst",
            category="3 Are the errors right?",
            labels={"what": "Random errors of networks from repeats, beside the published ones"},
        ),
    log:
        f"{RESULTS}/logs/repeat_errors.log",
    benchmark:
        f"{RESULTS}/benchmarks/repeat_errors.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("repeat_errors", spectra=spectra_of),
    params:
        settings=CFG.errors.model_dump(mode="json"),
        snr_band=CFG.survey.snr_band,
        network_labels=NETWORK_LABELS,
        trained_here=list(TRAINED_HERE),
        columns=COLUMNS,
        code_version=version_of("repeat_errors"),
    script:
        "../workflow_scripts/repeat_errors.py"


rule libraries:
    input:
        crossvalidations=[f"{RESULTS}/emulator/{name}_crossvalidation.csv" for name in LIBRARIES],
    output:
        table=report(
            f"{RESULTS}/validation/libraries.csv",
            caption="../report/libraries_table.rst",
            category="2 Are the labels right?",
            labels={"what": "The emulators of all libraries in numbers"},
        ),
        figure=figure("libraries", "labels", "The emulators of all libraries on their own library"),
    log:
        f"{RESULTS}/logs/libraries.log",
    benchmark:
        f"{RESULTS}/benchmarks/libraries.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("libraries"),
    params:
        libraries=list(LIBRARIES),
        code_version=version_of("libraries"),
    script:
        "../workflow_scripts/libraries.py"
