"""All networks over the spectra of a chunk; those that are as they were do not run again."""

from pathlib import Path

import numpy as np

from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5, read_columns, read_text, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.networks.agreement import check_agreement
from lamostvac.networks.cache import prediction_states, read_parts, write_parts
from lamostvac.networks.ensemble import load_network
from lamostvac.networks.predict import joined, predict_chunk, restrict, set_flags
from lamostvac.spectra.chunk import open_prepared
from lamostvac.spectra.network_grid import NetworkPreparation


def main(snakemake: Job) -> None:
    """Inputs `meta` (of a prepared chunk), `networks`; output: group `labels`, one row of `network_meta` each.

    Beside it, at the parameter `parts`, what each network said by itself, with the state that it hangs on.
    """
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    networks = [load_network(path) for path in inputs.networks]
    preparation = NetworkPreparation.model_validate(params.prepared["networks"])
    for label, path, network in zip(params.grids, inputs.networks, networks, strict=True):
        check_agreement(label, path, network, preparation, params.snr_bands[label])
    with open_hdf5(inputs.meta) as handle:
        meta = read_columns(handle["network_meta"])
        digest = read_text(handle.attrs, "network_digest")
    bands = {one.label: str(one.attributes["snr_band"]) for one in networks}
    snr = {label: meta[band].to_numpy(np.float32) for label, band in bands.items()}
    files = {one.label: path for one, path in zip(networks, inputs.networks, strict=True)}
    states = prediction_states(files, digest, snr, repr(params.code_version))
    parts = read_parts(params.parts, states)
    new = [one for one in networks if one.label not in parts]
    names = " ".join(one.label for one in new) or "none"
    log.info("%d networks, %d of them new: %s", len(networks), len(new), names)
    if new:
        with open_prepared(**params.prepared, log=log) as spectra:
            flux, ivar = spectra["network_flux"], spectra["network_ivar"]
            progress = Progress(log, len(meta), "spectra")
            parts |= predict_chunk(new, flux, ivar, snr, progress.add)
            progress.done()
        write_parts(params.parts, parts, states)
    columns = joined(networks, parts)
    for label, condition in params.apply.items():
        log.info("%s: %d spectra fulfil %s", label, restrict(columns, label, condition), condition)
    set_flags(columns, networks, snakemake.wildcards.type, params.grids)
    with atomic_hdf5(snakemake.output[0]) as out:
        table = {"spectrum_id": meta["spectrum_id"].to_numpy(), **columns}
        write_columns(out.create_group("labels"), table)
    if params.last:
        Path(params.prepared["spectra"]).unlink(missing_ok=True)
    log.info("%d spectra, %d labels", len(meta), len(networks))


if __name__ == "__main__":
    main(snakemake)
