# The catalogue: each type joined from its chunks, then all types in one, every spectrum accounted for.

from lamostvac import catalog as catalog_library
from lamostvac import registry as registry_library
from lamostvac.files import sha256

# Every run with the same settings has the same header, wherever its files lie.
PROVENANCE = {
    "config_hash": catalog_library.configuration_hash(CFG.model_dump(mode="json")),
    "library": CFG.library.name,
}
COLUMNS = sha256(registry_library.REGISTRY_PATH)


rule catalog:
    input:
        manifest=RESULTS + "/survey/manifest.csv",
        chunks=chunk_files(RESULTS + "/survey/chunks/{type}/{chunk}.parquet"),
        prepared=chunk_files(RESULTS + "/prepared/{type}/{chunk}.h5"),
        fits=chunk_files(RESULTS + "/fit/{type}/{chunk}.h5"),
        library=RESULTS + f"/library/{CFG.library.name}.h5",
    output:
        table=RESULTS + "/catalog/{type}.fits",
        rejected=RESULTS + "/catalog/parts/{type}_rejected.csv",
    log:
        RESULTS + "/logs/catalog/{type}.log",
    benchmark:
        RESULTS + "/benchmarks/catalog/{type}.tsv"
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
        code_version=catalog_library.CODE_VERSION,
    script:
        "../workflow_scripts/catalog.py"


rule merge:
    input:
        summary=RESULTS + "/survey/summary.json",
        manifest=RESULTS + "/survey/manifest.csv",
        survey_rejected=RESULTS + "/survey/rejected.csv",
        tables=expand(RESULTS + "/catalog/{type}.fits", type=CFG.survey.types),
        rejected=expand(RESULTS + "/catalog/parts/{type}_rejected.csv", type=CFG.survey.types),
    output:
        fits=RESULTS + "/catalog/recommended.fits",
        parquet=RESULTS + "/catalog/recommended.parquet",
        rejected=RESULTS + "/catalog/rejected.csv",
        accounting=RESULTS + "/catalog/accounting.json",
        datamodel=RESULTS + "/catalog/datamodel.md",
    log:
        RESULTS + "/logs/merge.log",
    benchmark:
        RESULTS + "/benchmarks/merge.tsv"
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
