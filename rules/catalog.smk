# The catalogue: each type joined from its chunks, then all types in one, every spectrum accounted for.

from lamostvac import catalog as catalog_library
from lamostvac import registry as registry_library
from lamostvac import systematic as systematic_library
from lamostvac.files import sha256

# Every run with the same settings has the same header, wherever its files lie.
PROVENANCE = {
    "config_hash": catalog_library.configuration_hash(CFG.model_dump(mode="json")),
    "library": CFG.library.name,
}
COLUMNS = sha256(registry_library.REGISTRY_PATH)


rule catalog:
    input:
        # The manifest is new after every survey; what the type's chunks are is in `chunks`.
        manifest=ancient(f"{RESULTS}/survey/manifest.csv"),
        chunks=chunk_files(f"{RESULTS}/survey/chunks/{{type}}/{{chunk}}.parquet"),
        prepared=chunk_files(f"{RESULTS}/prepared/{{type}}/{{chunk}}_meta.h5"),
        fits=chunk_files(f"{RESULTS}/fit/{{type}}/{{chunk}}.h5"),
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        crossvalidation=f"{RESULTS}/emulator/{CFG.library.name}_crossvalidation.csv",
    output:
        table=f"{RESULTS}/catalog/{{type}}.fits",
        rejected=f"{RESULTS}/catalog/parts/{{type}}_rejected.csv",
    log:
        f"{RESULTS}/logs/catalog/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalog/{{type}}.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=60,
    params:
        snr_band=CFG.survey.snr_band,
        snr_threshold=lambda wildcards: catalog_library.snr_thresholds(
            CFG.catalog.snr_flag_threshold.model_dump(), wildcards.type
        ),
        alpha_max_teff=CFG.catalog.alpha_max_teff,
        provenance=PROVENANCE,
        columns=COLUMNS,
        code_version=(catalog_library.CODE_VERSION, systematic_library.CODE_VERSION),
    script:
        "../workflow_scripts/catalog.py"


rule merge:
    input:
        summary=f"{RESULTS}/survey/summary.json",
        manifest=f"{RESULTS}/survey/manifest.csv",
        survey_rejected=f"{RESULTS}/survey/rejected.csv",
        tables=expand(f"{RESULTS}/catalog/{{type}}.fits", type=CFG.survey.types),
        rejected=expand(f"{RESULTS}/catalog/parts/{{type}}_rejected.csv", type=CFG.survey.types),
    output:
        fits=f"{RESULTS}/catalog/recommended.fits",
        parquet=f"{RESULTS}/catalog/recommended.parquet",
        rejected=f"{RESULTS}/catalog/rejected.csv",
        accounting=f"{RESULTS}/catalog/accounting.json",
        datamodel=f"{RESULTS}/catalog/datamodel.md",
    log:
        f"{RESULTS}/logs/merge.log",
    benchmark:
        f"{RESULTS}/benchmarks/merge.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=120,
    params:
        types=CFG.survey.types,
        provenance=PROVENANCE,
        columns=COLUMNS,
        code_version=catalog_library.CODE_VERSION,
    script:
        "../workflow_scripts/merge.py"
