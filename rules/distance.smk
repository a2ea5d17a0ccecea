# E(B-V), distance and position of every star, from its labels and other surveys' photometry.


def photometry_files(wildcards):
    """The catalogue files that magnitudes are joined from."""
    return outside(CTX.photometry_files)


def dust_map_kb(wildcards, input):
    """Size of the map of dust in kB, 0 without one."""
    return sum(os.path.getsize(path) for path in input.dust) / 1000


rule photometry:
    input:
        collected=FILES.collected,
        tables=photometry_files,
        dust=outside(CTX.dust_maps),
    output:
        FILES.photometry,
    log:
        FILES.log("photometry", "type"),
    benchmark:
        FILES.benchmark("photometry", "type")
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks(
            "photometry",
            spectra=spectra_of,
            input_kb=size_kb("tables"),
            map_kb=dust_map_kb,
        ),
    params:
        tables=CTX.photometry.model_dump(mode="json", by_alias=True),
        root=lambda wildcards: CTX.photometry_root,
        digests=lambda wildcards: digests([*CTX.photometry_files, *CTX.dust_maps]),
        bayestar_scale=CFG.photometry.bayestar_scale,
        repeat_radius=CFG.photometry.repeat_radius,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("photometry"),
    script:
        "../workflow_scripts/photometry.py"


rule distance:
    input:
        recommended=FILES.recommended,
        photometry=FILES.photometry,
        left_out=(
            [FILES.network_left_out.format(label=f"abs_mag_{band}") for band in CTX.left_out_bands]
            if CFG.distance.correlation is None
            else []
        ),
    output:
        FILES.distance,
    log:
        FILES.log("distance", "type"),
    benchmark:
        FILES.benchmark("distance", "type")
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("distance", spectra=spectra_of),
    params:
        snr_band=CFG.survey.snr_band,
        repeat_radius=CFG.photometry.repeat_radius,
        extinction=CFG.extinction_used.model_dump(mode="json"),
        star_pairs=CFG.star_pairs.model_dump(mode="json"),
        distance=CFG.distance.model_dump(mode="json"),
        bands=CTX.left_out_bands,
        members=CFG.networks.members,
        columns=CTX.columns,
        network_labels=CTX.network_labels,
        emulators=CTX.emulator_labels,
        code_version=version_of("distance"),
    script:
        "../workflow_scripts/distance.py"
