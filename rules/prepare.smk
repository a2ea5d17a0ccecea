# Spectra onto the common grid: one pass over the files of a chunk.

from lamostvac import prepare as prepare_library

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
        code_version=prepare_library.CODE_VERSION,
    script:
        "../workflow_scripts/prepare.py"
