# The simulated survey: a small sky in the official formats, with the truth beside it.

from lamostvac.simulate.settings import SimulationSettings


rule simulate:
    output:
        **FILES.simulated_files(),
        references=FILES.simulated_references(),
    log:
        FILES.log("simulate"),
    benchmark:
        FILES.benchmark("simulate")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("simulate", spectra=sum(CFG.simulation.n_stars.values())),
    params:
        settings=CFG.simulation.model_dump(
            mode="json", include=set(SimulationSettings.model_fields)
        ),
        code_version=version_of("simulate"),
    script:
        "../workflow_scripts/simulate.py"


# Beside the release, of which it knows nothing.
rule simulate_library:
    output:
        **FILES.simulated_library(),
    log:
        FILES.log("simulate_library"),
    benchmark:
        FILES.benchmark("simulate_library")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("simulate_library", library=CFG.simulation.n_library),
    params:
        settings=CFG.simulation.model_dump(
            mode="json", include=set(SimulationSettings.model_fields)
        ),
        code_version=version_of("simulate_library"),
    script:
        "../workflow_scripts/simulate_library.py"
