"""Trained networks: one label, several members, and everything needed to apply them elsewhere.

A network maps the normalised spectrum of `lamostvac.spectra.network_grid` to one label
(Wang+ 2022 equation 1): layers of ReLU neurons, the last one linear. Its file is HDF5 without
pickled objects and holds the wavelength grid, the scales of flux and label, the label's range, the
training cloud, the learning curves and the weights of every member. Nothing here needs TensorFlow;
`keras_model` gives a member as a Keras model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import (
    Layout,
    atomic_hdf5,
    read_arrays,
    read_attributes,
    read_number,
    read_text,
    whole_file,
    write_attributes,
)
from lamostvac.networks.domain import TrainingCloud

FORMAT = "lamost-vac network 2"
# Those of the first format have no projection: their first layers see pixels.
_READABLE = ("lamost-vac network 1", FORMAT)
_LEAST_RANDOM = 0.3
_MOST_LAYERS = 100

Array = NDArray[np.float32]
LabelScale = Literal["linear", "reciprocal"]


def to_learned(label: NDArray[np.floating], scale: LabelScale) -> NDArray[np.float64]:
    """The quantity that a network learns for a label: itself, or -5040 / label (for Teff in K).

    Lines change with 1/T (Boltzmann, Saha): 100 K at 4000 K change a spectrum as much as 600 K do
    at 10000 K. On a linear scale hot stars would dominate the loss.
    """
    values = np.asarray(label, np.float64)
    return values if scale == "linear" else -5040.0 / values


def from_learned(learned: NDArray[np.floating], scale: LabelScale) -> NDArray[np.floating]:
    """The label of a learned quantity; NaN for a reciprocal of one that is not negative."""
    if scale == "linear":
        return learned
    with np.errstate(divide="ignore"):
        return np.where(learned < 0, -5040.0 / learned, np.nan).astype(learned.dtype)


@dataclass(frozen=True)
class Network:
    """An ensemble of networks for one label.

    Attributes
    ----------
    label : name of the label, a column of the catalogue
    wave : (n_pixels,) A, vacuum, rest frame: the grid of `NetworkPreparation`
    pixels : (n_pixels,) which of them the network sees; p is their number
    flux_mean, flux_scale : (p,) the standardisation of the input
    projection : (p, c) directions along which the first layers see the standardised flux, the same
        for all labels of a training set (`inputs.py`); None where they see pixels, as published
    label_kind : linear, or reciprocal when the network learns -5040 / label (Teff)
    label_mean, label_scale : the standardisation of what is learned
    label_range : (low, high) outside which the label is an extrapolation
    weights, biases : per layer, (members, n_in, n_out) and (members, n_out); the first n_in is c,
        or p without a projection
    cloud : where the training spectra lie
    error_snr, error : S/N levels, and at each the robust standard deviation of standardised output
        minus label for stars left out of training, with noise added to reach that S/N; it includes
        the errors of the training set's labels. `label_error` gives it in the label's unit
    history : learning curves, `loss` and `validation` (members, epochs), NaN after the end
    attributes : training set, unit, seed, number of stars, version of the code and the like;
        `preparation` says how the training spectra were prepared (`agreement.py`)
    """

    label: str
    wave: NDArray[np.float64]
    pixels: NDArray[np.bool_]
    flux_mean: Array
    flux_scale: Array
    label_mean: float
    label_scale: float
    label_range: tuple[float, float]
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    cloud: TrainingCloud
    projection: Array | None = None
    label_kind: LabelScale = "linear"
    error_snr: Array = field(default_factory=lambda: np.ones(1, np.float32))
    error: Array = field(default_factory=lambda: np.full(1, np.nan, np.float32))
    history: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_members(self) -> int:
        """Networks in the ensemble."""
        return len(self.weights[0])

    @property
    def layers(self) -> tuple[int, ...]:
        """Neurons of the hidden layers."""
        return tuple(weight.shape[2] for weight in self.weights[:-1])

    def standardise(self, flux: Array, ivar: Array) -> tuple[Array, Array]:
        """Standardised flux and noise (n, p) of spectra (n, n_pixels); noise 0 where ivar is 0."""
        weight = ivar[:, _span(self.pixels)]
        noise = np.zeros(weight.shape, np.float32)
        np.divide(1, np.sqrt(weight) * self.flux_scale, out=noise, where=weight > 0)
        return self.scaled(flux), noise

    def scaled(self, flux: Array) -> Array:
        """Standardised flux (n, p) of spectra (n, n_pixels)."""
        seen = flux[:, _span(self.pixels)] - self.flux_mean
        seen /= self.flux_scale
        return np.asarray(seen, np.float32)

    def outputs(self, scaled: Array) -> Array:
        """Standardised outputs (members, n) of standardised spectra (n, p), member by member.

        The plain form of what `lamostvac.networks.predict` does for many networks at once.
        """
        shared = scaled if self.projection is None else scaled @ self.projection
        answers = []
        for member in range(self.n_members):
            values = shared
            for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                values = values @ weight[member] + bias[member]
                if layer < len(self.weights) - 1:
                    values = np.maximum(values, 0)
            answers.append(values[:, 0])
        return np.array(answers)

    def pixel_weights(self) -> tuple[Array, ...]:
        """`weights` with the first layer's on pixels, (members, p, n_out): the published form."""
        if self.projection is None:
            return self.weights
        return np.matmul(self.projection, self.weights[0]), *self.weights[1:]

    def to_label(self, outputs: Array) -> Array:
        """Labels of standardised outputs (any shape)."""
        learned = outputs * np.float32(self.label_scale) + np.float32(self.label_mean)
        return np.asarray(from_learned(learned, self.label_kind), np.float32)

    def members(self, scaled: Array) -> Array:
        """Labels (members, n) of standardised spectra (n, p)."""
        return self.to_label(self.outputs(scaled))

    def label_error(self, label: Array, snr: Array) -> Array:
        """Error (n,) of labels (n,) at S/N (n,); beyond `error_snr` as at its nearest end."""
        level = np.interp(np.log(np.maximum(snr, 1e-3)), np.log(self.error_snr), self.error)
        # d label / d learned is 1, or label^2 / 5040.
        slope = np.ones_like(label) if self.label_kind == "linear" else label**2 / np.float32(5040)
        return np.asarray(level * self.label_scale * slope, np.float32)

    def scatter(self, label: float) -> tuple[Array, Array]:
        """S/N (k,), and the scatter (k,) there of left-out stars that have this label."""
        return self.error_snr, self.label_error(np.full_like(self.error_snr, label), self.error_snr)

    def error_parts(self, label: Array, snr: Array, spread: Array) -> tuple[Array, Array]:
        """The random part of the error (n,), which differs between spectra of a star, and the rest.

        The rest is the error of the best spectra and the spread (n,) of the members. The random
        part is the excess of the error at the spectrum's S/N over that of the best spectra, or at
        least a share of it; repeats correct it (`uncertainty.models`).
        """
        error = self.label_error(label, snr)
        best = self.label_error(label, np.full_like(snr, np.inf))
        random = np.sqrt(np.maximum(error**2 - best**2, (_LEAST_RANDOM * best) ** 2))
        return random, np.hypot(best, spread)


