"""Training of networks (Wang+ 2022 sections 2 and 3): Keras on TensorFlow, an ensemble per label.

The members of an ensemble are trained side by side in one model, each with its own first weights and its
own part of the stars kept for early stopping, so that every star is kept by some member. What goes beyond
the paper can be switched off: the ensemble, noise added to the training spectra so that the network learns
what a faint star looks like, and first layers that see the training set's leading principal components
instead of single pixels (folded back into weights of pixels afterwards, so that the trained network is the
published one in form).
"""

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lamostvac.core.exceptions import UserError
from lamostvac.core.progress import Progress
from lamostvac.networks import VERSION
from lamostvac.networks.domain import fit_cloud
from lamostvac.networks.ensemble import LabelScale, Network, to_learned
from lamostvac.networks.settings import NetworkTraining
from lamostvac.numerics.pca import leading_directions

# These must stand before the first import of TensorFlow, which otherwise greets every job with a page of text.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# One thread: with more, sums are cut up differently and the last digits change. Labels are trained side by
# side in jobs of their own, which uses the cores better than threads in one small network do.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

MIN_STARS = 20
ERROR_SNR = (5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 130.0, 200.0)

Array = NDArray[np.float32]

# A pixel that varies less than this in the training set says nothing; standardised, it would only add noise.
_MIN_SCALE = 1e-3
# Noise in units of the continuum beyond which a pixel is worthless anyway.
_MAX_NOISE = 0.5
_HUBER = 1.0


class TooFewStars(UserError):
    """A label that too few stars have to train on."""


@dataclass(frozen=True)
class TrainingSpectra:
    """What a network learns from: n spectra.

    Attributes
    ----------
    flux, ivar : (n, n_pixels) as `lamostvac.spectra.network_grid` makes them
    star : (n,) number of the star; spectra of one star are never on both sides of a division
    snr : (n,) S/N of the spectra
    """

    flux: Array
    ivar: Array
    star: NDArray[np.integer]
    snr: Array

    def take(self, rows: NDArray[Any]) -> "TrainingSpectra":
        """Some of the spectra."""
        return TrainingSpectra(self.flux[rows], self.ivar[rows], self.star[rows], self.snr[rows])


