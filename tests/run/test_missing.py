"""What a configuration names and is not there is told before a run, all of it."""

import subprocess

import pytest
import yaml
from command import lamostvac
from warm_python import warm_python

from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.run.missing import missing_inputs
from lamostvac.run.site import Site
from lamostvac.training.load import load_training_sets


@pytest.fixture
def real(tmp_path):
    """A run on files, all of which are there; sections may be changed by name."""
    for name in ("catalogue.csv", "stars.csv", "library.fits", "labels.fits", "sets.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "sets.yaml").write_text("training_sets: []\n")

    def settings(**sections):
        files = {"spectra": f"{tmp_path}/library.fits", "labels_file": f"{tmp_path}/labels.fits"}
        whole = {
            "simulation": {"enabled": False},
            "survey": {"root": str(tmp_path), "catalogues": ["catalogue.csv"]},
            "library": files,
            "networks": {"training_sets": None},
        }
        return whole | {name: whole.get(name, {}) | own for name, own in sections.items()}

    return settings


def missing(settings):
    return missing_inputs(load_configuration(settings), Site())


def test_a_run_whose_files_are_there_lacks_nothing(real):
    assert missing(real(survey={"stellar_catalogues": ["stars.csv"]})) == []


def test_a_simulated_run_makes_its_files(tmp_path):
    here = {"run": {"results": str(tmp_path)}}
    assert missing({"simulation": {"enabled": True}} | here) == []
    own = {"library": {"spectra": "mine.fits"}, "validation": {"isochrone": "i.csv"}}
    assert [sentence.partition(":")[0] for sentence in missing(
        {"simulation": {"enabled": True}} | here | own
    )] == ["validation.isochrone", "library.spectra"]  # fmt: skip


ABSENT = {
    "survey.catalogues": {"survey": {"catalogues": ["no.csv"]}},
    "survey.stellar_catalogues": {"survey": {"stellar_catalogues": ["no.csv"]}},
    "survey.root": {"survey": {"root": "no", "catalogues": "headers"}},
    "library.spectra": {"library": {"spectra": "no.fits"}},
    "library.labels_file": {"library": {"labels_file": "no.csv"}},
    "photometry.bayestar": {"photometry": {"bayestar": "no.h5"}},
    "validation.truth": {"validation": {"truth": "no.csv"}},
    "validation.isochrone": {"validation": {"isochrone": "no.csv"}},
    "validation.cluster_isochrones": {"validation": {"cluster_isochrones": "no.dat"}},
    "emulators: miles: spectra": {"emulators": [{"name": "miles", "spectra": "no.fits"}]},
    "validation.libraries: miles: spectra": {
        "validation": {"libraries": [{"name": "miles", "spectra": "no.fits"}]}
    },
    "training set pastel": {"networks": {"training_sets": "config/training_sets.yaml"}},
}


@pytest.mark.parametrize("key", ABSENT)
def test_a_file_that_is_not_there_is_told_with_its_key(real, key):
    sections = dict(ABSENT[key])
    emulators = {"emulators": sections.pop("emulators", [])}
    found = missing(real(**sections) | emulators)
    mine = [sentence for sentence in found if sentence.startswith(f"{key}: there is no f")]
    assert len(mine) == 1
    assert "; " in mine[0]  # and what to do
    if key != "training set pastel":
        assert found == mine


def test_all_that_is_missing_is_told_at_once(real):
    sections = {name: content for key in ("survey.catalogues", "library.spectra", "validation.truth")
                for name, content in ABSENT[key].items()}  # fmt: skip
    assert len(missing(real(**sections))) == 3


def test_networks_of_another_run_have_to_be_there(real, tmp_path, project):
    for entry in load_training_sets(project / "config/training_sets.yaml"):
        for name in entry.files():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
    given = {"training_sets": "config/training_sets.yaml", "root": str(tmp_path)}
    assert missing(real(networks=given)) == []
    (sentence,) = missing(real(networks=given | {"pretrained": "no.lvpack"}))
    assert sentence.startswith("networks.pretrained: there is no file no.lvpack; name the pack")
    (sentence,) = missing(real(networks=given | {"pretrained": str(tmp_path)}))
    assert sentence.startswith(f"networks.pretrained: there is no file {tmp_path}/teff_pastel.h5")


def test_what_is_wrong_with_a_file_that_is_there_is_told_too(real):
    with pytest.raises(UserError, match=r"^validation\.comparisons"):
        missing(real(validation={"comparisons": "no.yaml"}))


def test_the_command_tells_all_that_is_missing_and_fails(real, tmp_path):
    settings = real(library={"spectra": "spectra.fits"}, validation={"truth": "truth.csv"})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    check = ("configuration", "--check", str(tmp_path / "mine.yaml"))
    said = lamostvac(*check, code=1).splitlines()
    assert [line.split(": ")[:2] for line in said] == [
        ["Error", "validation.truth"], ["Error", "library.spectra"],
    ]  # fmt: skip
    (tmp_path / "run").mkdir()
    for name in ("spectra.fits", "truth.csv"):
        (tmp_path / "run" / name).touch()
    said = lamostvac(*check, "--directory", str(tmp_path / "run"))
    assert said == f"{tmp_path}/mine.yaml is right\n"
    assert "no folder" in lamostvac(*check, "--directory", str(tmp_path / "none"), code=1)


def last_line_of_a_dry_run(project, folder, settings):
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    command = [warm_python(), "-m", "snakemake", "-n", "--snakefile", str(project / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(folder / "mine.yaml")]
    done = subprocess.run(
        [*command, "--cores", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    return done.stdout.strip().splitlines()[-1]


def test_a_run_says_the_same_of_its_library(real, tmp_path, project):
    settings = real(library={"spectra": "spectra.fits"})
    (sentence,) = missing(settings)
    assert last_line_of_a_dry_run(project, tmp_path, settings) == f"Error: {sentence}"


def test_a_run_says_the_same_of_networks(tmp_path, project):
    """Snakemake would list as many files as there are labels."""
    settings = {"networks": {"pretrained": str(tmp_path / "none")}}
    said = last_line_of_a_dry_run(project, tmp_path, settings)
    expected = f"Error: networks.pretrained: there is no file {tmp_path}/none/teff_pastel.h5; name"
    assert said.startswith(expected)