def _span(pixels: NDArray[np.bool_]) -> slice | NDArray[np.intp]:
    """Chosen pixels as an index: consecutive ones are a slice, which copies nothing."""
    chosen = np.flatnonzero(pixels)
    if len(chosen) and len(chosen) == chosen[-1] - chosen[0] + 1:
        return slice(int(chosen[0]), int(chosen[-1]) + 1)
    return chosen


def untrained_network(
    label: str, wave: NDArray[np.float64], pixels: NDArray[np.bool_], attributes: Mapping[str, Any]
) -> Network:
    """A network without training: every label is NaN, every spectrum outside its training cloud.

    It replaces the network of a label whose optional training set has too few stars, so that the
    run goes on.
    """
    p = int(pixels.sum())
    zeros, ones = np.zeros(p, np.float32), np.ones(p, np.float32)
    one = np.ones(1, np.float32)
    return Network(
        label=label,
        wave=wave,
        pixels=pixels,
        flux_mean=ones,
        flux_scale=ones,
        label_mean=np.nan,
        label_scale=1.0,
        label_range=(0.0, 0.0),
        weights=(np.zeros((1, p, 1), np.float32), np.zeros((1, 1, 1), np.float32)),
        biases=(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)),
        cloud=TrainingCloud(
            zeros[None], one, np.zeros((1, 1), np.float32), one, one, ones, -1.0, -1.0
        ),
        attributes={**attributes, "n_spectra": 0, "n_stars": 0},
    )


def save_network(path: str | Path, network: Network) -> None:
    """Write a network to HDF5; equal networks give equal bytes."""
    with atomic_hdf5(path) as handle:

        def put(group: h5py.Group, name: str, values: Any) -> None:
            group.create_dataset(name, data=np.asarray(values), track_times=False)

        names = ("label", "label_kind", "label_mean", "label_scale", "label_range")
        write_attributes(handle, {"format": FORMAT} | {n: getattr(network, n) for n in names})
        training = sorted(network.attributes.items())
        write_attributes(handle, {f"training_{name}": value for name, value in training})
        for name in ("wave", "pixels", "flux_mean", "flux_scale", "error_snr", "error"):
            put(handle, name, getattr(network, name))
        if network.projection is not None:
            put(handle, "projection", network.projection)
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            put(handle, f"layers/{number}/weight", weight)
            put(handle, f"layers/{number}/bias", bias)
        for part in fields(TrainingCloud):
            put(handle, f"cloud/{part.name}", getattr(network.cloud, part.name))
        for name, values in sorted(network.history.items()):
            put(handle, f"history/{name}", values)


