# The simulated survey: a small sky in the official formats, with the truth beside it.

from lamostvac.simulate.reference_files import NAMES as REFERENCE_FILES
from lamostvac.simulate.settings import SimulationSettings


rule simulate:
    output:
        catalogue=f"{RESULTS}/simulated/lamost/catalogue.csv",
        truth=f"{RESULTS}/simulated/truth.fits",
        spectra=f"{RESULTS}/simulated/mastar/mastar-goodspec-v3_1_1-v1_7_7.fits.gz",
        labels=f"{RESULTS}/simulated/mastar/mastar-goodvisits-v3_1_1-v1_7_7-params-v2.fits",
        pastel=f"{RESULTS}/simulated/catalogs/pastel/pastel.tsv",
        apogee=f"{RESULTS}/simulated/catalogs/apogee/allStar-r12-l33.fits",
        gaia=f"{RESULTS}/simulated/catalogs/gaia/gaia_edr3.csv",
        distances=f"{RESULTS}/simulated/catalogs/gaia/bailer_jones_edr3.csv",
        twomass=f"{RESULTS}/simulated/catalogs/twomass/twomass.csv",
        wise=f"{RESULTS}/simulated/catalogs/wise/allwise.csv",
        apass=f"{RESULTS}/simulated/catalogs/apass/apass_dr9.tsv",
        sdss=f"{RESULTS}/simulated/catalogs/sdss/sdss_dr12.csv",
        extinction=f"{RESULTS}/simulated/catalogs/extinction/ebv.csv",
        references=[f"{RESULTS}/simulated/catalogs/{name}" for name in REFERENCE_FILES],
    log:
        f"{RESULTS}/logs/simulate.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks(
            "simulate",
            spectra=sum(CFG.simulation.n_stars.values()),
            library=CFG.simulation.n_library,
        ),
    params:
        settings=CFG.simulation.model_dump(
            mode="json", include=set(SimulationSettings.model_fields)
        ),
        code_version=version_of("simulate"),
    script:
        "../workflow_scripts/simulate.py"
