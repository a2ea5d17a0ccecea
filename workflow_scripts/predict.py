"""All networks over the spectra of a chunk; those that are as they were do not run again."""

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from lamostvac.core.expressions import parse
from lamostvac.core.files import sha256
from lamostvac.core.hdf5 import atomic_hdf5, read_columns, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.networks.ensemble import Network, load_network
from lamostvac.networks.predict import NetworkStack, check_grids, predict, range_flags
from lamostvac.spectra.chunk import open_prepared

_ROWS = 8192

Columns = dict[str, np.ndarray]


def states(networks: dict[str, tuple[str, Network]], meta: str, code: str) -> dict[str, str]:
    """Label to digest of all that a network's answers follow from: itself, the spectra and their S/N."""
    with h5py.File(meta) as handle:
        spectra = str(handle.attrs["network_digest"])
        snr = {
            label: handle["meta"][str(network.attributes["snr_band"])][()].astype("<f4").tobytes()
            for label, (_, network) in networks.items()
        }
    return {
        label: hashlib.sha256(f"{code} {spectra} {sha256(path)}".encode() + snr[label]).hexdigest()
        for label, (path, _) in networks.items()
    }


def kept_parts(path: str, wanted: dict[str, str]) -> dict[str, Columns]:
    """Answers of an earlier run by label, of the networks whose state is still the same."""
    if not Path(path).exists():
        return {}
    with h5py.File(path) as handle:
        same = [
            label
            for label, state in wanted.items()
            if label in handle and handle[label].attrs["state"] == state
        ]
        return {
            label: {name: handle[label][name][()] for name in names(label) if name in handle[label]}
            for label in same
        }


def answers(
    networks: list[Network], spectra: h5py.File, meta: pd.DataFrame, log: Any
) -> dict[str, Columns]:
    """Columns of `predict` by label; NaN for spectra that the networks cannot see."""
    stack = NetworkStack(networks)
    parts: dict[str, list[np.ndarray]] = {}
    progress = Progress(log, len(meta), "spectra")
    for start in range(0, len(meta), _ROWS):
        rows = slice(start, start + _ROWS)
        flux, ivar = spectra["network_flux"][rows], spectra["network_ivar"][rows]
        unseen = ~(ivar > 0).any(axis=1)
        snr = {
            network.label: meta[str(network.attributes["snr_band"])].to_numpy(np.float32)[rows]
            for network in networks
        }
        for name, values in predict(stack, flux, ivar, snr):
            if values.dtype.kind == "f":
                values[unseen] = np.nan
            parts.setdefault(name, []).append(values)
        progress.add(len(flux))
    progress.done()
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    return {
        network.label: {name: columns[name] for name in names(network.label) if name in columns}
        for network in networks
    }


def names(label: str) -> list[str]:
    """Columns of a label, in the order of `predict`."""
    return [label, *(f"{label}_{part}" for part in ("err", "random", "spread")), f"cloud_{label}"]


def main(snakemake: Job) -> None:
    """Inputs `meta` (of a prepared chunk), `networks`; output: group `labels`, one row per spectrum.

    Beside it, at the parameter `parts`, what each network said by itself, with the state that it hangs on.
    """
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    loaded = [(path, load_network(path)) for path in inputs.networks]
    networks = {network.label: (path, network) for path, network in loaded}
    check_grids([network for _, network in loaded])
    wanted = states(networks, inputs.meta, repr(params.code_version))
    parts = kept_parts(params.parts, wanted)
    new = [label for label in networks if label not in parts]
    log.info("%d networks, %d of them new: %s", len(networks), len(new), " ".join(new) or "none")
    with h5py.File(inputs.meta) as handle:
        meta = read_columns(handle["meta"])
    if new:
        with open_prepared(**params.prepared, log=log) as spectra:
            parts |= answers([networks[label][1] for label in new], spectra, meta, log)
        with atomic_hdf5(params.parts) as out:
            for label in networks:
                group = out.create_group(label)
                group.attrs["state"] = wanted[label]
                write_columns(group, parts[label])
    # In the order of the networks, whichever of them were kept.
    columns = {
        name: parts[label][name]
        for label in networks
        for name in names(label)
        if name in parts[label]
    }
    for label, condition in params.apply.items():
        elsewhere = ~parse(condition, f"network.apply of {label}").holds(columns)
        for suffix in ("", "_err", "_random", "_spread"):
            columns[label + suffix][elsewhere] = np.nan
        log.info("%s: %d spectra fulfil %s", label, int((~elsewhere).sum()), condition)
    for label, (_, network) in networks.items():
        # The survey's own classification: an early B star and a late A star look alike in these windows.
        if snakemake.wildcards.type not in str(network.attributes["spectral_types"]).split():
            columns[f"cloud_{label}"][:] = 1
    ranges = {label: network.label_range for label, (_, network) in networks.items()}
    values = {label: columns.get(label, np.empty(0, np.float32)) for label in networks}
    for label, flag in range_flags(values, ranges, params.grids).items():
        columns[f"flag_{label}"] = flag
    with atomic_hdf5(snakemake.output[0]) as out:
        write_columns(
            out.create_group("labels"), {"spectrum_id": meta["spectrum_id"].to_numpy(), **columns}
        )
    if params.last:
        Path(params.prepared["spectra"]).unlink(missing_ok=True)
    log.info("%d spectra, %d labels", len(meta), len(networks))


if __name__ == "__main__":
    main(snakemake)
