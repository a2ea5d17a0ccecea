# All that a run has learned in one file, by which `lamostvac label` labels spectra without the run.


PACK_LIBRARIES = [CFG.library.name, *([CTX.second] if CTX.second else []), *CTX.further]


def pack_emulators():
    """Emulators by their names in the pack."""
    found = {name: CTX.fit_emulator(name) for name in PACK_LIBRARIES}
    for name in PACK_LIBRARIES:
        for fold, path in enumerate(CTX.emulators_without(name)):
            found[f"{name}_without_{fold}"] = path
    return found


PACK_EMULATORS = pack_emulators()


SURVEY_OF_PACK = ("types", "classes", "snr_band", "max_abs_redshift", "gaia_release")


def pack_settings(wildcards):
    """What the configuration says of the models (`PackSettings`), without what the script finds."""
    return {
        "name": os.path.basename(os.path.abspath(FILES.results)),
        "simulated": CFG.simulation.enabled,
        **{name: getattr(CFG.survey, name) for name in SURVEY_OF_PACK},
        "snr_min": CFG.survey.snr_min.model_dump(),
        "prepare": CTX.prepare_settings,
        "networks": CTX.network_preparation if CTX.network_labels else None,
        "fit": CTX.fit_settings,
        "max_outlier_fraction": CFG.fit.max_outlier_fraction,
        "library": CFG.library.name,
        "second": CTX.second,
        "emulators": CTX.emulator_labels,
        "network_labels": CTX.network_labels,
        "apply": {
            label: CTX.training_sets[name].network.apply
            for label, name in CTX.set_of_label.items()
            if CTX.training_sets[name].network.apply
        },
        "grids": CTX.grids,
        "flags": CTX.flag_settings,
        "keep_errors": CFG.errors.few_repeats != "none",
        "definitions": [definition.model_dump(mode="json") for definition in CTX.definitions],
        "recommended": CFG.recommended.model_dump(mode="json", exclude={"definitions"})
        | {"snr_band": CFG.survey.snr_band},
        "trained": list(CTX.trained_here),
    }


PACK_FILES = {
    # Its header says what the models were made from.
    "catalogue": FILES.catalogue_fits,
    "record": FILES.provenance,
    "emulators": list(PACK_EMULATORS.values()),
    "libraries": [FILES.library.format(library=name) for name in PACK_LIBRARIES],
    "crossvalidations": [
        FILES.crossvalidation.format(library=name)
        for name in PACK_LIBRARIES
        if CTX.library_stars(name)
    ],
    "networks": NETWORK_INPUTS,
    "left_out": CTX.left_out,
    "errors": expand(FILES.errors, type=CFG.survey.types),
    "curves": [FILES.network_curves] if CTX.published_curves else [],
    "relations": expand(FILES.recommended_relations, type=CFG.survey.types),
    "rows": expand(FILES.recommended, type=CFG.survey.types),
}


def own_catalogue(wildcards):
    """The catalogue; where only the pack may be made, as `lamostvac pack` asks, of a run that has all that is in it.

    Without this Snakemake would run what is missing, and take what is there for results of settings that it is not of.
    """
    if "pack" in (workflow.dag_settings.allowed_rules or ()):
        from lamostvac.run.inputs import require_finished

        with user_errors():
            require_finished(PACK_FILES, CTX.row_settings, workflow.configfiles[0])
    return PACK_FILES["catalogue"]


rule pack:
    input:
        **{**PACK_FILES, "catalogue": own_catalogue},
    output:
        FILES.pack,
    log:
        FILES.log("pack"),
    benchmark:
        FILES.benchmark("pack")
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("pack", spectra=spectra_of, row_bytes=CTX.row_bytes),
    params:
        settings=pack_settings,
        emulator_names=list(PACK_EMULATORS),
        libraries=PACK_LIBRARIES,
        survey_libraries=[name for name in PACK_LIBRARIES if CTX.library_stars(name)],
        snr_thresholds={name: CFG.catalog.snr_flag_threshold.of(name) for name in CFG.survey.types},
        snr_flag=CFG.catalog.snr_flag,
        digests=network_digests,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("pack"),
    script:
        "../workflow_scripts/pack.py"
