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


rule library:
    input:
        spectra=lambda wildcards: outside(CTX.library_spectra(wildcards.library)),
        labels=lambda wildcards: outside(CTX.library_labels(wildcards.library)),
    output:
        FILES.library,
    log:
        FILES.log("library", "library"),
    benchmark:
        FILES.benchmark("library", "library")
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
