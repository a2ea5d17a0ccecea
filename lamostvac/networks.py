"""Trained networks: one label, several members, and everything needed to apply them elsewhere.

A network maps the normalised spectrum of `lamostvac.network_spectra` to one label (Wang+ 2022
equation 1): layers of ReLU neurons, the last one linear. Its file is HDF5 without pickled objects and
holds the wavelength grid, the scales of flux and label, the label's range, the training cloud, the
learning curves and the weights of every member. Nothing here needs TensorFlow; `keras_model` gives a
member as a Keras model to whoever wants one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.errors import UserError
from lamostvac.files import atomic_hdf5
from lamostvac.training_cloud import TrainingCloud

CODE_VERSION = 1
FORMAT = "lamost-vac network 1"

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """An ensemble of networks for one label.

    Attributes
    ----------
    label : name of the label, a column of the catalogue
    wave : (n_pixels,) A, vacuum, rest frame: the grid of `NetworkPreparation`
    pixels : (n_pixels,) which of them the network sees; p of them
    flux_mean, flux_scale : (p,) the standardisation of the input
    label_mean, label_scale : the standardisation of the output, in the label's unit
    label_range : (low, high) outside which the label is an extrapolation
    weights, biases : per layer, (members, n_in, n_out) and (members, n_out)
    cloud : where the training spectra lie
    error_snr, error : S/N and the robust standard deviation of the label at it, from stars left out of
        training with noise added: the label's error at that S/N, label errors of the training set included
    history : learning curves, `loss` and `validation` (members, epochs), NaN after the end
    attributes : training set, unit, seed, number of stars, version of the code and the like
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
    error_snr: Array
    error: Array
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
        """Standardised flux and noise (n, p) of spectra (n, n_pixels); 0 and 0 where ivar is 0."""
        good = ivar[:, self.pixels] > 0
        scaled = np.where(good, (flux[:, self.pixels] - self.flux_mean) / self.flux_scale, np.float32(0))
        noise = np.zeros_like(scaled)
        np.divide(1, np.sqrt(ivar[:, self.pixels]) * self.flux_scale, out=noise, where=good)
        return scaled, noise

    def members(self, scaled: Array) -> Array:
        """Labels (members, n) of standardised spectra (n, p), member by member.

        The plain form of what `lamostvac.network_prediction` does for many networks at once.
        """
        answers = []
        for member in range(self.n_members):
            values = scaled
            for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                values = values @ weight[member] + bias[member]
                if layer < len(self.weights) - 1:
                    values = np.maximum(values, 0)
            answers.append(values[:, 0] * np.float32(self.label_scale) + np.float32(self.label_mean))
        return np.array(answers)


def save_network(path: str | Path, network: Network) -> None:
    """Write a network to HDF5; equal networks give equal bytes."""
    with atomic_hdf5(path) as handle:

        def put(group: h5py.Group, name: str, values: Any) -> None:
            group.create_dataset(name, data=np.asarray(values), track_times=False)

        handle.attrs["format"] = FORMAT
        handle.attrs["label"] = network.label
        for name in ("label_mean", "label_scale"):
            handle.attrs[name] = getattr(network, name)
        handle.attrs["label_range"] = network.label_range
        for name, value in sorted(network.attributes.items()):
            handle.attrs[f"training_{name}"] = value
        for name in ("wave", "pixels", "flux_mean", "flux_scale", "error_snr", "error"):
            put(handle, name, getattr(network, name))
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            put(handle, f"layers/{number}/weight", weight)
            put(handle, f"layers/{number}/bias", bias)
        for part in fields(TrainingCloud):
            put(handle, f"cloud/{part.name}", getattr(network.cloud, part.name))
        for name, values in sorted(network.history.items()):
            put(handle, f"history/{name}", values)


def load_network(path: str | Path) -> Network:
    """Read a network.

    Raises `UserError` when the file is no network of this format.
    """
    try:
        with h5py.File(path) as handle:
            if handle.attrs.get("format") != FORMAT:
                raise UserError(f"{path} is not a {FORMAT!r} file; delete it and train again")
            attributes = {
                name.removeprefix("training_"): value.item() if isinstance(value, np.generic) else value
                for name, value in handle.attrs.items()
                if name.startswith("training_")
            }
            count = len(handle["layers"])
            cloud = {part.name: handle[f"cloud/{part.name}"][()] for part in fields(TrainingCloud)}
            low, high = handle.attrs["label_range"]
            return Network(
                label=str(handle.attrs["label"]),
                wave=handle["wave"][()],
                pixels=handle["pixels"][()],
                flux_mean=handle["flux_mean"][()],
                flux_scale=handle["flux_scale"][()],
                label_mean=float(handle.attrs["label_mean"]),
                label_scale=float(handle.attrs["label_scale"]),
                label_range=(float(low), float(high)),
                weights=tuple(handle[f"layers/{number}/weight"][()] for number in range(count)),
                biases=tuple(handle[f"layers/{number}/bias"][()] for number in range(count)),
                cloud=TrainingCloud(**cloud),
                error_snr=handle["error_snr"][()],
                error=handle["error"][()],
                history={name: handle[f"history/{name}"][()] for name in handle.get("history", {})},
                attributes=attributes,
            )
    except (OSError, KeyError) as error:
        raise UserError(f"the network {path} cannot be read: {error}") from None


def keras_model(network: Network, member: int = 0) -> Any:
    """A member as a Keras model from standardised flux (n, p) to the standardised label (n, 1)."""
    import keras

    layers: Sequence[Any] = [keras.Input((int(network.pixels.sum()),))] + [
        keras.layers.Dense(size, activation="relu") for size in network.layers
    ]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    pairs = zip(network.weights, network.biases, strict=True)
    model.set_weights([array[member] for pair in pairs for array in pair])
    return model
