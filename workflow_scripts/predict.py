"""All networks over the spectra of a chunk."""

from typing import Any

import h5py
import numpy as np

from lamostvac.expressions import parse
from lamostvac.files import atomic_hdf5, read_columns, write_columns
from lamostvac.log import Progress, rule_log
from lamostvac.network_prediction import NetworkStack, predict, range_flags
from lamostvac.networks import load_network

_ROWS = 8192


def main(snakemake: Any) -> None:
    """Inputs `spectra` (a prepared chunk), `networks`; output: group `labels`, one row per spectrum."""
    log = rule_log(snakemake)
    stack = NetworkStack([load_network(path) for path in snakemake.input.networks])
    labels = [network.label for network in stack.networks]
    bands = {network.label: str(network.attributes["snr_band"]) for network in stack.networks}
    log.info("%d networks of %s members", len(labels), {network.n_members for network in stack.networks})
    parts: dict[str, list[np.ndarray]] = {}
    with h5py.File(snakemake.input.spectra) as handle:
        meta = read_columns(handle["meta"], ["spectrum_id", *sorted(set(bands.values()))])
        progress = Progress(log, len(meta), "spectra")
        for start in range(0, len(meta), _ROWS):
            rows = slice(start, start + _ROWS)
            flux, ivar = handle["network_flux"][rows], handle["network_ivar"][rows]
            unseen = ~(ivar > 0).any(axis=1)
            snr = {name: meta[band].to_numpy(np.float32)[rows] for name, band in bands.items()}
            for name, values in predict(stack, flux, ivar, snr):
                if values.dtype.kind == "f":
                    values[unseen] = np.nan
                parts.setdefault(name, []).append(values)
            progress.add(len(flux))
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    for label, condition in snakemake.params.apply.items():
        elsewhere = ~parse(condition, f"network.apply of {label}").holds(columns)
        for suffix in ("", "_err", "_random", "_spread"):
            columns[label + suffix][elsewhere] = np.nan
        log.info("%s: %d spectra fulfil %s", label, int((~elsewhere).sum()), condition)
    for network in stack.networks:
        # The survey's own classification: an early B star and a late A star look alike in these windows.
        if snakemake.wildcards.type not in str(network.attributes["spectral_types"]).split():
            columns[f"cloud_{network.label}"][:] = 1
    ranges = {network.label: network.label_range for network in stack.networks}
    values = {label: columns.get(label, np.empty(0, np.float32)) for label in labels}
    for label, flag in range_flags(values, ranges, snakemake.params.grids).items():
        columns[f"flag_{label}"] = flag
    with atomic_hdf5(snakemake.output[0]) as out:
        write_columns(out.create_group("labels"), {"spectrum_id": meta["spectrum_id"].to_numpy(), **columns})
    progress.done()


if __name__ == "__main__":
    main(snakemake)
