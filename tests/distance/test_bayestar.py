"""E(B-V) of a small map in the format of bayestar2019.h5, at each star's distance."""

import numpy as np
import pytest
from astropy import units
from astropy_healpix import HEALPix
from dust_map import COARSE, EDGES, FINE, rate, write_map

from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.distance.bayestar import ebv_at_distance
from lamostvac.run.context import resolve
from lamostvac.run.site import Site


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_map(tmp_path_factory.mktemp("map") / "bayestar2019.h5")


def test_the_value_is_that_of_the_pixel_interpolated_in_distance_modulus(path):
    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(0, 360, 2000), np.degrees(np.arcsin(rng.uniform(0.1, 1, 2000)))
    modulus = rng.uniform(4.1, 18.9, 2000)
    found = ebv_at_distance(path, lon, lat, 10 ** (modulus / 5 + 1), 0.884)
    pixel = {
        nside: HEALPix(nside, order="nested").lonlat_to_healpix(lon * units.deg, lat * units.deg)
        for nside in (COARSE, FINE)
    }
    fine = pixel[COARSE] == 0
    assert fine.any()
    expected = np.where(fine, rate(FINE, pixel[FINE]), rate(COARSE, pixel[COARSE])) * modulus
    inside = pixel[COARSE] < 4 * COARSE**2
    assert inside.sum() > 1000
    np.testing.assert_allclose(found[inside], 0.884 * expected[inside], rtol=2e-5)
    assert np.isnan(found[~inside]).all()
    assert (~inside).any()


def test_what_has_no_distance_or_pixel_has_no_reddening(path):
    lon, lat = np.full(6, 45.0), np.array([60.0, 60, 60, 60, 60, -60])
    distance = np.array([1000.0, np.nan, 0.0, -5.0, np.inf, 1000.0])
    found = ebv_at_distance(path, lon, lat, distance, 1.0)
    assert np.isfinite(found).tolist() == [True, False, False, False, False, False]
    assert ebv_at_distance(path, [], [], [], 1.0).shape == (0,)


def test_nearer_than_the_map_it_is_in_proportion_and_beyond_its_end_it_stays(path):
    ends = 10 ** (EDGES[[0, -1]] / 5 + 1)
    found = ebv_at_distance(path, [45.0] * 4, [60.0] * 4, [*ends, ends[0] / 2, 5 * ends[1]], 1.0)
    np.testing.assert_allclose(found[2:], [found[0] / 2, found[1]], rtol=1e-5)


def test_reading_it_says_nothing_and_needs_no_configuration_of_dustmaps(path, capsys):
    ebv_at_distance(path, [45.0], [60.0], [100.0], 1.0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda handle: handle.pop("best_fit"), "it has no dataset best_fit"),
        (lambda handle: handle["pixel_info"].attrs.pop("DM_bin_edges"), "DM_bin_edges"),
        (
            lambda handle: handle["pixel_info"].attrs.create("DM_bin_edges", EDGES[:7]),
            "shapes of its datasets do not fit",
        ),
        (
            lambda handle: handle["pixel_info"].attrs.create("DM_bin_edges", EDGES[::-1]),
            "its distances do not increase",
        ),
    ],
)
def test_a_file_that_is_not_the_map_is_refused_in_one_sentence(tmp_path, change, message):
    path = write_map(tmp_path / "map.h5", change)
    with pytest.raises(UserError, match=rf"^photometry\.bayestar: the map .*{message}"):
        ebv_at_distance(path, [0.0], [45.0], [100.0], 1.0)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(
        UserError, match=r"^photometry\.bayestar: the map .* cannot be read: .*null$"
    ):
        ebv_at_distance(path, [0.0], [45.0], [100.0], 1.0)


def test_a_map_that_is_not_there_is_named_before_any_job(path, tmp_path):
    def context(name):
        return resolve(load_configuration({"photometry": {"bayestar": str(name)}}), Site())

    assert context(path).dust_maps == [str(path)]
    with pytest.raises(UserError, match=r"^photometry\.bayestar: there is no file .*none\.h5"):
        context(tmp_path / "none.h5")
