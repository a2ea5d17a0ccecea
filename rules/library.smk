# The spectral library in the survey's frame, resolution, grid and normalisation.

from lamostvac import library as library_library

SIMULATED_LIBRARY = (
    rules.simulate.output.spectra if CFG.simulation.enabled and CFG.library.spectra is None else None
)


rule library:
    input:
        spectra=SIMULATED_LIBRARY or CFG.library.spectra,
        labels=(
            [rules.simulate.output.labels]
            if SIMULATED_LIBRARY
            else ([CFG.library.labels_file] if CFG.library.labels_file else [])
        ),
    output:
        f"{RESULTS}/library/{CFG.library.name}.h5",
    log:
        f"{RESULTS}/logs/library.log",
    benchmark:
        f"{RESULTS}/benchmarks/library.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, input, attempt: int((2000 + 8 * input.size_mb) * attempt),
        runtime=60,
    params:
        settings=CFG.library.model_dump(mode="json", exclude={"spectra", "labels_file"}),
        prepare=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        code_version=(library_library.CODE_VERSION, prepare_library.CODE_VERSION),
    script:
        "../workflow_scripts/library.py"
