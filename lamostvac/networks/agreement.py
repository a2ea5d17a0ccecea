"""Whether networks see spectra like those that they were trained on.

A network gives a label for any input of the right length. With windows shifted by 11 pixels the
labels of a network were wrong by 639 K and 3.6 dex, with another median filter by 258 K, and
nothing looked amiss. So each network's file records how its training spectra were prepared.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import Band
from lamostvac.networks.ensemble import Network, load_network
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.settings import NetworkWindows

_SAME = 1e-9  # relative difference of wavelengths; powers of ten differ in their last bits
_BANDS = get_args(Band)
_REMEDY = "or set networks.pretrained to null, which trains"


def preparation_text(preparation: NetworkPreparation) -> str:
    """The record of a preparation for a network's attribute `preparation`."""
    return json.dumps(preparation.record(), sort_keys=True)


def same_grid(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two grids of wavelengths (n,), (m,) are the same."""
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=_SAME, atol=0.0))


def check_agreement(
    label: str, path: str, network: Network, preparation: NetworkPreparation, snr_band: str
) -> None:
    """Check that a network can be applied to spectra as this run prepares them.

    Parameters
    ----------
    label : that the network is wanted for
    path : of its file, for the message
    preparation : of the spectra that it is given
    snr_band : S/N that the run takes its errors to be functions of

    Raises
    ------
    UserError
        The file has the network of another label, does not say how its spectra were prepared, or
        was trained on spectra that were prepared in another way; or its errors are functions of
        the S/N in another band.
    """
    if network.label != label:
        raise UserError(
            f"{path} is the network of {network.label}, not of {label}; put the right file there"
        )
    if str(network.attributes.get("snr_band")) not in _BANDS:
        raise UserError(
            f"the network {path} does not say which S/N its errors are a function of (snr_band); take another file, "
            f"{_REMEDY}"
        )
    if (theirs := network.attributes["snr_band"]) != snr_band:
        raise UserError(
            f"the errors of the network {path} are functions of {theirs}, and its set in networks.training_sets has "
            f"snr_band {snr_band}; set that to {theirs}, {_REMEDY}"
        )
    for key, trained, given in _differences(path, network, preparation):
        remedy = (
            f"set {key} to the network's value"
            if key.startswith("networks.")
            else "take networks that this version of lamostvac trained"
        )
        raise UserError(
            f"the network {path} was trained on spectra with {key} {_shown(trained)}, this run has {_shown(given)}, "
            f"and its labels would be wrong; {remedy}, {_REMEDY}"
        )
    if not same_grid(network.wave, preparation.wave):
        raise UserError(
            f"the network {path} says that it was trained with the networks.windows of this run, but its "
            f"{len(network.wave)} wavelengths are others; take another file, {_REMEDY}"
        )


def check_files(
    files: Mapping[str, str], preparation: NetworkPreparation, snr_bands: Mapping[str, str]
) -> None:
    """`check_agreement` of networks by label, those whose files are there."""
    for label, path in files.items():
        if os.path.exists(path):
            check_agreement(label, path, load_network(path), preparation, snr_bands[label])


def _differences(
    path: str, network: Network, preparation: NetworkPreparation
) -> list[tuple[str, Any, Any]]:
    """What differs: its key, the value in training and the value given."""
    try:
        record = json.loads(str(network.attributes["preparation"]))
        if not isinstance(record, dict):
            raise TypeError
    except (KeyError, ValueError, TypeError, RecursionError):
        raise UserError(
            f"the network {path} does not say how the spectra that it was trained on were prepared; it was written by "
            f"an earlier version of lamostvac: train it again with this one, {_REMEDY}"
        ) from None
    given = preparation.record()
    keys = [*given, *(key for key in record if key not in given)]
    return [
        (
            f"networks.{key}" if key in NetworkWindows.model_fields else key,
            record.get(key),
            given.get(key),
        )
        for key in keys
        if record.get(key) != given.get(key)
    ]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
