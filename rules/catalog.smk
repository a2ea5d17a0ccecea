# The catalogue: each type joined from its chunks, then all types in one, every spectrum accounted for.

from lamostvac.recommend import combine as recommend_library
from lamostvac.recommend import definitions as recommend_definitions
from lamostvac.catalog import registry as registry_library
from lamostvac.configuration.root import configuration_hash
from lamostvac.core.files import sha256
from lamostvac.core.paths import COLUMNS_PATH

# What the registry needs to know of the labels that networks give, in the order of the catalogue.
NETWORK_LABELS = [
    {
        "label": label.name,
        "set": entry.name,
        **label.model_dump(include={"unit", "ucd", "description"}),
    }
    for entry in TRAINING_SETS.values()
    for label in entry.labels
]
with user_errors():
    REGISTRY = registry_library.load_registry(registry_library.network_labels(NETWORK_LABELS))
with user_errors():
    DEFINITIONS = recommend_definitions.load_definitions(
        shipped(CFG.recommended.definitions), REGISTRY.names
    )
# Every run with the same settings has the same header, wherever its files lie. Tables between the stages have none of
# it: any setting of any stage would make them anew.
PROVENANCE = {
    "config_hash": configuration_hash(
        CFG.model_dump(mode="json")
        | {
            "training_sets": {
                name: entry.model_dump(mode="json", by_alias=True)
                for name, entry in TRAINING_SETS.items()
            },
            # Their file's name is no part of the hash.
            "recommended_labels": {
                entry.label: entry.model_dump(mode="json") for entry in DEFINITIONS
            },
            "photometry_tables": PHOTOMETRY.model_dump(mode="json", by_alias=True),
        }
    ),
    "library": CFG.library.name,
}
COLUMNS = sha256(COLUMNS_PATH)


rule collect:
    input:
        # The manifest is new after every survey; a chunk that changed was prepared again.
        manifest=ancient(f"{RESULTS}/survey/manifest.csv"),
        chunks=ancient(chunk_files(f"{RESULTS}/survey/chunks/{{type}}/{{chunk}}.parquet")),
        prepared=chunk_files(f"{RESULTS}/prepared/{{type}}/{{chunk}}_meta.h5"),
        fits=chunk_files(f"{RESULTS}/fit/{{type}}/{{chunk}}.h5"),
        second_fits=chunk_files(f"{RESULTS}/fit_imig/{{type}}/{{chunk}}.h5") if SECOND else [],
        predicted=(
            chunk_files(f"{RESULTS}/predicted/{{type}}/{{chunk}}.h5") if NETWORK_LABELS else []
        ),
    output:
        table=f"{RESULTS}/collected/{{type}}.fits",
        rejected=f"{RESULTS}/collected/{{type}}_rejected.csv",
    log:
        f"{RESULTS}/logs/collected/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collected/{{type}}.tsv"
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("collect", spectra=spectra_of, row_bytes=REGISTRY.record.itemsize),
    params:
        library=CFG.library.name,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("collect"),
    script:
        "../workflow_scripts/collect.py"


rule recommend:
    input:
        collected=f"{RESULTS}/collected/{{type}}.fits",
        errors=f"{RESULTS}/errors/{{type}}.h5",
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
    output:
        table=f"{RESULTS}/recommended/{{type}}.fits",
        relations=f"{RESULTS}/recommended/{{type}}.h5",
    log:
        f"{RESULTS}/logs/recommended/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/recommended/{{type}}.tsv"
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("recommend", spectra=spectra_of, row_bytes=REGISTRY.record.itemsize),
    params:
        snr_band=CFG.survey.snr_band,
        snr_threshold=lambda wildcards: CFG.catalog.snr_flag_threshold.of(wildcards.type),
        snr_flag=CFG.catalog.snr_flag,
        errors=CFG.errors.model_dump(mode="json", include={"networks"}),
        alpha_max_teff=CFG.catalog.alpha_max_teff,
        outlier_fraction=CFG.catalog.outlier_flag_fraction,
        definitions=[definition.model_dump(mode="json") for definition in DEFINITIONS],
        settings=CFG.recommended.model_dump(mode="json", exclude={"definitions"}),
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("recommend"),
    script:
        "../workflow_scripts/recommend.py"


rule catalog:
    input:
        recommended=f"{RESULTS}/recommended/{{type}}.fits",
        distance=f"{RESULTS}/distance/{{type}}.parquet",
    output:
        table=f"{RESULTS}/catalog/{{type}}.fits",
    log:
        f"{RESULTS}/logs/catalog/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalog/{{type}}.tsv"
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("catalog", spectra=spectra_of, row_bytes=REGISTRY.record.itemsize),
    params:
        provenance=PROVENANCE,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("catalog"),
    script:
        "../workflow_scripts/catalog.py"


rule merge:
    input:
        summary=f"{RESULTS}/survey/summary.json",
        manifest=f"{RESULTS}/survey/manifest.csv",
        survey_rejected=f"{RESULTS}/survey/rejected.csv",
        library=f"{RESULTS}/library/{CFG.library.name}.h5",
        tables=expand(f"{RESULTS}/catalog/{{type}}.fits", type=CFG.survey.types),
        rejected=expand(f"{RESULTS}/collected/{{type}}_rejected.csv", type=CFG.survey.types),
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
        **asks("merge", spectra=spectra_of),
    params:
        types=CFG.survey.types,
        provenance=PROVENANCE,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("merge"),
    script:
        "../workflow_scripts/merge.py"


# Targets by name: `snakemake type_M type_K` makes the tables of these types and nothing of the others.
for _name in CFG.survey.types:

    rule:
        name:
            f"type_{_name}"
        input:
            f"{RESULTS}/catalog/{_name}.fits",
