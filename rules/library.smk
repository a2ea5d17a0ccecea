# The spectral library in the survey's frame, resolution, grid and normalisation.


wildcard_constraints:
    library="|".join(CTX.libraries),


def library_kb(wildcards, input):
    """Size of a library's files in kB, also of those in a folder."""
    return (
        size_kb()(wildcards, input) + 1049 * CTX.library_folders.get(wildcards.library, ("", 0))[1]
    )


def library_digests(wildcards):
    """What the files of a library contain."""
    name = wildcards.library
    return digests([CTX.library_spectra(name), *CTX.library_labels(name)])


def library_spectra(wildcards):
    """The spectra of a library that is to be made; what of its files is missing is told here."""
    if not os.path.exists(FILES.library.format(**wildcards)):
        with user_errors():
            for sentence in CTX.missing_of_library(wildcards.library):
                raise UserError(sentence)
    return outside(CTX.library_spectra(wildcards.library))


rule library:
    input:
        spectra=library_spectra,
        labels=lambda wildcards: outside(CTX.library_labels(wildcards.library)),
    output:
        FILES.library,
    log:
        FILES.log("library", "library"),
    benchmark:
        FILES.benchmark("library", "library")
    wildcard_constraints:
        library="|".join(name for name in CTX.libraries if name not in CTX.survey_libraries)
        or "none",
    priority: MAKES_MODELS
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("library", input_kb=library_kb),
    params:
        settings=lambda wildcards: CTX.library_settings(wildcards.library),
        digests=library_digests,
        prepare=CTX.prepare_settings,
        code_version=version_of("library"),
    script:
        "../workflow_scripts/library.py"


def training_set_of(wildcards):
    """The training set whose spectra a library is, and the set that found them."""
    entry = CTX.training_sets[CTX.survey_libraries[wildcards.library].training_set]
    found = entry
    while found.parent is not None:
        found = CTX.training_sets[found.parent]
    return {
        "table": FILES.training.format(training_set=entry.name),
        "candidates": FILES.training_candidates.format(training_set=found.name),
    }


# The survey's own spectra as a library: those of a training set, read again because the set has them as networks see them.
rule survey_library:
    input:
        unpack(training_set_of),
    output:
        FILES.library,
    log:
        FILES.log("survey_library", "library"),
    benchmark:
        FILES.benchmark("survey_library", "library")
    wildcard_constraints:
        library="|".join(CTX.survey_libraries) or "none",
    priority: MAKES_MODELS
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("survey_library", input_kb=size_kb()),
    params:
        settings=lambda wildcards: CTX.library_settings(wildcards.library),
        columns=lambda wildcards: CTX.library_columns(wildcards.library),
        prepare=CTX.prepare_settings,
        code_version=version_of("survey_library"),
    script:
        "../workflow_scripts/survey_library.py"
