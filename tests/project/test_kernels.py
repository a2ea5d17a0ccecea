"""What another kernel of BLAS does to labels: less than a thousandth of their errors (docs/reproducibility.md)."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from promise import SHARE, assert_same_labels

# The emulator is built, spectra are fitted, and a network that was trained elsewhere predicts, under one kernel.
PROGRAM = """
import sys
from dataclasses import replace
import numpy as np
from threadpoolctl import threadpool_info
from noisy import AMPLITUDE, FLOOR, SPACING
from toy import BUILD, NAMES, toy_labels, toy_library, toy_spectra
from lamostvac.fit.settings import FitSettings
from lamostvac.emulator.model import build_emulator
from lamostvac.fit.fitter import StarFitter
from lamostvac.networks.ensemble import load_network
from lamostvac.networks.predict import NetworkStack
from lamostvac.spectra.grid import GRID
emulator = build_emulator(toy_library(snr=200), [], BUILD.changed(variance=0.99))
settings = FitSettings(flux_floor=FLOOR, calibration_scale=SPACING, calibration_error=AMPLITUDE)
rng = np.random.default_rng(1)
labels = (toy_labels(300, seed=3) - [5750, 3.0, -0.5]) * 0.6 + [5750, 3.0, -0.5]
flux = (toy_spectra(labels) + 0.02 * rng.standard_normal((300, len(GRID)))).astype(np.float32)
fits = StarFitter(emulator, settings).fit(flux, np.full(flux.shape, 2500.0, np.float32), "G")
network = load_network(sys.argv[1])
seen = np.load(sys.argv[2])
members = NetworkStack([network]).members(seen)[0]
kernels = {info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"}
np.savez(sys.argv[3], labels=fits.labels, errors=fits.errors, status=fits.status, n_outliers=fits.n_outliers,
         members=members, kernels=sorted(kernels))
"""


def kernels() -> list[str]:
    """Kernels of OpenBLAS that this processor can run, older ones first; at least two on any x86-64."""
    flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    known = {
        "Nehalem": "sse4_2",
        "Sandybridge": "avx",
        "Haswell": "avx2",
        "Zen": "avx2",
        "SkylakeX": "avx512f",
    }
    return [name for name, flag in known.items() if flag in flags]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small trained network and spectra, in files."""
    from toy_networks import ALL, SMALL, WAVE, toy_spectra

    from lamostvac.networks.ensemble import save_network
    from lamostvac.networks.train import train_network

    folder = tmp_path_factory.mktemp("network")
    found, teff, _ = toy_spectra(500, 50)
    trained, _ = train_network("teff", teff, found, WAVE, ALL, SMALL, 1)
    save_network(folder / "teff.h5", trained)
    np.save(folder / "seen.npy", found.flux)
    return folder


@pytest.fixture(scope="module")
def answers(network, project):
    """What each kernel says."""
    found = {}
    for kernel in kernels():
        path = network / f"{kernel}.npz"
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
        environment["PYTHONPATH"] = os.pathsep.join([str(project), str(project / "tests/helpers")])
        arguments = [str(network / "teff.h5"), str(network / "seen.npy"), str(path)]
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], check=True, env=environment, cwd=network
        )
        found[kernel] = dict(np.load(path))
    return found


def test_there_are_kernels_to_compare(answers):
    """OpenBLAS took the kernels that it was asked for, so the comparison is one."""
    assert len({tuple(answer["kernels"]) for answer in answers.values()}) >= 2


def test_labels_of_the_fit_are_the_same_under_every_kernel(answers):
    first, *others = answers.values()
    for other in others:
        np.testing.assert_array_equal(other["status"], first["status"])
        np.testing.assert_array_equal(other["n_outliers"], first["n_outliers"])
        assert_same_labels(other["labels"], first["labels"], first["errors"])
        np.testing.assert_allclose(other["errors"], first["errors"], rtol=SHARE)


def test_labels_of_a_network_are_the_same_under_every_kernel(answers):
    first, *others = answers.values()
    # The stated error is never less than the members' usual spread, some tens of K here.
    error = np.median(first["members"].std(axis=0, ddof=1))
    for other in others:
        found, expected = other["members"].mean(axis=0), first["members"].mean(axis=0)
        assert_same_labels(found, expected, np.full(len(found), error))
