"""Earlier results of networks, used again as long as everything that they depend on is the same.

So a new label, or new stars in one training set, cost only the work that depends on them: each
trained network is kept with the digest of what it was trained on, and each network's results for a
chunk with the digest of network and spectra.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.atomic import atomic
from lamostvac.core.files import sha256
from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5, read_text, write_attributes, write_columns
from lamostvac.networks.predict import Columns, column_names

# The columns that training reads in every training set.
_USED = ("spectrum_id", "star", "snr", "split", "spectral_type")


def training_state(
    table: pd.DataFrame, label: str, spectra: str | os.PathLike[str], settings: tuple[object, ...]
) -> str:
    """Digest of all that a label's network depends on: its column of the set, spectra, settings.

    Parameters
    ----------
    table : the training set
    spectra : the file with its spectra
    settings : values whose `repr` is the same in every run
    """
    digest = hashlib.sha256(repr(settings).encode())
    for name in (*_USED, label, f"{label}_err"):
        hashes = pd.util.hash_pandas_object(table[name], index=False)
        digest.update(hashes.to_numpy("<u8").tobytes())
    digest.update(sha256(spectra).encode())
    return digest.hexdigest()


class KeptFiles:
    """Result files of a job, kept in a folder of their own with the state that they depend on."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def restore(self, state: str, paths: Sequence[str | os.PathLike[str]]) -> bool:
        """Put the kept files in place if they are of this state; otherwise remove them."""
        record = self.folder / "state"
        if record.exists() and record.read_text() == state:
            for path in map(Path, paths):
                _link(self.folder / path.name, path)
            return True
        shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def keep(self, state: str, paths: Sequence[str | os.PathLike[str]]) -> None:
        """Keep files under their own names; the state is written last, so that an interrupted copy
        does not count.
        """
        for path in map(Path, paths):
            _link(path, self.folder / path.name)
        with atomic(self.folder / "state") as temporary:
            temporary.write_text(state)


def _link(source: Path, target: Path) -> None:
    """Link a file under another name, or copy it where links are impossible; its time is now."""
    with atomic(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.utime(temporary)


def prediction_states(
    networks: Mapping[str, str | os.PathLike[str]],
    spectra: str,
    snr: Mapping[str, NDArray[np.floating]],
    code: str,
) -> dict[str, str]:
    """Label to digest of all that a network's answers depend on: itself, spectra and their S/N.

    Parameters
    ----------
    networks : label to the network's file
    spectra : digest of the spectra
    snr : label to S/N (n,)
    code : version of the code that predicts
    """
    return {
        label: hashlib.sha256(
            f"{code} {spectra} {sha256(path)}".encode() + np.asarray(snr[label], "<f4").tobytes()
        ).hexdigest()
        for label, path in networks.items()
    }


def read_parts(path: str | os.PathLike[str], states: Mapping[str, str]) -> dict[str, Columns]:
    """Columns by label that `write_parts` wrote, for the labels whose state is still the same."""
    if not Path(path).exists():
        return {}
    with open_hdf5(path) as handle:
        same = [
            label
            for label, state in states.items()
            if label in handle and read_text(handle[label].attrs, "state") == state
        ]
        return {
            label: {
                name: handle[label][name][()]
                for name in column_names(label)
                if name in handle[label]
            }
            for label in same
        }


def write_parts(
    path: str | os.PathLike[str], parts: Mapping[str, Columns], states: Mapping[str, str]
) -> None:
    """Write each label's columns with its state, in the order of `states`."""
    with atomic_hdf5(path) as out:
        for label, state in states.items():
            group = out.create_group(label)
            write_attributes(group, {"state": state})
            write_columns(group, parts[label])
