# A page for one star: snakemake results/stars/OBSID.html, or SPECTRUM_ID.html for pilot spectra.


STAR_FILES = {
    "catalogue": FILES.catalogue,
    "rejected": FILES.rejected,
    "emulator": CTX.fit_emulator(CFG.library.name),
    "library": CTX.library,
}
STAR_ERRORS = {name: FILES.errors.format(type=name) for name in CFG.survey.types}


def missing_for_star(wildcards):
    """What the page needs and a run has not made yet; all of it exists after a run.

    Files that exist are no inputs, so that Snakemake does not look at the whole run for one page: not at 100,000
    jobs, and not at what would be made again after a change of the configuration. Params carry their times instead.
    """
    from lamostvac.catalog.lookup import require_star

    if os.path.exists(FILES.catalogue) and os.path.exists(FILES.rejected):
        with user_errors():
            require_star(FILES.catalogue, FILES.rejected, wildcards.star)
    needed = [*STAR_FILES.values(), *CTX.network_files.values()]
    needed += STAR_ERRORS.values() if CFG.catalog.snr_flag == "found" else []
    return [path for path in needed if not os.path.exists(path)]


def catalogue_time(wildcards):
    """When the catalogue was written, so that an old page is made again."""
    return os.stat(FILES.catalogue).st_mtime_ns if os.path.exists(FILES.catalogue) else 0


rule star:
    input:
        missing_for_star,
    output:
        FILES.star,
    log:
        FILES.log("star", "star"),
    benchmark:
        FILES.benchmark("star", "star")
    wildcard_constraints:
        star="[^/]+",
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("star"),
    params:
        # A function, because Snakemake would take the names in braces for wildcards.
        files=lambda wildcards: STAR_FILES
        | {"manifest": FILES.manifest, "chunks": FILES.chunk, "networks": CTX.network_files},
        catalogue_time=catalogue_time,
        fit=CTX.drawn_fit,
        snr_flag=CFG.catalog.snr_flag,
        snr_thresholds={name: CFG.catalog.snr_flag_threshold.of(name) for name in CFG.survey.types},
        errors=STAR_ERRORS,
        emulators=CTX.emulator_labels,
        preparation=CTX.prepare_settings,
        settings={
            "snr_band": CFG.survey.snr_band,
            "alpha_max_teff": CFG.catalog.alpha_max_teff,
            "outlier_fraction": CFG.catalog.outlier_flag_fraction,
            "disagreement": CFG.recommended.disagreement,
            "network_labels": {entry["label"]: entry for entry in CTX.network_labels},
            "grids": CTX.grids,
            "sources": {
                entry.label: [
                    (source.column, source.system, source.bit) for source in entry.sources
                ]
                for entry in CTX.definitions
            },
        },
        code_version=version_of("star"),
    script:
        "../workflow_scripts/star.py"
