# The spectral library in the survey's frame, resolution, grid and normalisation.

from lamostvac.library.source import folder_state

LIBRARIES = CFG.libraries()
# The library with the labels of the second emulator; None without one.
SECOND = CFG.second_library.name if CFG.second_library else None
OWN_LIBRARIES = {CFG.library.name, SECOND}
SIMULATED_LIBRARY = (
    rules.simulate.output.spectra
    if CFG.simulation.enabled and CFG.library.spectra is None
    else None
)
with user_errors():
    # Of a folder Snakemake does not know the size.
    LIBRARY_FOLDERS = {
        name: folder_state(library.spectra)
        for name, library in LIBRARIES.items()
        if library.spectra
    }


wildcard_constraints:
    library="|".join(LIBRARIES),


rule library:
    input:
        spectra=lambda wildcards: outside(library_spectra(wildcards.library)),
        labels=lambda wildcards: outside(library_labels(wildcards.library)),
    output:
        f"{RESULTS}/library/{{library}}.h5",
    log:
        f"{RESULTS}/logs/library/{{library}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/library/{{library}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("library", input_kb=library_kb),
    params:
        settings=lambda wildcards: library_settings(wildcards.library),
        digests=lambda wildcards: digests(
            [library_spectra(wildcards.library), *library_labels(wildcards.library)]
        ),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        code_version=version_of("library"),
    script:
        "../workflow_scripts/library.py"
