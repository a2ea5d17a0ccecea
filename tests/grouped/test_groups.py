"""From chunks to groups and back: every star once, and nothing depends on how a release was cut."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from toy import BUILD, toy_labels, toy_library, toy_spectra

from lamostvac.core.exceptions import UserError
from lamostvac.emulator.model import build_emulator
from lamostvac.fit import fitter as starfit
from lamostvac.fit import refine
from lamostvac.grouped import groups as grouping
from lamostvac.grouped.groups import (
    GroupedStars,
    batch_groups,
    batch_names,
    fit_at,
    gather,
    group_status,
    order_of,
    read_first_matches,
    read_labels,
    read_order,
    write_labels,
    write_order,
)
from lamostvac.grouped.search import GroupFit, label_limits
from lamostvac.library.library import read_library_labels, write_library

pytestmark = pytest.mark.numeric

LIBRARY = toy_library(40)
LABELS = LIBRARY.label_array()


@pytest.fixture(scope="module")
def emulator():
    return build_emulator(LIBRARY, [], BUILD)


def release(n=50, cuts=(20, 20, 31)):
    """Names and first matches of n stars, cut into chunks; many share their first match."""
    rng = np.random.default_rng(0)
    names = rng.permutation([f"55000-plan-01-{i:03d}" for i in range(n)]).astype("S")
    matches = rng.integers(0, 6, n)
    return np.split(names, cuts), np.split(matches, cuts)


def test_candidates_of_other_spectra_are_refused(tmp_path):
    names = np.array([b"one", b"two", b"three"])
    with h5py.File(tmp_path / "project.h5", "w") as handle:
        handle["spectra/spectrum_id"] = names
    for path, others in (("same.h5", names), ("other.h5", names[::-1]), ("none.h5", None)):
        with h5py.File(tmp_path / path, "w") as handle:
            handle["candidates"] = np.arange(12).reshape(3, 4)
            if others is not None:
                handle["spectrum_id"] = others
    found, first = read_first_matches(tmp_path / "project.h5", tmp_path / "same.h5")
    assert found.tolist() == names.tolist()
    assert first.tolist() == [0, 4, 8]
    for path in ("other.h5", "none.h5"):
        with pytest.raises(UserError, match="has other spectra than"):
            read_first_matches(tmp_path / "project.h5", tmp_path / path)


@pytest.mark.parametrize("n_stars", [0, 1, 6, 7, 20, 21])
def test_jobs_have_all_groups_once_also_when_there_are_fewer_than_expected(n_stars):
    names = batch_names(-(-21 // 3), 2)
    assert names == ["0000", "0001", "0002", "0003"]
    jobs = [batch_groups(n_stars, 3, 2, int(name)) for name in names]
    groups = [group for job in jobs for group in job]
    assert [number for number, _ in groups] == list(range(-(-n_stars // 3)))
    assert [i for _, rows in groups for i in range(rows.start, rows.stop)] == list(range(n_stars))
    assert all(len(job) <= 2 for job in jobs)
    assert batch_names(0, 2) == []


def test_the_order_does_not_depend_on_the_cut_into_chunks():
    orders = []
    for cuts in ((), (20, 20, 31), (1, 49), tuple(range(1, 50))):
        names, matches = release(cuts=cuts)
        chunks = [f"{i:04d}" for i in range(len(names))]
        order = order_of(chunks, names, matches, LABELS)
        assert all(
            names[c][r] == name
            for c, r, name in zip(order.chunk, order.row, order.spectrum_id, strict=True)
        )
        orders.append(order.spectrum_id.tolist())
    assert orders.count(orders[0]) == 4
    names, matches = release(cuts=())
    by_name = dict(zip(names[0].tolist(), matches[0].tolist(), strict=True))
    assert orders[0] == sorted(by_name, key=lambda name: (*LABELS[by_name[name]], name))


def test_order_and_labels_survive_their_files_and_come_back_chunk_by_chunk(tmp_path):
    names, matches = release()
    chunks = ["0000", "0001", "0002", "0003"]
    order = order_of(chunks, names, matches, LABELS)
    write_order(tmp_path / "order.h5", order)
    again = read_order(tmp_path / "order.h5")
    assert again.chunks == order.chunks
    for name in ("chunk", "row", "spectrum_id"):
        np.testing.assert_array_equal(getattr(again, name), getattr(order, name))
    number = np.array([int(name[-3:]) for name in order.spectrum_id], dtype=float)
    found = GroupedStars(
        labels=number[:, None] + [0.1, 0.2],
        first=number[:, None] + [0.3, 0.4],
        chi2=number,
        chi2_first=number + 1,
        fit_group=(np.arange(50) // 7).astype(np.int32),
        fit_status=np.zeros(50, np.int8),
        n_iterations=np.full(50, 3, np.int32),
    )
    write_labels(tmp_path / "labels.h5", order, found, ("teff", "logg"))
    for chunk, expected in zip(chunks, names, strict=True):
        identifiers = [name.decode() for name in expected]
        stars = read_labels(tmp_path / "labels.h5", chunk, identifiers)
        assert stars.chi2.tolist() == [float(name[-3:]) for name in identifiers]
        np.testing.assert_array_equal(stars.labels, stars.chi2[:, None] + [0.1, 0.2])
    with pytest.raises(UserError, match="does not have the spectra of chunk 0002; delete it"):
        read_labels(tmp_path / "labels.h5", "0002", ["nobody"])
    with pytest.raises(UserError, match="chunk 0009"):
        read_labels(tmp_path / "labels.h5", "0009", ["nobody"])


def test_rows_are_gathered_in_any_order(tmp_path):
    data = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    parts = np.split(data, [12, 12])
    paths = [str(tmp_path / f"{i}.h5") for i in range(3)]
    for path, part in zip(paths, parts, strict=True):
        with h5py.File(path, "w") as handle:
            handle["group/values"] = part
    wanted = np.random.default_rng(2).permutation(30)[:21]
    chunk = np.where(wanted < 12, 0, 2)
    found = gather(paths, "group/values", chunk, np.where(wanted < 12, wanted, wanted - 12))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, data[wanted])
    assert gather(paths, "group/values", chunk[:0], wanted[:0]).shape == (0, 4)


def test_status_tells_limits_and_searches_without_an_end(emulator):
    low, high = label_limits(emulator, 0.05)
    middle = (low + high) / 2
    labels = np.stack([middle, np.where([True, False, False], low, middle), high])
    empty = np.empty(3)
    fit = GroupFit(labels, empty, empty, empty, empty, 3, 5, True)
    assert group_status(emulator, fit, 0.05).tolist() == [
        refine.CONVERGED,
        refine.EDGE,
        refine.EDGE,
    ]
    assert (
        group_status(emulator, replace(fit, settled=False), 0.05).tolist()
        == [refine.NO_PROGRESS] * 3
    )


def grouped_stars(labels, first):
    n = len(labels)
    return GroupedStars(
        labels,
        first,
        np.zeros(n),
        np.zeros(n),
        np.arange(n),
        np.full(n, refine.EDGE, np.int8),
        np.full(n, 9),
    )


def test_grouped_labels_stay_and_get_the_errors_that_a_fit_has_there(emulator):
    rng = np.random.default_rng(3)
    truth = toy_labels(8, seed=5) * [1, 0.8, 0.8]
    flux = toy_spectra(truth) + rng.normal(0, 0.01, (8, 4901))
    ivar = np.where(rng.random(flux.shape) < 0.1, 0.0, 1e4)
    settings = starfit.FitSettings(outlier_sigma=0.0)
    fitted = starfit.StarFitter(emulator, settings).fit(flux, ivar, "G", truth[:, None])
    stars = grouped_stars(fitted.labels, truth)
    fitter = starfit.StarFitter(emulator, settings.at_given_labels())
    still = fit_at(fitter, flux, ivar, stars, "G")
    np.testing.assert_array_equal(still.labels, fitted.labels)
    # At the labels where the fit ended stand the errors and the misfit that it ended with.
    np.testing.assert_allclose(still.errors, fitted.errors, rtol=1e-6)
    np.testing.assert_allclose(still.chi2, fitted.chi2, rtol=1e-6)
    np.testing.assert_allclose(still.chi2_first, fitted.chi2_first, rtol=1e-9)
    assert (still.status == refine.EDGE).all()
    assert (still.n_iterations == 9).all()
    nobody = fit_at(fitter, flux[:0], ivar[:0], stars[:0], "G")
    assert len(nobody.status) == len(nobody.chi2_first) == 0


def test_labels_of_a_library_can_be_read_alone(tmp_path):
    write_library(LIBRARY, tmp_path / "library.h5")
    np.testing.assert_array_equal(read_library_labels(tmp_path / "library.h5"), LABELS)


def test_a_slice_of_stars_is_a_slice_of_everything():
    stars = grouped_stars(np.arange(12.0).reshape(4, 3), np.zeros((4, 3)))
    part = stars[1:3]
    assert part.fit_group.tolist() == [1, 2]
    assert all(len(getattr(part, name)) == 2 for name in grouping.STAR_FIELDS)
