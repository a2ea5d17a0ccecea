# How right the labels and their errors are.

from lamostvac.core.paths import (
    PUBLISHED_ERRORS_PATH,
    PUBLISHED_NETWORKS_PATH,
    PUBLISHED_SAMPLES_PATH,
)
from lamostvac.report.verdicts import verdicts_of

QUESTIONS = {
    "overview": "0 Overview",
    "complete": "1 Is the data complete?",
    "labels": "2 Are the labels right?",
    "errors": "3 Are the errors right?",
    "use": "4 Where not to use it?",
}
# Parts of the second question; the report sorts them, and the titles in them, by the alphabet.
PARTS = {
    "run": "a Diagrams of this run",
    "others": "b Other surveys and catalogues",
    "emulator": "c Emulator and library",
    "networks": "d Networks",
    "truth": "e Injected truth",
}


def shown(path, question, title, caption, part=None, dataset=None):
    """An output that the report shows under a question, with the verdict on a data set beside its title."""
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category=QUESTIONS[question],
        subcategory=PARTS[part or "run"] if question == "labels" else None,
        # A function, since the numbers are known when the report is written.
        labels=lambda wildcards: {"what": title} | verdict(dataset),
    )


def figure(name, question, title, caption=None, part=None, dataset=None):
    """A figure that the report shows under a question."""
    return shown(FILES.figure(name), question, title, caption or name, part, dataset)


def verdict(dataset):
    """Offset, scatter and light of each label that a data set has."""
    return verdicts_of(FILES.comparisons).get(dataset, {}) if dataset else {}


rule validation:
    input:
        catalogue=FILES.catalogue,
        references=outside([str(path) for path in CTX.comparison_files.values() if path]),
        crossvalidation=CTX.crossvalidation,
        truth=outside([CTX.truth]) if CTX.truth else [],
        training=[FILES.training.format(training_set=name) for name in CTX.sets_trained_here],
        left_out=CTX.left_out,
    output:
        comparisons=shown(
            FILES.comparisons, "labels", "All comparisons in numbers", "comparisons", "others"
        ),
        pulls=shown(FILES.pulls, "errors", "Pulls in numbers", "pulls_table"),
        networks=(
            shown(
                FILES.network_scatter,
                "labels",
                "Networks in numbers",
                "networks_table",
                "networks",
            )
            if CTX.network_labels
            else []
        ),
        trends=FILES.trends,  # thousands of rows, which its figures show
        clusters=shown(FILES.clusters, "errors", "Open clusters in numbers", "clusters_table"),
        pairs=FILES.pairs,
    log:
        FILES.log("validation"),
    benchmark:
        FILES.benchmark("validation")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("validation", spectra=spectra_of),
    params:
        published=own_file(PUBLISHED_NETWORKS_PATH),
        comparisons=[comparison.model_dump() for comparison in CTX.comparisons],
        files=CTX.comparison_files,
        digests=lambda wildcards: digests(
            [str(path) for path in [*CTX.comparison_files.values(), CTX.truth] if path]
        ),
        skipped=CTX.comparisons_skipped,
        seed=CFG.run.seed,
        library=CFG.library.name,
        snr_band=CFG.survey.snr_band,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        trained_here=CTX.sets_trained_here,
        columns=CTX.columns,
        code_version=version_of("validation"),
    script:
        "../workflow_scripts/validation.py"


rule repeat_errors:
    input:
        catalogue=FILES.catalogue,
        left_out=CTX.left_out,
    output:
        shown(
            FILES.repeat_errors,
            "errors",
            "Random errors of networks from repeats, beside the published ones",
            "repeat_errors",
        ),
    log:
        FILES.log("repeat_errors"),
    benchmark:
        FILES.benchmark("repeat_errors")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("repeat_errors", spectra=spectra_of),
    params:
        published=own_file(PUBLISHED_ERRORS_PATH),
        settings=CFG.errors.model_dump(mode="json"),
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        trained_here=list(CTX.trained_here),
        columns=CTX.columns,
        code_version=version_of("repeat_errors"),
    script:
        "../workflow_scripts/repeat_errors.py"


rule libraries:
    input:
        crossvalidations=[FILES.crossvalidation.format(library=name) for name in CTX.libraries],
    output:
        table=shown(
            FILES.libraries,
            "labels",
            "The emulators of all libraries in numbers",
            "libraries_table",
            "emulator",
        ),
        figure=figure(
            "libraries",
            "labels",
            "The emulators of all libraries on their own library",
            part="emulator",
        ),
    log:
        FILES.log("libraries"),
    benchmark:
        FILES.benchmark("libraries")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("libraries"),
    params:
        libraries=list(CTX.libraries),
        code_version=version_of("libraries"),
    script:
        "../workflow_scripts/libraries.py"


# How many stars and spectra the run learns from.
rule samples:
    input:
        cuts=[FILES.training_cuts.format(training_set=name) for name in CTX.sets_trained_here],
        library=CTX.library,
    output:
        table=shown(FILES.samples, "complete", "Sample sizes beside the papers'", "samples_table"),
    log:
        FILES.log("samples"),
    benchmark:
        FILES.benchmark("samples")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("samples"),
    params:
        training_sets=CTX.sets_trained_here,
        library=[CFG.library.name, CFG.library.format],
        simulated=CFG.simulation.enabled,
        published=own_file(PUBLISHED_SAMPLES_PATH),
        code_version=version_of("samples"),
    script:
        "../workflow_scripts/samples.py"


# The list and the counts of very metal-poor stars (Wang et al. 2022, section 5), where the run has feh_vmp.
rule metal_poor:
    input:
        catalogue=FILES.catalogue_fits,
    output:
        table=FILES.metal_poor,
        counts=shown(FILES.metal_poor_counts, "labels", "Very metal-poor stars", "metal_poor_table"),
    log:
        FILES.log("metal_poor"),
    benchmark:
        FILES.benchmark("metal_poor")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("metal_poor", spectra=spectra_of),
    params:
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        published=own_file(PUBLISHED_SAMPLES_PATH),
        code_version=version_of("metal_poor"),
    script:
        "../workflow_scripts/metal_poor.py"
