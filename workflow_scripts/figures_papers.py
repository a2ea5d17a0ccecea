"""The papers' own figures of the catalogue: repeats, HR diagrams, positions, distances, colours, flags."""

from typing import Any

import numpy as np
import pandas as pd

from lamostvac.catalog.files import read_table
from lamostvac.catalog.registry import load_registry, network_labels
from lamostvac.catalog.snr import repeat_conditions
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import LABELS
from lamostvac.report.papers import (
    DIAGRAMS,
    colour_teff,
    distances,
    flags,
    hr_diagrams,
    positions,
    read_isochrone,
    repeats,
)
from lamostvac.report.style import save
from lamostvac.uncertainty.repeats import pairs_of_labels


def figure_of_repeats(path: str, params: Any, curves: pd.DataFrame) -> Any:
    """Labels of both systems where no flag of their own is set, from pairs as the papers have them."""
    networks = network_labels(params.network_labels)
    alike = repeat_conditions(networks, LABELS, params.snr_band, params.tolerances)
    place = read_table(path, ["ra", "dec", "lmjd", *{band for band, _ in alike.values()}])
    pairs = pairs_of_labels(dict(place), alike)
    values, stated = {}, {}
    own = {label.label: label.flags for label in networks}
    for name in (*LABELS, *own):
        warnings = own.get(name, ("flag_edge", "flag_no_convergence"))
        table = read_table(path, [name, f"{name}_random", *warnings])
        good = ~table[list(warnings)].astype(bool).any(axis=1)
        values[name] = table[name].astype(np.float64).where(good).to_numpy()
        stated[name] = table[f"{name}_random"].astype(np.float64).where(good).to_numpy()
    return repeats(pairs, values, stated, curves)


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    registry, path = load_registry(network_labels(params.network_labels)), inputs.catalogue
    curves = pd.read_csv(inputs.curves[0]) if inputs.curves else pd.DataFrame(columns=["label"])
    save(figure_of_repeats(path, params, curves), outputs.repeats)
    bands = {
        f"{start}abs_mag_{band}"
        for _, *names in DIAGRAMS
        for band in names
        for start in ("", "flag_")
    }
    save(
        hr_diagrams(
            read_table(path, ["teff_rec", *(name for name in registry.names if name in bands)])
        ),
        outputs.hr,
    )
    table = read_table(
        path,
        [
            *("dist", "dist_ks", "r_geo", "parallax", "parallax_err", "x_gal", "y_gal", "z_gal"),
            *("mag_bp", "mag_rp", "ebv", "teff_rec", "logg_rec", "teff", "logg", "spectral_type"),
            *registry.flag_bits,
        ],
    )
    save(
        positions(
            table["x_gal"].to_numpy(),
            table["y_gal"].to_numpy(),
            table["z_gal"].to_numpy(),
            params.sun,
        ),
        outputs.positions,
    )
    save(distances(table), outputs.distances)
    isochrone = read_isochrone(inputs.isochrone[0]) if inputs.isochrone else None
    save(colour_teff(table, params.reddening, isochrone), outputs.colour_teff)
    save(flags(table, list(registry.flag_bits)), outputs.flags)
    log.info("figures of %d spectra", len(table))


if __name__ == "__main__":
    main(snakemake)
