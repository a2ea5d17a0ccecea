# Other forms of the merged catalogue, and what its errors are like. Each reads recommended.fits block by block.

from lamostvac.core.files import sha256
from lamostvac.catalog.published import published_tables
from lamostvac.core.paths import PUBLISHED_INTERNAL_ERRORS_PATH, PUBLISHED_TABLES_PATH
from lamostvac.publish.explorer import page_hash


def publication_targets():
    """The forms of the catalogue that this run wants."""
    wanted = [FILES.error_summary, FILES.main_fits, FILES.main_parquet]
    if CFG.publication.cds:
        wanted += [FILES.cds_readme, FILES.cds_table]
    if CFG.publication.votable:
        wanted.append(FILES.votable)
    if CFG.publication.published:
        wanted += expand(FILES.published, table=published_tables())
    if "feh_vmp" in CTX.set_of_label:
        wanted += [FILES.metal_poor, FILES.metal_poor_counts]
    if CFG.publication.hats:
        wanted.append(FILES.hats)
    return wanted


def explorer_targets():
    """The explorer's page, unless it is switched off."""
    return [FILES.explorer] if CFG.explorer.enabled else []


def rows_up_to(most):
    """Amount of a job: the rows of the catalogue that it holds at a time."""

    def amount(wildcards, input):
        return min(most, spectra_of(wildcards))

    return amount


rule internal_errors:
    input:
        catalogue=FILES.catalogue_fits,
    output:
        table=FILES.error_summary,
    log:
        FILES.log("internal_errors"),
    benchmark:
        FILES.benchmark("internal_errors")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("internal_errors", spectra=spectra_of),
    params:
        snr_band=CFG.survey.snr_band,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        published=sha256(PUBLISHED_INTERNAL_ERRORS_PATH),
        code_version=version_of("internal_errors"),
    script:
        "../workflow_scripts/internal_errors.py"


# The columns that most readers want, of all rows.
rule main_table:
    input:
        catalogue=FILES.catalogue_fits,
    output:
        fits=FILES.main_fits,
        parquet=FILES.main_parquet,
    log:
        FILES.log("main_table"),
    benchmark:
        FILES.benchmark("main_table")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("main_table", spectra=spectra_of),
    params:
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("main_table"),
    script:
        "../workflow_scripts/main_table.py"


rule cds:
    input:
        catalogue=FILES.catalogue_fits,
    output:
        table=FILES.cds_table,
        readme=FILES.cds_readme,
    log:
        FILES.log("cds"),
    benchmark:
        FILES.benchmark("cds")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("cds", spectra=spectra_of),
    params:
        title=as_it_is(CFG.publication.title),
        authors=as_it_is(CFG.publication.authors),
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        # The ReadMe says what columns are called in the papers.
        published=own_file(PUBLISHED_TABLES_PATH),
        code_version=version_of("cds"),
    script:
        "../workflow_scripts/cds.py"


rule votable:
    input:
        catalogue=FILES.catalogue_fits,
    output:
        table=FILES.votable,
    log:
        FILES.log("votable"),
    benchmark:
        FILES.benchmark("votable")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("votable", spectra=spectra_of),
    params:
        title=as_it_is(CFG.publication.title),
        names=CFG.publication.votable_columns,
        rows=CFG.publication.votable_rows,
        max_rows=CFG.publication.votable_max_rows,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("votable"),
    script:
        "../workflow_scripts/votable.py"


# The catalogue as the papers publish theirs.
rule published:
    input:
        catalogue=FILES.catalogue_fits,
    output:
        table=FILES.published,
    log:
        FILES.log("published", "table"),
    benchmark:
        FILES.benchmark("published", "table")
    wildcard_constraints:
        table="|".join(published_tables()),
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("published", spectra=spectra_of),
    params:
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        published=own_file(PUBLISHED_TABLES_PATH),
        code_version=version_of("published"),
    script:
        "../workflow_scripts/published.py"


rule hats:
    input:
        catalogue=FILES.catalogue_fits,
    output:
        folder=directory(FILES.hats),
    log:
        FILES.log("hats"),
    benchmark:
        FILES.benchmark("hats")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks(
            "hats",
            spectra=spectra_of,
            rows=rows_up_to(CFG.publication.hats_max_rows),
            row_bytes=CTX.row_bytes,
        ),
    params:
        title=as_it_is(CFG.publication.title),
        max_rows=CFG.publication.hats_max_rows,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("hats"),
    script:
        "../workflow_scripts/hats.py"


# One page to look at the catalogue with, without network.
rule explorer:
    input:
        catalogue=FILES.catalogue,
    output:
        page=FILES.explorer,
    log:
        FILES.log("explorer"),
    benchmark:
        FILES.benchmark("explorer")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("explorer", spectra=spectra_of, rows=rows_up_to(CFG.explorer.max_rows)),
    params:
        title=as_it_is(CFG.publication.title),
        names=CFG.explorer.columns,
        rows=CFG.explorer.rows,
        max_rows=CFG.explorer.max_rows,
        snr_band=CFG.survey.snr_band,
        stars=FILES.stars,
        main_table=os.path.relpath(FILES.main_fits, os.path.dirname(FILES.explorer)),
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        page=page_hash(),
        code_version=version_of("explorer"),
    script:
        "../workflow_scripts/explorer.py"
