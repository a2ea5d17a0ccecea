# Other forms of the merged catalogue, and what its errors are like. Each reads recommended.fits block by block.

from lamostvac.publish import votable as votable_library
from lamostvac.core.paths import PUBLISHED_INTERNAL_ERRORS_PATH

# A mistake in these is told before anything runs.
with user_errors():
    votable_library.chosen_columns(CFG.publication.votable_columns, REGISTRY)
    votable_library.chosen_rows(CFG.publication.votable_rows, REGISTRY)


rule internal_errors:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.fits",
    output:
        table=f"{RESULTS}/catalog/summary.csv",
    log:
        f"{RESULTS}/logs/internal_errors.log",
    benchmark:
        f"{RESULTS}/benchmarks/internal_errors.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("internal_errors", spectra=spectra_of),
    params:
        snr_band=CFG.survey.snr_band,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        published=sha256(PUBLISHED_INTERNAL_ERRORS_PATH),
        code_version=version_of("internal_errors"),
    script:
        "../workflow_scripts/internal_errors.py"


rule cds:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.fits",
    output:
        table=f"{RESULTS}/catalog/recommended.dat.gz",
        readme=f"{RESULTS}/catalog/ReadMe",
    log:
        f"{RESULTS}/logs/cds.log",
    benchmark:
        f"{RESULTS}/benchmarks/cds.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("cds", spectra=spectra_of),
    params:
        title=CFG.publication.title,
        authors=CFG.publication.authors,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("cds"),
    script:
        "../workflow_scripts/cds.py"


rule votable:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.fits",
    output:
        table=f"{RESULTS}/catalog/recommended.vot",
    log:
        f"{RESULTS}/logs/votable.log",
    benchmark:
        f"{RESULTS}/benchmarks/votable.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("votable", spectra=spectra_of),
    params:
        title=CFG.publication.title,
        names=CFG.publication.votable_columns,
        rows=CFG.publication.votable_rows,
        max_rows=CFG.publication.votable_max_rows,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("votable"),
    script:
        "../workflow_scripts/votable.py"


rule hats:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.fits",
    output:
        folder=directory(f"{RESULTS}/catalog/hats"),
    log:
        f"{RESULTS}/logs/hats.log",
    benchmark:
        f"{RESULTS}/benchmarks/hats.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks(
            "hats",
            spectra=spectra_of,
            rows=rows_up_to(CFG.publication.hats_max_rows),
            row_bytes=REGISTRY.record.itemsize,
        ),
    params:
        title=CFG.publication.title,
        max_rows=CFG.publication.hats_max_rows,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("hats"),
    script:
        "../workflow_scripts/hats.py"
