"""Errors of a type's labels: random from repeats, systematic from stars of known labels.

Liang+ 2024 section 4.3: error^2 = systematic^2 + random^2 (equation 5), each a Gaussian process
(equation 6, `lamostvac.uncertainty.scale_process`). In the model `published` the processes give the
errors themselves, from labels and S/N alone. In the model `calibrated` they correct the errors
predicted for each star:

- emulator: repeats correct the random part of the fit's error (noise and calibration, with the
  star's own mask and ivar), the library's cross-validation corrects the rest (emulator, prior);
- networks: repeats correct the excess of the error at the spectrum's S/N over that of the best
  spectra, training stars left out correct the rest.

Everything about a type is learned from that type's stars, so that a run of one type and a run of
all types give the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.hdf5 import read_text, read_texts, write_attributes
from lamostvac.spectra.names import values_at
from lamostvac.uncertainty.repeats import RepeatPairs
from lamostvac.uncertainty.scale_process import (
    Bases,
    ScaleProcess,
    Scaling,
    read_process,
    scaling_of,
    train,
    write_process,
)

Array = NDArray[np.float64]
Kind = Literal["published", "calibrated"]

# With fewer stars of known labels of a type, those of all types are used, without the dependence on
# labels.
MIN_STARS = 30


@dataclass(frozen=True)
class Residuals:
    """Differences that a process learns from.

    Attributes
    ----------
    theta : (n, k) labels that the scale depends on
    residual : (n,)
    random, systematic : (n,) predicted parts of the error
    snr : (n,), NaN where unknown
    known : (n,) error of the value that the label is compared with
    weight : (n,) how much each counts, at most 1
    """

    theta: Array
    residual: Array
    random: Array
    systematic: Array
    snr: Array
    known: Array
    weight: Array

    def __len__(self) -> int:
        return len(self.residual)


@dataclass(frozen=True)
class LabelErrors:
    """The two processes of one label.

    Attributes
    ----------
    kind : whether the processes give errors or correct predicted ones
    theta : names of the labels that they depend on
    snr_band : column of the S/N that they depend on
    random, systematic : the processes of both parts, the first with S/N, the second without
    status : column that is CONVERGED where the labels of `theta` may be used
    """

    label: str
    kind: Kind
    theta: tuple[str, ...]
    snr_band: str
    random: ScaleProcess
    systematic: ScaleProcess
    status: str = "fit_status"

    @property
    def processes(self) -> tuple[ScaleProcess, ScaleProcess]:
        """Of the random part and of the systematic one."""
        return self.random, self.systematic

    def apply(
        self,
        theta: NDArray[np.floating],
        snr: NDArray[np.floating],
        random: NDArray[np.floating],
        systematic: NDArray[np.floating],
    ) -> tuple[Array, Array]:
        """Error (n,) and its random part (n,).

        Parameters
        ----------
        theta : (n, k) labels in the order of `theta`
        snr : (n,) in `snr_band`
        random, systematic : (n,) predicted parts; the published model does not use them

        A star whose labels or S/N are missing keeps the predicted parts.
        """
        factors = [
            process.factor_of_error(theta[:, : len(process.scaling.names)], snr)
            for process in self.processes
        ]
        return self.corrected(factors[0], factors[1], random, systematic)

    def corrected(
        self,
        random_factor: NDArray[np.floating],
        systematic_factor: NDArray[np.floating],
        random: NDArray[np.floating],
        systematic: NDArray[np.floating],
    ) -> tuple[Array, Array]:
        """As `apply`, with the factors (n,) of both processes, NaN where there is none."""
        parts = []
        for factor, predicted in ((random_factor, random), (systematic_factor, systematic)):
            base = np.asarray(predicted, np.float64)
            corrected = factor * (
                base if self.kind == "calibrated" else np.where(np.isnan(base), np.nan, 1.0)
            )
            parts.append(np.where(np.isfinite(factor), corrected, base))
        return np.hypot(*parts), parts[0]


def pair_residuals(
    label: NDArray[np.floating],
    theta: NDArray[np.floating],
    random: NDArray[np.floating],
    pairs: RepeatPairs,
) -> Residuals:
    """Residuals of repeat observations over sqrt 2 (Liang+ 2024 Fig. 10), about 0.

    Parameters
    ----------
    label, random : (n,) of all spectra; theta : (n, k)

    The scale is learned at the mean labels of the two spectra.
    """
    earlier, later = pairs.earlier, pairs.later
    return Residuals(
        theta=0.5 * (theta[earlier] + theta[later]).astype(np.float64),
        residual=pairs.residual(label),
        random=np.hypot(random[earlier], random[later]).astype(np.float64) / np.sqrt(2.0),
        systematic=np.zeros(len(pairs)),
        snr=pairs.snr,
        known=np.zeros(len(pairs)),
        weight=pairs.weight,
    )


def learn(
    label: str,
    theta: Sequence[str],
    kind: Kind,
    snr_band: str,
    repeats: Residuals,
    known: Residuals,
    bases: Bases | None = None,
    status: str = "fit_status",
    amplitudes: Sequence[float] | None = None,
) -> LabelErrors:
    """Both processes of a label.

    Parameters
    ----------
    theta : names of the columns of `repeats.theta` and `known.theta`
    snr_band : column of the S/N that `repeats` and `known` have
    repeats : `pair_residuals`
    known : label minus true label of the library's or of training stars; with fewer than
        `MIN_STARS` of them with theta there is no dependence on labels; without any
        (networks from elsewhere) theta has no columns
    bases : of labels before, which may have learned from the same stars
    status : column that is CONVERGED where the labels of `theta` may be used
    amplitudes : of the processes, see `scale_process.train`
    """
    if not len(known.residual):
        known = replace(known, theta=np.empty((0, len(theta))))
    calibrated = kind == "calibrated"
    names = tuple(theta)
    scaling = _scaling(repeats.theta, names, 1, repeats.snr)
    random = train(
        scaling,
        repeats.theta[:, : len(scaling.names)],
        repeats.residual,
        repeats.snr,
        repeats.random if calibrated else None,
        weight=repeats.weight,
        bases=bases,
        amplitudes=amplitudes,
    )
    scaling = _scaling(known.theta, names, MIN_STARS)
    part = known.theta[:, : len(scaling.names)]
    if calibrated:
        # The random part as corrected by repeats, where S/N is known.
        factor = random.factor_of_error(known.theta[:, : len(random.scaling.names)], known.snr)
        noise = known.random * np.where(np.isfinite(factor), factor, 1.0)
        other = np.hypot(noise, known.known)
        systematic = train(
            scaling, part, known.residual, base=known.systematic, known=other, weight=known.weight,
            bases=bases, amplitudes=amplitudes,
        )  # fmt: skip
    else:
        systematic = train(scaling, part, known.residual, weight=known.weight, bases=bases)
    return LabelErrors(label, kind, names, snr_band, random, systematic, status)


def _scaling(theta: Array, names: tuple[str, ...], least: int, snr: Array | None = None) -> Scaling:
    """The scaling of labels (and S/N), without labels if fewer than `least` stars have them."""
    usable = (
        np.isfinite(theta).all(axis=1)
        if snr is None
        else np.isfinite(theta).all(axis=1) & (snr > 0)
    )
    return (
        scaling_of(theta, names, snr) if usable.sum() >= least else scaling_of(np.zeros((1, 0)), ())
    )


def library_residuals(
    table: pd.DataFrame, spectral_type: str, label: str, theta: Sequence[str]
) -> Residuals:
    """Residuals of a label in the emulator's cross-validation for a spectral type.

    Parameters
    ----------
    table : from `fit.crossvalidation.cross_validate`

    Only stars of the type are used, or all where there are fewer than `MIN_STARS`; of several
    spectra of a star only the first, since their residuals are alike. Their labels are those of the
    fit, as for the survey. A label that the library does not have gives no rows.
    """
    if label not in table:
        none = np.empty(0)
        return Residuals(np.empty((0, len(theta))), none, none, none, none, none, none)
    star = table["id"].astype(str).str.split("_").str[0]
    table = table[~star.duplicated()]
    members = table[table["spectral_type"] == spectral_type]
    few = len(members) < MIN_STARS
    members = table if few else members
    points = members[list(theta)].to_numpy(np.float64)
    error, random, noise = (
        members[f"{label}_{part}"].to_numpy(np.float64) for part in ("err", "err_random", "noise")
    )
    return Residuals(
        theta=np.full_like(points, np.nan) if few else points,
        residual=(members[label] - members[f"{label}_true"]).to_numpy(np.float64),
        random=noise,
        systematic=systematic_part(error, random),
        snr=np.full(len(members), np.nan),
        known=members[f"{label}_true_err"].fillna(0.0).to_numpy(np.float64),
        weight=np.ones(len(members)),
    )


def left_out_residuals(
    table: pd.DataFrame, rows: NDArray[np.integer], labels: NDArray[np.floating]
) -> Residuals:
    """Residuals of a network's training stars by the members that were not trained on them.

    Parameters
    ----------
    table : (n,) `star reference reference_err left_out snr random systematic` of all types
    rows : (n,) row of each among the spectra of the type, -1 for those of other types
    labels : (m, k) of the spectra of the type, on which scales depend

    Only stars of the type are used, or all where there are fewer than `MIN_STARS`.
    """
    usable = np.isfinite(table["left_out"]) & np.isfinite(table["reference"])
    table, rows = table[usable], rows[usable]
    here = rows >= 0
    points = np.full((len(rows), labels.shape[1]), np.nan)
    if here.sum() >= MIN_STARS:
        table, points = table[here], values_at(labels, rows[here])
    return Residuals(
        theta=points,
        residual=(table["left_out"] - table["reference"]).to_numpy(np.float64),
        random=table["random"].to_numpy(np.float64),
        systematic=table["systematic"].to_numpy(np.float64),
        snr=table["snr"].to_numpy(np.float64),
        known=table["reference_err"].fillna(0.0).to_numpy(np.float64),
        weight=1.0 / table["star"].map(table["star"].value_counts()).to_numpy(np.float64),
    )


def systematic_part(error: NDArray[np.floating], random: NDArray[np.floating]) -> Array:
    """The part of an error (n,) that is not random (n,)."""
    error, random = np.asarray(error, np.float64), np.asarray(random, np.float64)
    return np.asarray(np.sqrt(np.maximum(error**2 - random**2, 0.0)))


def write_errors(group: h5py.Group, errors: Mapping[str, LabelErrors]) -> None:
    """Write the models of several labels."""
    for label, model in errors.items():
        place = group.create_group(label)
        texts = {"kind": model.kind, "snr_band": model.snr_band, "status": model.status}
        write_attributes(place, {**texts, "theta": list(model.theta)})
        write_process(place.create_group("random"), model.random)
        write_process(place.create_group("systematic"), model.systematic)


def read_errors(group: h5py.Group) -> dict[str, LabelErrors]:
    """The models that `write_errors` wrote; `ValueError` where the group has none."""
    return {label: _read_label(place, label) for label, place in group.items()}


def _read_label(place: h5py.Group, label: str) -> LabelErrors:
    kind = read_text(place.attrs, "kind")
    if kind not in get_args(Kind):
        raise ValueError(f"the model of {label} is {kind}")
    theta = read_texts(place.attrs, "theta")
    parts = {}
    for part in ("random", "systematic"):
        if not isinstance(place.get(part), h5py.Group):
            raise ValueError(f"the model of {label}: {part} is missing")
        parts[part] = read_process(place[part])
        names = parts[part].scaling.names
        if names != theta[: len(names)]:
            raise ValueError(f"the model of {label}: {part} depends on {names}, not on {theta}")
    band, status = (read_text(place.attrs, name) for name in ("snr_band", "status"))
    return LabelErrors(label, cast(Kind, kind), theta, band, **parts, status=status)


def summary(errors: Mapping[str, LabelErrors], spectral_type: str) -> list[dict[str, Any]]:
    """A row for each label: data of its processes, and their factors for a typical star's
    errors.
    """
    rows = []
    for label, model in errors.items():
        row: dict[str, Any] = {"type": spectral_type, "label": label, "model": model.kind}
        for name, process in (("random", model.random), ("systematic", model.systematic)):
            row |= {
                f"n_{name}": process.n,
                f"factor_{name}": float(np.exp(process.mean[0])),
                f"length_scale_{name}": process.length_scale,
                f"amplitude_{name}": process.amplitude,
            }
        rows.append(row)
    return rows