def load_network(path: str | Path) -> Network:
    """Read a network, checked against `_LAYOUT` before its arrays are read.

    Raises `UserError` when the file is not a network of this format.
    """
    remedy = "copy it anew, or delete it to have it trained again"
    with whole_file(path, "the network", remedy) as handle:
        found = read_attributes(handle)
        if found.get("format") not in _READABLE:
            raise UserError(f"{path} is not a {FORMAT!r} file; delete it and train again")
        attributes = {
            name.removeprefix("training_"): value.item() if isinstance(value, np.generic) else value
            for name, value in found.items()
            if name.startswith("training_")
        }
        kind = read_text(handle.attrs, "label_kind")
        if kind not in ("linear", "reciprocal"):
            raise ValueError(f"the attribute label_kind is {kind}")
        trained = attributes.get("n_spectra") != 0
        bounds = np.asarray(handle.attrs.get("label_range"))
        if bounds.dtype.kind not in "if" or bounds.shape != (2,) or not bounds[0] <= bounds[1]:
            raise ValueError("the attribute label_range is not [low, high]")
        arrays = read_arrays(handle, layout := _layout(handle))
        _check_arrays(arrays)
        parts: dict[str, Any] = {
            part.name: arrays[f"cloud/{part.name}"][()] for part in fields(TrainingCloud)
        }
        count = sum(name.startswith("layers/") for name in layout) // 2
        return Network(
            label=read_text(handle.attrs, "label"),
            label_kind=cast(LabelScale, kind),
            label_mean=read_number(handle.attrs, "label_mean", finite=trained),
            label_scale=read_number(handle.attrs, "label_scale"),
            label_range=(float(bounds[0]), float(bounds[1])),
            projection=arrays.get("projection"),
            weights=tuple(arrays[f"layers/{number}/weight"] for number in range(count)),
            biases=tuple(arrays[f"layers/{number}/bias"] for number in range(count)),
            cloud=TrainingCloud(**parts),
            history={
                name.removeprefix("history/"): values
                for name, values in arrays.items()
                if name.startswith("history/")
            },
            attributes=attributes,
            **{name: arrays[name] for name in _PLAIN},
        )


_PLAIN = ("wave", "pixels", "flux_mean", "flux_scale", "error_snr", "error")
_POSITIVE = (float(np.finfo(np.float32).tiny), np.inf)
_LAYOUT = {
    "wave": Layout(("pixel",), "f8", _POSITIVE),
    "pixels": Layout(("pixel",), "?"),
    "flux_mean": Layout(("seen",)),
    "flux_scale": Layout(("seen",), limits=_POSITIVE),
    "error_snr": Layout(("level",), limits=_POSITIVE),
    "error": Layout(("level",), limits=(0, np.inf), finite=False),
    "cloud/components": Layout(("component", "seen")),
    "cloud/weights": Layout(("component",)),
    "cloud/centres": Layout(("centre", "component")),
    "cloud/radii": Layout(("centre",), limits=_POSITIVE),
    "cloud/levels": Layout(("centre",), "f8"),
    "cloud/variance": Layout(("seen",), limits=(0, np.inf)),
    "cloud/max_distance": Layout((), "f8"),
    "cloud/max_residual": Layout((), "f8"),
}


def _layout(handle: h5py.File) -> dict[str, Layout]:
    """What the arrays of a network's file have to be; the number of layers is the file's."""
    layout = dict(_LAYOUT)
    layers = handle.get("layers")
    count = len(layers) if isinstance(layers, h5py.Group) else 0
    if not 1 <= count <= _MOST_LAYERS:
        raise ValueError(f"{count} layers")
    first = "seen"
    if "projection" in handle:
        layout["projection"], first = Layout(("seen", "direction")), "direction"
    for number in range(count):
        before: str | int = f"neurons of layer {number - 1}" if number else first
        after: str | int = f"neurons of layer {number}" if number < count - 1 else 1
        layout[f"layers/{number}/weight"] = Layout(("member", before, after))
        layout[f"layers/{number}/bias"] = Layout(("member", after))
    history = handle.get("history", {})
    for name in history if isinstance(history, h5py.Group) else ():
        layout[f"history/{name}"] = Layout(("curve", "epoch"), finite=False)
    return layout


def _check_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise `ValueError` where arrays of the right shapes contradict each other."""
    if np.count_nonzero(arrays["pixels"]) != len(arrays["flux_mean"]):
        raise ValueError("flux_mean has not as many values as the network sees pixels")
    for name in ("wave", "error_snr"):
        if not (np.diff(arrays[name]) > 0).all():
            raise ValueError(f"{name} does not increase")
    filled = ("flux_mean", "error_snr", "cloud/radii", "cloud/weights", "layers/0/bias")
    for name in (*filled, *(("projection",) if "projection" in arrays else ())):
        if not arrays[name].size:
            raise ValueError(f"{name} is empty")


def keras_model(network: Network, member: int = 0) -> Any:
    """A member as a Keras model from standardised flux (n, p) to the standardised label (n, 1)."""
    import keras

    layers: Sequence[Any] = [keras.Input((int(network.pixels.sum()),))] + [
        keras.layers.Dense(size, activation="relu") for size in network.layers
    ]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    pairs = zip(network.pixel_weights(), network.biases, strict=True)
    model.set_weights([array[member] for pair in pairs for array in pair])
    return model
