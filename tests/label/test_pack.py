"""Model packs: what is written is read again, and nothing else is."""

import json
import zipfile

import pytest

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.fit.settings import FitSettings
from lamostvac.label.pack import CONTENT, Pack, PackSettings, write_pack
from lamostvac.spectra.settings import Preparation


@pytest.fixture
def settings() -> PackSettings:
    default = Configuration()
    return PackSettings.model_validate(
        {
            "name": "test",
            "simulated": True,
            "provenance": {"CREATOR": "lamost-vac"},
            "references": "@article{one}",
            **{name: getattr(default.survey, name) for name in ("types", "classes", "snr_band")},
            "snr_min": default.survey.snr_min,
            "max_abs_redshift": 0.01,
            "gaia_release": "",
            "prepare": default.prepare.part(Preparation),
            "networks": None,
            "fit": default.fit.part(FitSettings),
            "max_outlier_fraction": 0.5,
            "library": "mastar",
            "second": None,
            "emulators": [],
            "network_labels": [],
            "apply": {},
            "grids": {},
            "flags": {"alpha_max_teff": 7000.0, "cold_giant_logg": [2.0, 4.0]},
            "snr_thresholds": {"M": [10.0, 10.0]},
            "chi2": {"M": {"used": [0], "centre": [1.5], "scale": [0.1], "coefficients": [1, 2]}},
            "keep_errors": True,
            "definitions": [],
            "recommended": {"snr_band": "snrr"},
            "trained": [],
        }
    )


@pytest.fixture
def pack(tmp_path, settings):
    (tmp_path / "model").write_bytes(bytes(range(256)) * 100)
    write_pack(tmp_path / "a.lvpack", settings, {"networks/teff.h5": tmp_path / "model"})
    return tmp_path / "a.lvpack"


def rewritten(path, change):
    """The pack with members changed by a function of {name: bytes}."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    other = path.with_name("changed.lvpack")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return other


def test_a_pack_gives_back_what_went_into_it(pack, settings, tmp_path):
    with Pack(pack) as opened:
        assert opened.settings == settings
        assert opened.file("networks/teff.h5").read_bytes() == (tmp_path / "model").read_bytes()
        assert "networks/teff.h5" in opened
        assert "networks/logg.h5" not in opened


def test_equal_models_give_equal_bytes(pack, settings, tmp_path):
    write_pack(tmp_path / "b.lvpack", settings, {"networks/teff.h5": tmp_path / "model"})
    assert (tmp_path / "b.lvpack").read_bytes() == pack.read_bytes()


def test_temporary_files_are_gone_after_use(pack):
    with Pack(pack) as opened:
        file = opened.file("networks/teff.h5")
        assert file.exists()
    assert not file.exists()


def test_a_closed_pack_is_not_called_damaged(pack):
    with Pack(pack) as opened:
        pass
    with pytest.raises(UserError, match=r"was closed; label inside the `with` statement"):
        opened.file("networks/teff.h5")


def test_a_changed_member_is_found_when_it_is_read(pack):
    def change(members):
        members["networks/teff.h5"] = members["networks/teff.h5"][:-1] + b"x"

    with (
        Pack(rewritten(pack, change)) as opened,
        pytest.raises(UserError, match=r"damaged: networks/teff\.h5 is not what pack\.json says"),
    ):
        opened.file("networks/teff.h5")


@pytest.mark.parametrize("cut", [10, 1000, 20000])
def test_a_pack_that_was_cut_off_is_told(pack, cut):
    pack.write_bytes(pack.read_bytes()[:-cut])
    with pytest.raises(UserError, match=r"no model pack|damaged"):
        Pack(pack)


def test_a_member_that_is_missing_is_told(pack):
    with (
        Pack(rewritten(pack, lambda members: members.pop("networks/teff.h5"))) as opened,
        pytest.raises(UserError, match=r"damaged: networks/teff\.h5"),
    ):
        opened.file("networks/teff.h5")


def test_a_member_that_pack_json_does_not_list_is_not_read(pack):
    with (
        Pack(rewritten(pack, lambda members: members.update(more=b"x"))) as opened,
        pytest.raises(UserError, match="damaged: more is not what"),
    ):
        opened.file("more")


@pytest.mark.parametrize("number", [1, 9])  # relations in packs of format 1 have no shift
def test_a_pack_of_another_format_says_which_key_does_not_fit(pack, number):
    def change(members):
        content = json.loads(members[CONTENT])
        content["settings"]["format"] = f"lamost-vac pack {number}"
        members[CONTENT] = json.dumps(content).encode()

    with pytest.raises(UserError, match=r"another version .*settings\.format.*make it anew"):
        Pack(rewritten(pack, change))


def test_other_files_are_no_packs(tmp_path):
    with pytest.raises(UserError, match="there is no model pack"):
        Pack(tmp_path / "none.lvpack")
    (tmp_path / "text.lvpack").write_text("hello")
    with pytest.raises(UserError, match="is no model pack"):
        Pack(tmp_path / "text.lvpack")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(UserError, match=r"has no pack\.json"):
        Pack(tmp_path / "other.zip")
