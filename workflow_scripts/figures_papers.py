"""Figures of the catalogue as in the papers: repeats, planes of labels, positions, distances, flags; the bound."""

from typing import Any

import numpy as np
import pandas as pd

from lamostvac.catalog.files import read_table
from lamostvac.catalog.registry import network_labels, run_registry
from lamostvac.catalog.snr import repeat_conditions
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import LABELS
from lamostvac.report.bound import bounds
from lamostvac.report.colours import colour_teff, read_isochrone
from lamostvac.report.network_planes import diagrams, needed_columns, network_planes
from lamostvac.report.papers import DIAGRAMS, distances, flags, hr_diagrams, positions, repeats
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
        table = read_table(path, [name, f"{name}_err_random", *warnings])
        good = ~table[list(warnings)].astype(bool).any(axis=1)
        values[name] = table[name].astype(np.float64).where(good).to_numpy()
        stated[name] = table[f"{name}_err_random"].astype(np.float64).where(good).to_numpy()
    return repeats(pairs, values, stated, curves)


def figure_of_bounds(path: str, pairs_path: str, params: Any) -> Any:
    """Labels of the emulator where no flag of the fit is set."""
    names, warnings = list(LABELS), ["flag_edge", "flag_no_convergence"]
    # The S/N in g, which the pairs of comparisons have, whatever the run's band.
    own = ["snrg", "spectral_type", *names, *(f"{name}_bound" for name in names)]
    table = read_table(path, [*own, "ra", "dec", "lmjd", *warnings])
    table = table.rename(columns={"snrg": "snr"})
    flagged = table[warnings].astype(bool).any(axis=1)
    table[names] = table[names].astype(np.float64).mask(flagged)
    alike = repeat_conditions([], LABELS, "snr", params.tolerances)
    compared = ["dataset", "label", "value", "reference", "snr", "spectral_type"]
    others = pd.read_parquet(pairs_path, columns=compared, filters=[("label", "in", names)])
    return bounds(table, pairs_of_labels(dict(table), alike), others)


def figure_of_magnitudes(path: str, names: list[str]) -> Any:
    """Hertzsprung-Russell diagrams of the bands that the run's networks have."""
    bands = {
        f"{start}abs_mag_{band}"
        for _, *bands in DIAGRAMS
        for band in bands
        for start in ("", "flag_")
    }
    return hr_diagrams(read_table(path, ["teff_rec", *(name for name in names if name in bands)]))


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    labels = network_labels(params.network_labels)
    registry, path = run_registry(params), inputs.catalogue
    curves = pd.read_csv(inputs.curves[0]) if inputs.curves else pd.DataFrame(columns=["label"])
    save(figure_of_repeats(path, params, curves), outputs.repeats)
    save(figure_of_bounds(path, inputs.pairs, params), outputs.bound)
    save(figure_of_magnitudes(path, registry.names), outputs.hr)
    if outputs.get("planes"):
        panels = diagrams(labels)
        save(network_planes(read_table(path, needed_columns(panels)), panels), outputs.planes)
    table = read_table(
        path,
        [
            *(
                "dist",
                "dist_ks",
                "r_geo",
                "parallax",
                "parallax_err",
                "x_galcen",
                "y_galcen",
                "z_galcen",
            ),
            *("mag_bp", "mag_rp", "ebv", "teff_rec", "logg_rec", "teff", "logg", "spectral_type"),
            *registry.flag_bits,
        ],
    )
    x, y, z = (table[name].to_numpy() for name in ("x_galcen", "y_galcen", "z_galcen"))
    save(positions(x, y, z, params.sun), outputs.positions)
    save(distances(table), outputs.distances)
    isochrone = read_isochrone(inputs.isochrone[0]) if inputs.isochrone else None
    save(colour_teff(table, params.reddening, isochrone), outputs.colour_teff)
    save(flags(table, list(registry.flag_bits)), outputs.flags)
    log.info("figures of %d spectra", len(table))


if __name__ == "__main__":
    main(snakemake)
