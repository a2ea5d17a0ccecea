"""What is promised of numbers computed in another company, in other chunks or by another kernel of BLAS.

Same files, settings and chunks give the same bytes on one machine type. Otherwise the last bits of a matrix product
depend on how many rows stand in it and on the processor: OpenBLAS's kernels for Haswell and Zen take another way
through a product's last rows. What follows from that has to be far below what a label is known to: a thousandth of
its stated error. A flag is a threshold, and a star that stands on it within that margin may fall on either side.
"""

import numpy as np
import pandas as pd

SHARE = 1e-3  # of a label's stated error
ON_A_THRESHOLD = (
    0.005  # largest share of stars that may lie within the margin of one of the many thresholds
)
# The end of a search is a decision too (docs/reproducibility.md).
_DECISIONS = ("flag_", "flags", "n_outliers", "n_iterations", "fit_status", "cloud_")
_ENDS = ("_source", "_sources")


def assert_same_labels(found, expected, errors, share: float = SHARE) -> None:
    """Labels (n, d) agree to `share` of their errors (n, d); missing ones are missing in both."""
    found, expected, errors = (
        np.asarray(values, dtype=float) for values in (found, expected, errors)
    )
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    with np.errstate(invalid="ignore"):
        away = np.abs(found - expected) / errors
    assert not (away > share).any(), f"labels differ by up to {np.nanmax(away):.2g} of their errors"


def shift_in_errors(emulator, found, expected, scaled) -> np.ndarray:
    """By how many of their errors labels (n, d) move when one condensed spectrum replaces another.

    The minimum of f'Qf - 2 f'g moves by H^-1 J (dg - dQ f) with H = J Q J', to first order.
    """
    components, jacobian = emulator.process.predict_with_jacobian(scaled)
    hessian = jacobian @ expected.q @ jacobian.swapaxes(1, 2)
    covariance = np.linalg.inv(hessian)
    change = found.g - expected.g - np.matvec(found.q - expected.q, components)
    shift = np.matvec(covariance, np.matvec(jacobian, change))
    return np.abs(shift) / np.sqrt(np.einsum("nii->ni", covariance))


def assert_same_catalogue(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Two catalogues of the same spectra hold what is promised.

    Identities are the same; a number with an error agrees to a thousandth of it, as do the error and its parts;
    other numbers agree to a thousandth. Stars with another flag lay on a threshold and are few.
    """
    assert list(found.columns) == list(expected.columns)
    assert (found.dtypes == expected.dtypes).all()
    assert found["spectrum_id"].tolist() == expected["spectrum_id"].tolist()
    decided = [n for n in expected if n.startswith(_DECISIONS) or n.endswith(_ENDS)]
    moved = (found[decided] != expected[decided]).any(axis=1).to_numpy()
    assert moved.mean() <= ON_A_THRESHOLD, found.loc[moved, "spectrum_id"].tolist()
    found, expected = found[~moved], expected[~moved]
    for name in expected:
        if expected[name].dtype.kind != "f":
            assert found[name].tolist() == expected[name].tolist(), name
            continue
        values, others = found[name].to_numpy(float), expected[name].to_numpy(float)
        stem = name.removesuffix("_err_random").removesuffix("_err").removesuffix("_spread")
        error = (
            expected[f"{stem}_err"].to_numpy(float) if f"{stem}_err" in expected else np.abs(others)
        )
        np.testing.assert_array_equal(np.isnan(values), np.isnan(others), err_msg=name)
        with np.errstate(invalid="ignore"):
            margin = np.where(np.isnan(error), np.abs(others), error)
            away = np.nanmax(np.abs(values - others) - SHARE * margin, initial=-np.inf)
        assert away <= 1e-6, f"{name} differs by {away:.2g} more than a thousandth of its error"
