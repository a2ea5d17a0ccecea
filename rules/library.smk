# The spectral library in the survey's frame, resolution, grid and normalisation.

from lamostvac import library as library_library
from lamostvac import library_formats as library_formats_library

LIBRARIES = CFG.libraries()
SIMULATED_LIBRARY = (
    rules.simulate.output.spectra if CFG.simulation.enabled and CFG.library.spectra is None else None
)
with user_errors():
    # For a folder its files, so that a new or changed one counts as new input.
    LIBRARY_SPECTRA = {
        name: library_formats_library.library_files(library.spectra)
        for name, library in LIBRARIES.items()
        if library.spectra
    }


wildcard_constraints:
    library="|".join(LIBRARIES),


def library_spectra(name):
    """The files with the spectra of a library; the run's own may be a simulated one."""
    if name == CFG.library.name and SIMULATED_LIBRARY:
        return [SIMULATED_LIBRARY]
    return LIBRARY_SPECTRA[name]


def library_labels(name):
    """The file with the labels of a library, in a list that is empty when they stand with the spectra."""
    if name == CFG.library.name and SIMULATED_LIBRARY:
        return [rules.simulate.output.labels]
    return [LIBRARIES[name].labels_file] if LIBRARIES[name].labels_file else []


def library_settings(name):
    """What of a library's section its reader and its preparation depend on."""
    return LIBRARIES[name].model_dump(mode="json", exclude={"spectra", "labels_file", "variance"})


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
        mem_mb=lambda wildcards, input, attempt: int((2000 + 8 * input.size_mb) * attempt),
        runtime=60,
    params:
        settings=lambda wildcards: library_settings(wildcards.library),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        code_version=(library_library.CODE_VERSION, prepare_library.CODE_VERSION),
    script:
        "../workflow_scripts/library.py"
