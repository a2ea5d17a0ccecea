# The simulated survey: a small sky in the official formats, with the truth beside it.

from lamostvac import simulate as simulate_library
from lamostvac.simulate.settings import SimulationSettings


rule simulate:
    output:
        catalogue=f"{RESULTS}/simulated/lamost/catalogue.csv",
        truth=f"{RESULTS}/simulated/truth.fits",
        spectra=f"{RESULTS}/simulated/mastar/mastar-goodspec-v3_1_1-v1_7_7.fits.gz",
        labels=f"{RESULTS}/simulated/mastar/mastar-goodvisits-v3_1_1-v1_7_7-params-v2.fits",
    log:
        f"{RESULTS}/logs/simulate.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=CFG.simulation.model_dump(mode="json", include=set(SimulationSettings.model_fields)),
        code_version=simulate_library.CODE_VERSION,
    script:
        "../workflow_scripts/simulate.py"
