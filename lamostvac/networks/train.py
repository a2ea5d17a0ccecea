"""Training of networks (Wang+ 2022 sections 2 and 3): Keras on TensorFlow, an ensemble per label.

The members of an ensemble are trained together in one model, each with its own initial weights and
its own part of the stars kept for early stopping, so that every star is kept by some member. What
goes beyond the paper can be switched off: the ensemble, noise added to the training spectra so that
the network learns what a faint star looks like, and first layers that see the training set's
leading principal components instead of single pixels (`Network.pixel_weights` has the published
form).
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lamostvac.core.exceptions import UserError
from lamostvac.networks import VERSION
from lamostvac.networks.ensemble import LabelScale, Network
from lamostvac.networks.inputs import SetInputs, TrainingSpectra
from lamostvac.networks.optimise import optimise
from lamostvac.networks.problem import Array, Problem
from lamostvac.networks.settings import NetworkTraining

MIN_STARS = 20
ERROR_SNR = (5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 130.0, 200.0)


class TooFewStars(UserError):
    """Too few stars have the label to train a network."""


def check_stars(label: str, values: NDArray[np.floating], star: NDArray[np.integer]) -> int:
    """How many stars `star` (n,) have a label (n,); `TooFewStars` where they do not suffice."""
    known = np.isfinite(values)
    stars = len(np.unique(star[known]))
    if stars < MIN_STARS or np.ptp(np.asarray(values)[known]) == 0:
        raise TooFewStars(
            f"{label}: {stars} stars with different labels are too few to train on; {MIN_STARS} are needed, so "
            "loosen the training set's cuts or take the label out of the set"
        )
    return stars


def train_network(
    label: str,
    values: NDArray[np.floating],
    spectra: TrainingSpectra,
    wave: NDArray[np.float64],
    pixels: NDArray[np.bool_],
    settings: NetworkTraining,
    seed: int,
    label_range: tuple[float, float] | None = None,
    scale: LabelScale = "linear",
    attributes: Mapping[str, Any] | None = None,
    log: logging.Logger | None = None,
    inputs: SetInputs | None = None,
) -> tuple[Network, Array]:
    """Train an ensemble for one label.

    Parameters
    ----------
    values : (n,) the label, NaN for spectra that do not have it
    spectra : the n training spectra of the set
    wave, pixels : (n_pixels,) grid, and which of its pixels the network may see
    seed : of everything random; equal seeds give equal bytes, whatever the number of cores
    label_range : (low, high) outside which the label is an extrapolation; None takes the training
        stars' range
    inputs : what the label shares with the others of its set; None learns it from `spectra`, those
        without the label included

    Returns
    -------
    network
    left_out : (n,) the label of each spectrum by the members that kept its star for validation, NaN
        for spectra that no member kept

    Raises
    ------
    TooFewStars
        Fewer than `MIN_STARS` stars have the label, or all have the same.
    """
    with threadpool_limits(limits=1):
        return _train(
            label,
            values,
            spectra,
            wave,
            pixels,
            settings,
            seed,
            label_range,
            scale,
            attributes,
            log,
            inputs,
        )


def _train(
    label: str,
    values: NDArray[np.floating],
    spectra: TrainingSpectra,
    wave: NDArray[np.float64],
    pixels: NDArray[np.bool_],
    settings: NetworkTraining,
    seed: int,
    label_range: tuple[float, float] | None,
    scale: LabelScale,
    attributes: Mapping[str, Any] | None,
    log: logging.Logger | None,
    inputs: SetInputs | None,
) -> tuple[Network, Array]:
    known, stars = np.isfinite(values), check_stars(label, values, spectra.star)
    chosen = spectra.take(np.flatnonzero(known))
    inputs = inputs or SetInputs.of(spectra, pixels, settings, seed)
    problem = Problem.of(np.asarray(values)[known], chosen, inputs, settings, seed, scale)
    weights, biases, history = optimise(problem, settings, seed, log)
    finite = np.asarray(values, np.float64)[known]
    network = Network(
        label=label,
        wave=wave,
        pixels=inputs.pixels,
        flux_mean=inputs.flux_mean,
        flux_scale=inputs.flux_scale,
        projection=inputs.projection,
        label_mean=problem.label_mean,
        label_scale=problem.label_scale,
        label_kind=scale,
        label_range=label_range or (float(finite.min()), float(finite.max())),
        weights=weights,
        biases=biases,
        cloud=inputs.cloud,
        history=history,
        attributes={
            **(attributes or {}),
            "n_spectra": int(known.sum()),
            "n_stars": stars,
            "seed": seed,
            "code_version": VERSION,
            "augmentation_snr": settings.augmentation_snr,
            "validation_fraction": settings.validation_fraction,
        },
    )
    error_snr, error = _errors(problem, network, seed)
    network = replace(network, error_snr=error_snr, error=error)
    left_out = np.full(len(values), np.nan, np.float32)
    left_out[known] = problem.left_out(network.members(problem.flux))
    return network, left_out


def _errors(problem: Problem, network: Network, seed: int) -> tuple[Array, Array]:
    """`error_snr` and `error` of a network, from stars left out by its members.

    Noise is added to the spectra until they have the S/N. The error never falls with falling S/N.
    """
    levels: list[float] = []
    errors: list[float] = []
    for number, level in reversed(list(enumerate(ERROR_SNR))):
        rows = np.flatnonzero((problem.snr >= level) & problem.kept.any(axis=0))
        if len(rows) < MIN_STARS // 2:
            continue
        factor = np.sqrt((problem.snr[rows] / level) ** 2 - 1).astype(np.float32)
        draw = np.random.default_rng([seed, 2, number]).standard_normal(
            (len(rows), problem.flux.shape[1]), dtype=np.float32
        )
        seen = problem.flux[rows] + factor[:, None] * problem.noise[rows] * draw
        kept = problem.kept[:, rows]
        mean = np.where(kept, network.outputs(seen), 0).sum(axis=0) / kept.sum(axis=0)
        difference = mean - problem.target[rows]
        sigma = 1.4826 * np.median(np.abs(difference - np.median(difference)))
        levels.append(level)
        errors.append(max(float(sigma), errors[-1] if errors else 0.0))
    if not levels:
        # All training spectra are noisier than the lowest level: their own error is the only one.
        difference = problem.left_out(network.outputs(problem.flux)) - problem.target
        levels, errors = [float(np.median(problem.snr))], [float(np.nanstd(difference))]
    return np.array(levels[::-1], np.float32), np.array(errors[::-1], np.float32)
