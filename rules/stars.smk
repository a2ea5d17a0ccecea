# A page for one star: snakemake results/stars/OBSID.html, or SPECTRUM_ID.html for pilot spectra.


STAR_FILES = {
    "catalogue": f"{RESULTS}/catalog/recommended.parquet",
    "rejected": f"{RESULTS}/catalog/rejected.csv",
    "emulator": FIT_EMULATOR,
    "library": f"{RESULTS}/library/{CFG.library.name}.h5",
}
STAR_NETWORKS = {label: f"{NETWORK_FOLDER}/{label}.h5" for label in SET_OF_LABEL}
STAR_ERRORS = {name: f"{RESULTS}/errors/{name}.h5" for name in CFG.survey.types}


rule star:
    input:
        missing_for_star,
    output:
        f"{RESULTS}/stars/{{star}}.html",
    log:
        f"{RESULTS}/logs/stars/{{star}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/stars/{{star}}.tsv"
    wildcard_constraints:
        star="[^/]+",
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("star"),
    params:
        files=STAR_FILES | {"survey": f"{RESULTS}/survey", "networks": STAR_NETWORKS},
        catalogue_time=catalogue_time,
        fit=FIT_SETTINGS | ({"outlier_sigma": 0.0} if CFG.fit.method == "grouped" else {}),
        snr_flag=CFG.catalog.snr_flag,
        snr_thresholds={name: CFG.catalog.snr_flag_threshold.of(name) for name in CFG.survey.types},
        errors=STAR_ERRORS,
        settings={
            "preparation": CFG.prepare.model_dump(mode="json", exclude={"keep"}),
            "snr_band": CFG.survey.snr_band,
            "alpha_max_teff": CFG.catalog.alpha_max_teff,
            "outlier_fraction": CFG.catalog.outlier_flag_fraction,
            "disagreement": CFG.recommended.disagreement,
            "network_labels": {entry["label"]: entry for entry in NETWORK_LABELS},
            "grids": {label: TRAINING_SETS[name].grid for label, name in SET_OF_LABEL.items()},
            "sources": {
                entry.label: [
                    (source.column, source.system, source.bit) for source in entry.sources
                ]
                for entry in DEFINITIONS
            },
        },
        code_version=version_of("star"),
    script:
        "../workflow_scripts/star.py"