def parts_of(star: NDArray[np.integer], count: int, seed: int) -> NDArray[np.int64]:
    """Part (n,) of 0 to count - 1 for each star number (n,); as many stars in each as can be."""
    stars, inverse = np.unique(star, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(stars)) % count)[inverse]


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
) -> tuple[Network, Array]:
    """Train an ensemble for one label.

    Parameters
    ----------
    values : (n,) the label, NaN for spectra that do not take part
    wave, pixels : (n_pixels,) grid, and which of its pixels the network may see
    seed : of everything random; equal seeds give equal bytes, whatever the number of cores
    label_range : outside which the label is an extrapolation; None takes the training stars'

    Returns
    -------
    network
    left_out : (n,) the label of each spectrum by the members that kept its star for validation, NaN for
        spectra that no member kept

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
) -> tuple[Network, Array]:
    known = np.isfinite(values)
    stars = len(np.unique(spectra.star[known]))
    if stars < MIN_STARS or np.ptp(np.asarray(values)[known]) == 0:
        raise TooFewStars(
            f"{label}: {stars} stars with different labels are too few to train on; {MIN_STARS} are needed, so "
            "loosen the training set's cuts or take the label out of the set"
        )
    chosen = spectra.take(np.flatnonzero(known))
    problem = _Problem.of(np.asarray(values)[known], chosen, pixels, settings, seed, scale)
    weights, biases, history = _optimise(problem, settings, seed, log)
    finite = np.asarray(values, np.float64)[known]
    network = Network(
        label=label,
        wave=wave,
        pixels=pixels,
        flux_mean=problem.flux_mean,
        flux_scale=problem.flux_scale,
        label_mean=problem.label_mean,
        label_scale=problem.label_scale,
        label_kind=scale,
        label_range=label_range or (float(finite.min()), float(finite.max())),
        weights=weights,
        biases=biases,
        cloud=fit_cloud(problem.flux, problem.noise, problem.part, settings.cloud_quantile, seed),
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


# ---------------------------------------------------------------- the problem in numbers


@dataclass(frozen=True)
class _Problem:
    """Standardised spectra and label, and which member keeps which spectra."""

    flux: Array  # (n, p)
    noise: Array  # (n, p)
    target: Array  # (n,)
    snr: Array  # (n,)
    part: NDArray[np.int64]  # (n,)
    kept: NDArray[np.bool_]  # (members, n)
    projection: Array | None  # (p, c)
    flux_mean: Array
    flux_scale: Array
    label_mean: float
    label_scale: float

    @classmethod
    def of(
        cls,
        values: NDArray[np.floating],
        spectra: TrainingSpectra,
        pixels: NDArray[np.bool_],
        settings: NetworkTraining,
        seed: int,
        scale: LabelScale,
    ) -> "_Problem":
        good = spectra.ivar[:, pixels] > 0
        flux = spectra.flux[:, pixels]
        mean = flux.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = np.maximum(flux.std(axis=0, dtype=np.float64), _MIN_SCALE).astype(np.float32)
        scaled = (flux - mean) / spread
        noise = np.zeros_like(scaled)
        np.divide(1, np.sqrt(spectra.ivar[:, pixels]), out=noise, where=good)
        noise = np.minimum(noise, np.float32(_MAX_NOISE)) / spread
        learned = to_learned(values, scale)
        part = parts_of(spectra.star, max(2, round(1 / settings.validation_fraction)), seed)
        kept = np.array([part == member % (part.max() + 1) for member in range(settings.members)])
        return cls(
            flux=scaled,
            noise=noise,
            target=((learned - learned.mean()) / learned.std()).astype(np.float32),
            snr=np.maximum(spectra.snr, 1e-3).astype(np.float32),
            part=part,
            kept=kept,
            projection=_projection(scaled, settings.input_components),
            flux_mean=mean,
            flux_scale=spread,
            label_mean=float(learned.mean()),
            label_scale=float(learned.std()),
        )

    def left_out(self, predicted: Array) -> Array:
        """Mean (n,) of predictions (members, n) over the members that kept a spectrum, NaN without any."""
        count = self.kept.sum(axis=0)
        total = np.where(self.kept, predicted, 0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _projection(flux: Array, components: int) -> Array | None:
    """Leading principal directions (p, c), all scaled alike so that the first has unit variance; None for 0.

    Directions are not whitened: what hardly varies in the training set moves the first layer little and is
    learned last, and so early stopping keeps noise out.
    """
    if components == 0:
        return None
    basis, variance = leading_directions(flux, components, 1e-6)
    return np.asarray(basis.T / np.sqrt(variance[0]), np.float32)


def noise_factors(snr: Array, lowest: float, generator: np.random.Generator) -> Array:
    """By how much to multiply each spectrum's own noise (n,) and add it, to see it at a lower S/N.

    The S/N is drawn evenly in its logarithm between `lowest` and the spectrum's own.
    """
    low = np.log(np.minimum(lowest, snr))
    wanted = np.exp(low + generator.random(len(snr)) * (np.log(snr) - low))
    return np.sqrt(np.maximum((snr / wanted) ** 2 - 1, 0)).astype(np.float32)


# ---------------------------------------------------------------- the optimiser


def _tensorflow() -> Any:
    """TensorFlow, imported in about half the time.

    Keras imports scikit-learn and Matplotlib for wrappers and pictures that nothing here uses, which takes
    as long as all the rest; it goes without them where they are not installed.
    """
    absent = [name for name in ("sklearn", "matplotlib") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        import tensorflow
    finally:
        for name in absent:
            del sys.modules[name]
    return tensorflow


def _members_model(inputs: int, layers: tuple[int, ...], members: int, seed: int) -> Any:
    """A Keras model (n, inputs) -> (members, n): networks side by side that share nothing but the input."""
    tf = _tensorflow()
    import keras

    class Members(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """A dense layer for each member; the first one sees the shared input."""

        def __init__(self, n_in: int, n_out: int, number: int, last: bool) -> None:
            super().__init__(name=f"layer{number}")
            self.first, self.last = number == 0, last
            limit = np.sqrt(6 / (n_in + n_out))  # Glorot & Bengio (2010)
            # Each member has its own stream, so that it does not depend on how many there are.
            values = np.array(
                [
                    np.random.default_rng([seed, member, number]).uniform(
                        -limit, limit, (n_in, n_out)
                    )
                    for member in range(members)
                ],
                np.float32,
            )
            self.kernel = self.add_weight(
                shape=values.shape, initializer=lambda *_, **__: values, name="kernel"
            )
            self.bias = self.add_weight(shape=(members, 1, n_out), initializer="zeros", name="bias")

        def call(self, values: Any) -> Any:
            """(n, n_in) or (members, n, n_in) to (members, n, n_out)."""
            values = tf.matmul(values[None] if self.first else values, self.kernel) + self.bias
            return values[..., 0] if self.last else tf.nn.relu(values)

    sizes = [inputs, *layers, 1]
    return keras.Sequential(
        [
            Members(sizes[number], sizes[number + 1], number, number == len(layers))
            for number in range(len(sizes) - 1)
        ]
    )


def _optimise(
    problem: _Problem, settings: NetworkTraining, seed: int, log: logging.Logger | None
) -> tuple[tuple[Array, ...], tuple[Array, ...], dict[str, Array]]:
    """Weights and biases by layer, the first one's on pixels, and learning curves."""
    tf = _tensorflow()

    tf.config.experimental.enable_op_determinism()
    n, members = len(problem.target), settings.members
    projection = problem.projection
    inputs = problem.flux.shape[1] if projection is None else projection.shape[1]
    model = _members_model(inputs, settings.layers, members, seed)
    flux, noise = tf.constant(problem.flux), tf.constant(problem.noise)
    target = tf.constant(problem.target)
    weight = tf.constant((~problem.kept).astype(np.float32))
    matrix = None if projection is None else tf.constant(projection)

    def project(values: Any) -> Any:
        return values if matrix is None else tf.matmul(values, matrix)

    model(project(flux[:1]))
    variables = list(model.trainable_variables)
    best = [tf.Variable(value) for value in variables]
    adam = _Adam(variables, settings.weight_decay)
    augment = settings.augmentation_snr > 0
    batch = min(settings.batch_size, n)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # nor has TensorFlow
    def step(rows: Any, factor: Any, random: Any, rate: Any) -> Any:
        seen = tf.gather(flux, rows)
        if augment:
            draw = tf.random.stateless_normal(tf.shape(seen), random)
            seen += factor[:, None] * tf.gather(noise, rows) * draw
        seen = project(seen)
        with tf.GradientTape() as tape:
            losses = _huber(model(seen) - tf.gather(target, rows)) * tf.gather(weight, rows, axis=1)
            # A sum over members: none feels how many others there are.
            loss = tf.reduce_sum(losses) / batch
        adam.step(tape.gradient(loss, variables), rate)
        return tf.reduce_sum(losses, axis=1)

    forward = tf.function(lambda values: model(project(values)), autograph=False)
    generator = np.random.default_rng([seed, 1])
    steps = -(-n // batch)
    # Judged on the spectra as they are and, when noise is added, on fixed noisy copies as well.
    copies = [flux]
    if augment:
        factor = noise_factors(problem.snr, settings.augmentation_snr, generator)
        draw = generator.standard_normal(problem.flux.shape, dtype=np.float32)
        copies.append(tf.constant(problem.flux + factor[:, None] * problem.noise * draw))
    kept = problem.kept / problem.kept.sum(axis=1, keepdims=True)
    curves = np.full((2, members, settings.epochs), np.nan, np.float32)
    lowest, last = np.full(members, np.inf), np.zeros(members, int)
    progress = Progress(log, settings.epochs, "epochs") if log else None
    for epoch in range(settings.epochs):
        rate = settings.learning_rate * 0.5 * (1 + np.cos(np.pi * epoch / settings.epochs))
        order = generator.permutation(n).astype(np.int32)
        # The last batch is filled from the beginning, so that all have one size.
        order = np.concatenate([order, order[: steps * batch - n]])
        factor = (
            noise_factors(problem.snr, settings.augmentation_snr, generator)
            if augment
            else problem.snr
        )
        total = np.zeros(members)
        for number in range(steps):
            rows = order[number * batch : (number + 1) * batch]
            losses = step(
                tf.constant(rows),
                tf.constant(factor[rows]),
                tf.constant([seed % 2**31, epoch * steps + number]),
                tf.constant(rate, tf.float32),
            )
            total += losses.numpy()
        curves[0, :, epoch] = total / (steps * batch) / (1 - problem.kept.mean(axis=1))
        validation = sum(
            (_huber_numpy(forward(copy).numpy() - problem.target) * kept).sum(axis=1)
            for copy in copies
        ) / len(copies)
        curves[1, :, epoch] = validation
        better = validation < lowest
        lowest, last[better] = np.minimum(lowest, validation), epoch
        if better.any():
            mask = tf.constant(better.reshape(-1, 1, 1))
            for value, memory in zip(variables, best, strict=True):
                memory.assign(tf.where(mask, value, memory))
        if progress:
            progress.add()
        if (epoch - last >= settings.patience).all():
            break
    for value, memory in zip(variables, best, strict=True):
        value.assign(memory)
    if progress:
        progress.done()
    if log:
        log.info(
            "best epochs %s of %d, validation loss %s",
            " ".join(str(number + 1) for number in last),
            epoch + 1,
            " ".join(f"{value:.4f}" for value in lowest),
        )
    arrays = [value.numpy() for value in best]
    kernels, biases = arrays[::2], [array[:, 0] for array in arrays[1::2]]
    if projection is not None:
        kernels[0] = np.matmul(projection, kernels[0])
    history = {"loss": curves[0, :, : epoch + 1], "validation": curves[1, :, : epoch + 1]}
    return tuple(kernels), tuple(biases), history


class _Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay, by TensorFlow's fused kernel.

    Keras' own optimiser makes a dozen passes over the weights where this makes one; with small batches
    that is most of the time.
    """

    def __init__(self, variables: list[Any], weight_decay: float) -> None:
        tf = _tensorflow()

        self.variables = [variable.value for variable in variables]
        self.decay = weight_decay
        self.first = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
        self.second = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
        self.power = [tf.Variable(0.9), tf.Variable(0.999)]

    def step(self, gradients: list[Any], rate: Any) -> None:
        """One step at a learning rate."""
        tf = _tensorflow()

        for value, first, second, gradient in zip(
            self.variables, self.first, self.second, gradients, strict=True
        ):
            if self.decay:
                value.assign_sub(value * (rate * self.decay))
            tf.raw_ops.ResourceApplyAdam(
                var=value.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=self.power[0],
                beta2_power=self.power[1],
                lr=rate,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=gradient,
            )
        self.power[0].assign(self.power[0] * 0.9)
        self.power[1].assign(self.power[1] * 0.999)


def _huber(error: Any) -> Any:
    """Half the square up to 1, linear beyond: a few wrong labels must not bend the network."""
    tf = _tensorflow()

    size = tf.abs(error)
    return tf.where(size < _HUBER, 0.5 * error * error, _HUBER * (size - 0.5 * _HUBER))


def _huber_numpy(error: Array) -> Array:
    size = np.abs(error)
    return np.where(size < _HUBER, 0.5 * error * error, _HUBER * (size - 0.5 * _HUBER))


def _errors(problem: _Problem, network: Network, seed: int) -> tuple[Array, Array]:
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
        # All training spectra are noisier than the lowest level: what they give is all there is.
        difference = problem.left_out(network.outputs(problem.flux)) - problem.target
        levels, errors = [float(np.median(problem.snr))], [float(np.nanstd(difference))]
    return np.array(levels[::-1], np.float32), np.array(errors[::-1], np.float32)
