# One page to look at the catalogue with, without network.

from lamostvac.publish import explorer as explorer_library

# A mistake in these is told before anything runs.
with user_errors():
    votable_library.chosen_columns(CFG.explorer.columns, REGISTRY, "explorer.columns")
    votable_library.chosen_rows(CFG.explorer.rows, REGISTRY, "explorer.rows")


rule explorer:
    input:
        catalogue=f"{RESULTS}/catalog/recommended.parquet",
    output:
        page=f"{RESULTS}/explorer.html",
    log:
        f"{RESULTS}/logs/explorer.log",
    benchmark:
        f"{RESULTS}/benchmarks/explorer.tsv"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("explorer", spectra=spectra_of, rows=rows_up_to(CFG.explorer.max_rows)),
    params:
        title=CFG.publication.title,
        names=CFG.explorer.columns,
        rows=CFG.explorer.rows,
        max_rows=CFG.explorer.max_rows,
        snr_band=CFG.survey.snr_band,
        stars=f"{RESULTS}/stars",
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        page=explorer_library.page_hash(),
        code_version=version_of("explorer"),
    script:
        "../workflow_scripts/explorer.py"
