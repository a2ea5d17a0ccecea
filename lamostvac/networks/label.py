"""One label's network from a training set, and its answers for stars that it was not trained on."""

import logging
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lamostvac.networks.agreement import preparation_text
from lamostvac.networks.ensemble import Network, untrained_network
from lamostvac.networks.inputs import SetInputs, TrainingSpectra
from lamostvac.networks.settings import NetworkTraining
from lamostvac.networks.train import TooFewStars, check_stars, train_network
from lamostvac.spectra.network_grid import NetworkPreparation, seen_pixels

# A type with fewer training spectra counts as unknown to the network.
MIN_OF_TYPE = 3


def known_types(types: pd.Series) -> str:
    """Spectral types of the training spectra (n,), in alphabetical order, separated by blanks."""
    counts = types.value_counts()
    return " ".join(sorted(counts.index[counts >= MIN_OF_TYPE]))


def train_label(
    rows: pd.DataFrame,
    flux: NDArray[np.float32],
    ivar: NDArray[np.float32],
    entry: Mapping[str, Any],
    preparation: NetworkPreparation,
    settings: NetworkTraining,
    seed: int,
    log: logging.Logger,
) -> tuple[Network, NDArray[np.float32]]:
    """Train a label's ensemble.

    Parameters
    ----------
    rows : the n training spectra of the set
    flux, ivar : (n, n_pixels)
    entry : the configuration of the label (`label`: `name unit range learn`) and of its `set`
        (`optional snr_band`, `network`: `windows`)
    seed : of the run; each label has a stream of its own, so that no network depends on which
        others there are, and what a set's labels share has one of its own

    Returns
    -------
    network : untrained, with a warning, where an optional set has too few stars
    left_out : (n,) see `train_network`

    Raises
    ------
    TooFewStars
        A set that is not optional has too few.
    """
    label, name = entry["label"], entry["label"]["name"]
    spectra = TrainingSpectra(flux, ivar, rows["star"].to_numpy(), rows["snr"].to_numpy(np.float32))
    pixels = seen_pixels(preparation, entry["network"]["windows"])
    attributes = {
        "set": entry["set"],
        "snr_band": entry["snr_band"],
        "unit": label["unit"],
        "preparation": preparation_text(preparation),
        "spectral_types": known_types(rows.loc[np.isfinite(rows[name]), "spectral_type"]),
    }
    values = rows[name].to_numpy(np.float64)
    try:
        check_stars(name, values, spectra.star)
        with threadpool_limits(limits=1):
            of_set = zlib.crc32(f"{seed} {entry['set']} inputs".encode())
            inputs = SetInputs.of(spectra, pixels, settings, of_set)
        return train_network(
            name,
            values,
            spectra,
            preparation.wave,
            pixels,
            settings,
            seed=zlib.crc32(f"{seed} {name}".encode()),
            label_range=None if label["range"] is None else (label["range"][0], label["range"][1]),
            scale=label["learn"],
            attributes=attributes,
            log=log,
            inputs=inputs,
        )
    except TooFewStars as problem:
        if not entry["optional"]:
            raise
        log.warning("%s; the training set is optional, so the label is left empty", problem)
        network = untrained_network(name, preparation.wave, pixels, attributes)
        return network, np.full(len(rows), np.nan, np.float32)


def answers_of(
    network: Network,
    left_out: NDArray[np.float32],
    flux: NDArray[np.float32],
    ivar: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Answers and spread of the members (n + c,) for n training spectra, then c clipped ones.

    Parameters
    ----------
    left_out : (n,) the answer for each training spectrum by the members that were not trained on it
    flux, ivar : (n + c, n_pixels); of clipped spectra the answer is the mean of all members, none
        of which saw them
    """
    members = network.members(network.standardise(flux, ivar)[0])
    answer = np.concatenate([left_out, members[:, len(left_out) :].mean(axis=0)])
    spread = members.std(axis=0, ddof=1) if len(members) > 1 else np.zeros_like(answer)
    return answer, spread


def left_out_rows(
    rows: pd.DataFrame,
    label: str,
    answer: NDArray[np.float32],
    spread: NDArray[np.float32],
    network: Network,
) -> pd.DataFrame:
    """Stars that members were not trained on, the `answer`s (n,) and the members' `spread` (n,).

    These are the stars that single members kept for validation, and the clipped ones: they were
    removed because they are far from the network's answer, and without them the errors would be too
    small.
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
            # the network's error, split in its two kinds
            "random": random,
            "systematic": systematic,
        }
    )
