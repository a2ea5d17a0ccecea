# The spectral library in the survey's frame, resolution, grid and normalisation.

from lamostvac import library as library_library
from lamostvac import library_formats as library_formats_library

LIBRARIES = CFG.libraries()
# The library with the labels of the second emulator; None without one.
SECOND = CFG.second_library.name if CFG.second_library else None
OWN_LIBRARIES = {CFG.library.name, SECOND}
SIMULATED_LIBRARY = (
    rules.simulate.output.spectra if CFG.simulation.enabled and CFG.library.spectra is None else None
)
with user_errors():
    # Of a folder Snakemake sees only its own time, not those of its files.
    LIBRARY_FOLDERS = {
        name: library_formats_library.folder_state(library.spectra)
        for name, library in LIBRARIES.items()
        if library.spectra
    }


wildcard_constraints:
    library="|".join(LIBRARIES),


rule library:
    input:
        spectra=lambda wildcards: library_spectra(wildcards.library),
        labels=lambda wildcards: library_labels(wildcards.library),
    output:
        f"{RESULTS}/library/{{library}}.h5",
    log:
        f"{RESULTS}/logs/library/{{library}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/library/{{library}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, input, attempt: int(
            (2000 + 8 * (input.size_mb + LIBRARY_FOLDERS.get(wildcards.library, ("", 0))[1])) * attempt
        ),
        runtime=60,
    params:
        settings=lambda wildcards: library_settings(wildcards.library),
        folder=lambda wildcards: LIBRARY_FOLDERS.get(wildcards.library, ("",))[0],
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        code_version=(library_library.CODE_VERSION, prepare_library.CODE_VERSION),
    script:
        "../workflow_scripts/library.py"
