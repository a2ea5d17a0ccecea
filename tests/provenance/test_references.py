"""The works that a run owes credit, as BibTeX."""

import re

import pytest
import yaml
from command import lamostvac

from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import PROJECT, REFERENCES_PATH
from lamostvac.provenance.record import SIMULATED, Record
from lamostvac.provenance.references import bibliography, cited, load_references
from lamostvac.run.layout import Layout

REFERENCES = load_references(REFERENCES_PATH)


def record(*used):
    return Record({"version": "1"}, {}, {}, {"numpy": "2.4"}, [], list(used))


def names_of(file, key):
    return [entry["name"] for entry in yaml.safe_load((PROJECT / file).read_text())[key]]


def test_everything_that_a_shipped_file_names_has_a_work_or_is_known_to_have_none():
    known = {name for reference in REFERENCES for name in reference.used}
    photometry = yaml.safe_load((PROJECT / "config/photometry.yaml").read_text())
    wanted = {
        f"training set {name}" for name in names_of("config/training_sets.yaml", "training_sets")
    }
    wanted |= {f"library {name}" for name in names_of("config/libraries.yaml", "libraries")}
    # A user's own map; that of Green et al. is `bayestar map`.
    wanted |= {f"photometry {one['name']}" for one in photometry["join"] if one["name"] != "map"}
    assert wanted - known == set()
    comparisons = set(names_of("config/comparisons.yaml", "comparisons"))
    named = {name.removeprefix("comparison ") for name in known if name.startswith("comparison ")}
    assert named - comparisons == set()


def test_a_run_cites_what_it_used_and_nothing_else():
    keys = {work.key for work in cited(record("workflow", "library miles"), REFERENCES)}
    assert {"Wang2022", "Liang2024", "Astropy2022", "SanchezBlazquez2006"} <= keys
    assert not {"Yan2019", "Abadi2016", "Skrutskie2006", "Cui2012"} & keys
    assert "Abadi2016" in {work.key for work in cited(record("networks"), REFERENCES)}


def test_the_file_is_bibtex_with_balanced_braces_and_every_key_once():
    text = bibliography(record(*{name for one in REFERENCES for name in one.used}), REFERENCES)
    keys = re.findall(r"^@\w+\{(\w+),$", text, re.M)
    assert keys == [reference.key for reference in REFERENCES]
    assert re.search(r"\\citep\{(.+)\}", text)[1].split(",") == keys
    for entry in re.split(r"\n\n(?=%)", text)[1:]:
        assert entry.count("{") == entry.count("}")
    assert text.isascii()


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda one: one.key)
def test_a_work_has_who_wrote_it_when_and_where(reference):
    assert {"author", "year"} <= set(reference.fields)
    assert {"journal", "booktitle", "howpublished", "eprint"} & set(reference.fields)
    doi = str(reference.fields.get("doi", "10.1/x"))
    assert re.fullmatch(r"10\.\d+/\S+", doi) or doi == "10.1/x"
    assert re.search(r"\d{4}$", reference.key)[0] == str(reference.fields["year"])


def test_what_no_work_is_known_for_is_named():
    text = bibliography(record("workflow", "training set mine", "comparison ours"), REFERENCES)
    assert "not known here: training set mine, comparison ours." in text
    assert "not known" not in bibliography(record("workflow", "emulator"), REFERENCES)


def test_a_simulated_run_says_that_there_are_methods_alone():
    assert "methods alone" in bibliography(record("workflow", SIMULATED), REFERENCES)


def test_two_works_of_one_key_are_refused(tmp_path):
    content = yaml.safe_load(REFERENCES_PATH.read_text())
    content["references"].append(content["references"][0])
    (tmp_path / "references.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="two references have the key Wang2022"):
        load_references(tmp_path / "references.yaml")


def test_the_command_writes_what_a_run_used(tmp_path):
    path = tmp_path / Layout.provenance
    path.parent.mkdir(parents=True)
    path.write_text(record("workflow", "library stelib").text())
    assert "@article{LeBorgne2003," in lamostvac("cite", str(tmp_path))
    lamostvac("cite", str(tmp_path), "-o", str(tmp_path / "a.bib"))
    assert "@article{LeBorgne2003," in (tmp_path / "a.bib").read_text()
    assert "does not exist" in lamostvac("cite", str(tmp_path / "nowhere"), code=1)
