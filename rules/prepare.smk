# Spectra onto the common grid: one pass over the files of a chunk.

from lamostvac import network_spectra
from lamostvac import prepare as prepare_library

# None when no network will see the spectra.
NETWORK_PREPARATION = (
    CFG.networks.model_dump(mode="json", include={"windows", "median_window", "polynomial_degree"})
    if CFG.networks.training_sets
    else None
)
PREPARED = f"{RESULTS}/prepared/{{type}}/{{chunk}}.h5"


rule prepare:
    input:
        chunk=f"{RESULTS}/survey/chunks/{{type}}/{{chunk}}.parquet",
    output:
        # 40 kB a spectrum: removed after the fit unless prepare.keep says otherwise.
        spectra=PREPARED if CFG.prepare.keep else temp(PREPARED),
        meta=f"{RESULTS}/prepared/{{type}}/{{chunk}}_meta.h5",
    log:
        f"{RESULTS}/logs/prepare/{{type}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare/{{type}}/{{chunk}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=CFG.prepare.model_dump(mode="json", exclude={"keep"}),
        networks=NETWORK_PREPARATION,
        code_version=(prepare_library.CODE_VERSION, network_spectra.CODE_VERSION),
    script:
        "../workflow_scripts/prepare.py"
