"""Training of ensembles by Adam with early stopping, all members in one TensorFlow model."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lamostvac.core.progress import Progress
from lamostvac.networks.problem import Array, Problem, noise_factors
from lamostvac.networks.settings import NetworkTraining

# It must be set before the first import of TensorFlow, which otherwise prints a page of text in
# every job.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_HUBER = 1.0  # errors beyond this, in units of the scaled label, count linearly


def tensorflow() -> Any:
    """TensorFlow on one thread, imported in about half the time, and without what it says then.

    With more threads sums are split differently and the last digits change; labels are trained in
    parallel in jobs of their own, which uses the cores better than threads in one small network.
    Variables of the environment would not do: a forked script has its own, and TensorFlow looks at
    them when it first computes.

    Keras imports scikit-learn and Matplotlib, if they are installed, for wrappers and plots that
    nothing here uses; that takes as long as all other imports, so they are hidden from it.
    """
    absent = [name for name in ("sklearn", "matplotlib") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        with _silent_unless_it_fails():
            import tensorflow
    finally:
        for name in absent:
            del sys.modules[name]
    _use_one_thread(tensorflow)
    return tensorflow


def _use_one_thread(tensorflow: Any) -> None:
    """Give TensorFlow one thread, or warn that it has computed with another number before."""
    threading = tensorflow.config.threading
    try:
        threading.set_intra_op_parallelism_threads(1)
        threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        warnings.warn(
            "TensorFlow has computed in this process before lamostvac could give it one thread: "
            "the last digits of networks trained here depend on the number of cores.",
            stacklevel=3,
        )


@contextmanager
def _silent_unless_it_fails() -> Iterator[None]:
    """Show what is written to standard error inside, by compiled code too, after an exception only.

    TensorFlow's libraries say which instructions they use before its own setting counts.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(screen, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)


def _members_model(inputs: int, layers: Sequence[int], members: int, seed: int) -> Any:
    """A Keras model (n, inputs) -> (members, n) of networks that share only the input."""
    tf = tensorflow()
    import keras

    class Members(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """A dense layer for each member; the first one sees the shared input."""

        def __init__(self, n_in: int, n_out: int, number: int, last: bool) -> None:
            super().__init__(name=f"layer{number}")
            self.first, self.last = number == 0, last
            limit = np.sqrt(6 / (n_in + n_out))  # Glorot & Bengio (2010)
            # Each member has its own stream, so that it does not depend on their number.
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


def optimise(
    problem: Problem, settings: NetworkTraining, seed: int, log: logging.Logger | None
) -> tuple[tuple[Array, ...], tuple[Array, ...], dict[str, Array]]:
    """Weights and biases by layer, the first one's on the problem's projection, and learning curves."""
    tf = tensorflow()

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
            # A sum over members, so that none depends on how many others there are.
            loss = tf.reduce_sum(losses) / batch
        adam.step(tape.gradient(loss, variables), rate)
        return tf.reduce_sum(losses, axis=1)

    forward = tf.function(model, autograph=False)
    generator = np.random.default_rng([seed, 1])
    steps = -(-n // batch)
    # Validation uses the spectra as they are and, when noise is added, fixed noisy copies as well.
    copies = [project(flux)]
    if augment:
        factor = noise_factors(problem.snr, settings.augmentation_snr, generator)
        draw = generator.standard_normal(problem.flux.shape, dtype=np.float32)
        noisy = problem.flux + factor[:, None] * problem.noise * draw
        copies.append(project(tf.constant(noisy)))
    kept = problem.kept / problem.kept.sum(axis=1, keepdims=True)
    curves = np.full((2, members, settings.epochs), np.nan, np.float32)
    lowest, last = np.full(members, np.inf), np.zeros(members, int)
    progress = Progress(log, settings.epochs, "epochs") if log else None
    for epoch in range(settings.epochs):
        rate = settings.learning_rate * 0.5 * (1 + np.cos(np.pi * epoch / settings.epochs))
        order = generator.permutation(n).astype(np.int32)
        # The last batch is filled with the first rows, so that all have the same size.
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
            (huber(forward(copy).numpy() - problem.target) * kept).sum(axis=1) for copy in copies
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
    history = {"loss": curves[0, :, : epoch + 1], "validation": curves[1, :, : epoch + 1]}
    return tuple(kernels), tuple(biases), history


class _Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay, by TensorFlow's fused kernel.

    Keras' own optimiser makes a dozen passes over the weights, this one makes a single pass; with
    small batches these passes take most of the time.
    """

    def __init__(self, variables: list[Any], weight_decay: float) -> None:
        tf = tensorflow()

        self.variables = [variable.value for variable in variables]
        self.decay = weight_decay
        self.first = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
        self.second = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
        self.power = [tf.Variable(0.9), tf.Variable(0.999)]

    def step(self, gradients: list[Any], rate: Any) -> None:
        """One step at a learning rate."""
        tf = tensorflow()

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
    """Half the square up to 1, linear beyond, so that wrong labels hardly bias the network."""
    tf = tensorflow()

    size = tf.abs(error)
    return tf.where(size < _HUBER, 0.5 * error * error, _HUBER * (size - 0.5 * _HUBER))


def huber(error: Array) -> Array:
    size = np.abs(error)
    return np.where(size < _HUBER, 0.5 * error * error, _HUBER * (size - 0.5 * _HUBER))
