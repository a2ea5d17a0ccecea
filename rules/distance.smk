# E(B-V), distance and position of every star, from its labels and other surveys' photometry.

from lamostvac.core.vocabulary import BANDS

# Stars that each network did not learn from tell how the errors of the bands go together. Networks from another
# run have left none here.
LEFT_OUT_BANDS = [
    band for band in BANDS if f"abs_mag_{band}" in SET_OF_LABEL and CFG.networks.pretrained is None
]


rule photometry:
    input:
        collected=f"{RESULTS}/collected/{{type}}.fits",
        tables=lambda wildcards: outside(photometry_tables(wildcards)),
    output:
        f"{RESULTS}/photometry/{{type}}.parquet",
    log:
        f"{RESULTS}/logs/photometry/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/photometry/{{type}}.tsv"
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("photometry", spectra=spectra_of, input_kb=size_kb("tables")),
    params:
        tables=PHOTOMETRY.model_dump(mode="json", by_alias=True),
        root=lambda wildcards: PHOTOMETRY_ROOT,
        digests=lambda wildcards: digests(photometry_tables(wildcards)),
        repeat_radius=CFG.photometry.repeat_radius,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("photometry"),
    script:
        "../workflow_scripts/photometry.py"


rule distance:
    input:
        recommended=f"{RESULTS}/recommended/{{type}}.fits",
        photometry=f"{RESULTS}/photometry/{{type}}.parquet",
        left_out=(
            [f"{RESULTS}/networks/abs_mag_{band}_left_out.parquet" for band in LEFT_OUT_BANDS]
            if CFG.distance.correlation is None
            else []
        ),
    output:
        f"{RESULTS}/distance/{{type}}.parquet",
    log:
        f"{RESULTS}/logs/distance/{{type}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/distance/{{type}}.tsv"
    group:
        "type"
    conda:
        "../envs/lamostvac.yaml"
    resources:
        **asks("distance", spectra=spectra_of),
    params:
        snr_band=CFG.survey.snr_band,
        repeat_radius=CFG.photometry.repeat_radius,
        extinction=CFG.extinction.model_dump(mode="json"),
        star_pairs=CFG.star_pairs.model_dump(mode="json"),
        distance=CFG.distance.model_dump(mode="json"),
        bands=LEFT_OUT_BANDS,
        members=CFG.networks.members,
        columns=COLUMNS,
        network_labels=NETWORK_LABELS,
        code_version=version_of("distance"),
    script:
        "../workflow_scripts/distance.py"
