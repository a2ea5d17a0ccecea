"""Damaged files for every reader are sentences, not tracebacks.

tools/fuzz.py does it, with fuzz_inputs, fuzz_mutations and fuzz_readers.
"""

import csv
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# A reader's inputs, so that each takes about the same time: the first of an hour's of `make fuzz`.
INPUTS = {
    "spectrum": 300,
    "text_table": 300,
    "fits_table": 200,
    "catalogue": 160,
    "library": 80,
    "hdf5": 300,
    "configuration": 40,
}


def fuzz(project, folder, *arguments):
    """The counts that the tool writes, by reader; what it says is shown when it found something."""
    command = [sys.executable, project / "tools/fuzz.py", *map(str, arguments), "--output", folder]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    with open(folder / "counts.csv") as handle:
        return {row["reader"]: row for row in csv.DictReader(handle)}


@pytest.mark.parametrize("reader", INPUTS)
def test_every_damaged_file_is_a_sentence_or_a_finite_result(project, tmp_path, reader):
    """A share of `make fuzz`: the same inputs in every run, from simulated files."""
    options = ["--readers", reader, "--inputs", INPUTS[reader], "--real", "none"]
    counts = fuzz(project, tmp_path, *options)[reader]
    assert int(counts["tried"]) == INPUTS[reader]
    assert int(counts["rejected"]) > INPUTS[reader] / 10
    # The valid files themselves are among them.
    assert int(counts["accepted"]) > 5
    assert int(counts["rejected"]) + int(counts["accepted"]) == INPUTS[reader]


def test_what_was_found_once_stays_mended(project, tmp_path):
    """The corpus has a small file for each cause that fuzzing found."""
    files = [path for path in (project / "tests/fuzz_corpus").glob("*/*") if path.is_file()]
    assert len(files) > 20
    counts = fuzz(project, tmp_path, "--replay", project / "tests/fuzz_corpus")["all"]
    assert int(counts["tried"]) == len(files)
    assert int(counts["rejected"]) + int(counts["accepted"]) == len(files)


def test_a_batch_that_mixes_up_its_spectra_is_found(project, monkeypatch):
    """What stands in for the compiled preparation gives every spectrum the pixels of the one before."""
    monkeypatch.syspath_prepend(project / "tools")
    import fuzz_readers

    usable = fuzz_readers._neighbours()[0]
    fuzz_readers.in_a_batch(usable, 0.0)
    batch, alone = fuzz_readers._preparers()
    right = alone.prepare

    def mixed(spectra, redshifts):
        return right([spectra[-1], *spectra[:-1]], [redshifts[-1], *redshifts[:-1]])

    monkeypatch.setattr(batch, "prepare", mixed)
    with pytest.raises(fuzz_readers.OtherInBatch):
        fuzz_readers.in_a_batch(usable, 0.0)


def test_findings_are_kept_and_end_with_an_error(project, tmp_path):
    """A file of an unknown kind makes the tool's own function fail, which stands for a reader that does."""
    folder = tmp_path / "corpus/hdf5"
    folder.mkdir(parents=True)
    (folder / "stranger_x.h5").write_bytes(b"a file that the reader of HDF5 has no name for")
    command = [sys.executable, project / "tools/fuzz.py", "--replay", folder.parent]
    command += ["--output", tmp_path / "out"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "KeyError" in done.stdout
    (found,) = (path for path in (tmp_path / "out/findings/hdf5").iterdir() if path.suffix == ".h5")
    assert found.read_bytes() == (folder / "stranger_x.h5").read_bytes()
