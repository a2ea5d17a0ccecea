"""Train the ensemble of one label."""

import hashlib
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from lamostvac.core.atomic import atomic
from lamostvac.core.files import sha256
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.networks.ensemble import Network, save_network, untrained_network
from lamostvac.networks.problem import TrainingSpectra
from lamostvac.networks.settings import NetworkTraining
from lamostvac.networks.train import TooFewStars, train_network
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.training.files import read_training

# A type with fewer training spectra is not one that the network knows.
MIN_OF_TYPE = 3


_USED = (
    "spectrum_id",
    "star",
    "snr",
    "split",
    "spectral_type",
)  # columns of every set that training looks at


def known_types(types: pd.Series) -> str:
    """The spectral types of the training spectra, in alphabetical order with blanks between."""
    counts = types.value_counts()
    return " ".join(sorted(counts.index[counts >= MIN_OF_TYPE]))


def left_out_rows(
    rows: pd.DataFrame, label: str, answer: np.ndarray, spread: np.ndarray, network: Network
) -> pd.DataFrame:
    """Stars that the network did not learn from, its `answer`s (n,) and the `spread` (n,) of its members.

    To those that single members kept for validation the clipped ones belong as well: they were taken out because
    they are far from the network, and without them its errors would be too small.
    """
    random, systematic = network.error_parts(answer, rows["snr"].to_numpy(np.float32), spread)
    return pd.DataFrame(
        {
            "spectrum_id": rows["spectrum_id"].to_numpy(),
            "star": rows["star"].to_numpy(),
            "clipped": (rows["split"] == "clipped").to_numpy(),
            "snr": rows["snr"].to_numpy(),
            "reference": rows[label].to_numpy(),
            "reference_err": rows[f"{label}_err"].to_numpy(),
            "left_out": answer.astype(np.float32),
            # what its error is taken for, of the two kinds
            "random": random,
            "systematic": systematic,
        }
    )


def state(table: pd.DataFrame, spectra: str, label: str, params: Any) -> str:
    """Digest of all that a label's network follows from: its column of the set, the spectra, the settings."""
    digest = hashlib.sha256(
        repr(
            (params.entry, params.preparation, params.settings, params.seed, params.code_version)
        ).encode()
    )
    for name in (*_USED, label, f"{label}_err"):
        digest.update(
            pd.util.hash_pandas_object(table[name], index=False).to_numpy("<u8").tobytes()
        )
    digest.update(sha256(spectra).encode())
    return digest.hexdigest()


def link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no such names. New in time."""
    with atomic(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.utime(temporary)


def main(snakemake: Job) -> None:
    """Inputs `table`, `spectra` of the training set; outputs `network`, `left_out`."""
    log = rule_log(snakemake)
    params = snakemake.params
    entry, label = params.entry, params.entry["label"]
    preparation = NetworkPreparation.from_settings(**params.preparation)
    windows, layers = entry["network"]["windows"], entry["network"]["layers"]
    settings = {**params.settings, **({"layers": layers} if layers else {})}
    table = read_training(snakemake.input.table)
    train = np.flatnonzero(table["split"] == "train")
    log.info(
        "%s: %d of %d spectra of the set %s train",
        label["name"],
        len(train),
        len(table),
        entry["set"],
    )
    outputs, kept = [snakemake.output.network, snakemake.output.left_out], Path(params.kept)
    now = state(table, snakemake.input.spectra, label["name"], params)
    if (kept / "state").exists() and (kept / "state").read_text() == now:
        log.info("%s: trained on the same before; its network is kept", label["name"])
        for path in outputs:
            link(kept / Path(path).name, Path(path))
        return
    shutil.rmtree(kept, ignore_errors=True)
    with h5py.File(snakemake.input.spectra) as handle:
        flux, ivar = (handle[name][train] for name in ("flux", "ivar"))
    rows = table.iloc[train]
    pixels = (
        np.ones(preparation.n_pixels, bool) if windows is None else preparation.pixels_in(windows)
    )
    attributes = {
        "set": entry["set"],
        "snr_band": entry["snr_band"],
        "unit": label["unit"],
        "spectral_types": known_types(rows.loc[np.isfinite(rows[label["name"]]), "spectral_type"]),
    }
    try:
        network, left_out = train_network(
            label["name"],
            rows[label["name"]].to_numpy(np.float64),
            TrainingSpectra(flux, ivar, rows["star"].to_numpy(), rows["snr"].to_numpy(np.float32)),
            preparation.wave,
            pixels,
            NetworkTraining(**{**settings, "layers": tuple(settings["layers"])}),
            # The label's own stream: no network feels which others there are.
            seed=zlib.crc32(f"{params.seed} {label['name']}".encode()),
            label_range=None if label["range"] is None else (label["range"][0], label["range"][1]),
            scale=label["learn"],
            attributes=attributes,
            log=log,
        )
    except TooFewStars as problem:
        if not entry["optional"]:
            raise
        log.warning("%s; the training set is optional, so the label is left empty", problem)
        network = untrained_network(label["name"], preparation.wave, pixels, attributes)
        left_out = np.full(len(rows), np.nan, np.float32)
    save_network(snakemake.output.network, network)
    clipped = np.flatnonzero(table["split"] == "clipped")
    with h5py.File(snakemake.input.spectra) as handle:
        more = [handle[name][clipped] for name in ("flux", "ivar")]
    flux, ivar = np.concatenate([flux, more[0]]), np.concatenate([ivar, more[1]])
    members = network.members(network.standardise(flux, ivar)[0])
    answer = np.concatenate([left_out, members[:, len(rows) :].mean(axis=0)])
    spread = members.std(axis=0, ddof=1) if len(members) > 1 else np.zeros_like(answer)
    stars = pd.concat([rows, table.iloc[clipped]])
    with atomic(snakemake.output.left_out) as temporary:
        left_out_rows(stars, label["name"], answer, spread, network).to_parquet(
            temporary, index=False
        )
    for path in outputs:
        link(Path(path), kept / Path(path).name)
    with atomic(kept / "state") as temporary:
        temporary.write_text(now)


if __name__ == "__main__":
    main(snakemake)
