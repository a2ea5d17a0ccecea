# The catalogue: each type joined from its chunks, then all types in one, every spectrum accounted for.

from lamostvac.core.paths import PUBLISHED_TABLES_PATH
from lamostvac.provenance.record import code_versions
from lamostvac.run.recorded import input_files, used

# What a type's labels are. Where errors are learned from the stars of all types, no job can hold it together with what
# follows.
COLLECT_GROUP = "collected" if CTX.published_curves else "type"


rule collect:
    input:
        # The manifest is new after every survey; a chunk that changed was prepared again.
        manifest=ancient(FILES.manifest),
        chunks=chunk_files(FILES.chunk, timeless=True),
        prepared=chunk_files(FILES.prepared_meta),
        fits=chunk_files(FILES.fit),
        second_fits=chunk_files(FILES.fit_imig) if CTX.second else [],
        further_fits=chunk_files(FILES.fit_further) if CTX.further else [],
        grouped=GROUPED_OF_ROWS,
        predicted=(chunk_files(FILES.predicted) if CTX.network_labels else []),
    output:
        table=FILES.collected,
        rejected=FILES.collected_rejected,
    log:
        FILES.log("collect", "type"),
    benchmark:
        FILES.benchmark("collect", "type")
    group:
        COLLECT_GROUP
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("collect", spectra=spectra_of, row_bytes=CTX.row_bytes),
    params:
        library=CFG.library.name,
        gaia_release=CFG.survey.gaia_release,
        # Columns of the chunks on which their spectra do not depend: where only these are new, nothing else runs again.
        carried=lambda wildcards: CHUNKS.carried(wildcards.type),
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("collect"),
    script:
        "../workflow_scripts/collect.py"


rule catalog:
    input:
        recommended=FILES.recommended,
        distance=FILES.distance,
    output:
        table=FILES.catalogue_of_type,
    log:
        FILES.log("catalog", "type"),
    benchmark:
        FILES.benchmark("catalog", "type")
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("catalog", spectra=spectra_of, row_bytes=CTX.row_bytes),
    params:
        provenance=CTX.provenance,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("catalog"),
    script:
        "../workflow_scripts/catalog.py"


rule merge:
    input:
        summary=FILES.survey_summary,
        manifest=FILES.manifest,
        survey_rejected=FILES.survey_rejected,
        library=CTX.library,
        tables=expand(FILES.catalogue_of_type, type=CFG.survey.types),
        rejected=expand(FILES.collected_rejected, type=CFG.survey.types),
    output:
        fits=FILES.catalogue_fits,
        parquet=FILES.catalogue,
        rejected=FILES.rejected,
        accounting=FILES.accounting,
        datamodel=FILES.data_model,
    log:
        FILES.log("merge"),
    benchmark:
        FILES.benchmark("merge")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("merge", spectra=spectra_of),
    params:
        types=CFG.survey.types,
        provenance=CTX.provenance,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        published=own_file(PUBLISHED_TABLES_PATH),
        code_version=version_of("merge"),
    script:
        "../workflow_scripts/merge.py"


# What the run was made of: for those who compare runs, and for those who cite.
rule provenance:
    input:
        accounting=FILES.accounting,
        summary=FILES.survey_summary,
        libraries=expand(FILES.library, library=CTX.emulator_libraries),
    output:
        record=FILES.provenance,
    log:
        FILES.log("provenance"),
    benchmark:
        FILES.benchmark("provenance")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("provenance"),
    params:
        settings=as_it_is(CTX.row_settings),
        packages=code_versions(),
        used=as_it_is(used(CTX)),
        files=as_it_is(input_files(CTX)),
        digests=digests(path for _, path in input_files(CTX)),
        code_version=version_of("provenance"),
    script:
        "../workflow_scripts/provenance.py"


# Targets by name: `snakemake type_M type_K` makes the tables of these types and nothing of the others.
for _name in CFG.survey.types:

    rule:
        name:
            f"type_{_name}"
        input:
            FILES.catalogue_of_type.format(type=_name),
