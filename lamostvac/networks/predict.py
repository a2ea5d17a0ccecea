"""All networks and all members over a block of spectra in one pass.

A network's first layer takes nearly all of the time: 2,000 pixels times 512 neurons. The
standardisation of the input is folded into it, so that every network reads the same block of
spectra. The first layers of a network's members are concatenated, so that they are one matrix
product with the block. Blocks have a fixed number of rows and are filled up with zeros, so that a
row's result does not depend on how many spectra a chunk holds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.networks.agreement import same_grid
from lamostvac.networks.ensemble import Network

Array = NDArray[np.float32]
Columns = dict[str, NDArray[Any]]

BLOCK = 1024
_ROWS = 8 * BLOCK  # spectra read at once; no result depends on it


@dataclass(frozen=True)
class _Folded:
    """One network ready for the pass: weights by layer, the first including the standardisation."""

    first_weight: Array  # (n_pixels, members * h)
    first_bias: Array  # (members * h,)
    weights: tuple[Array, ...]  # (members, n_in, n_out)
    biases: tuple[Array, ...]  # (members, 1, n_out)


class NetworkStack:
    """Networks that share one grid, ready to predict.

    Parameters
    ----------
    networks : any number of them, each with its own pixels, layers and members

    Raises
    ------
    UserError
        The networks were trained on different grids.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        check_grids(self.networks)
        self._folded = [_fold(network) for network in self.networks]
        # Where the pixels of a first layer are consecutive they are a slice of the block, without a
        # copy.
        self._spans = [_span(network.pixels) for network in self.networks]

    def members(self, flux: Array) -> list[Array]:
        """Labels (members, n) of each network for spectra (n, n_pixels)."""
        n = len(flux)
        answers = [np.empty((network.n_members, n), np.float32) for network in self.networks]
        block = np.zeros((BLOCK, flux.shape[1]), np.float32)
        for start in range(0, n, BLOCK):
            rows = slice(start, min(start + BLOCK, n))
            count = rows.stop - rows.start
            # Flux relative to 1, near which most of it lies, so that float32 loses no digits in the
            # folding.
            np.subtract(flux[rows], np.float32(1), out=block[:count])
            block[count:] = 0
            for answer, network, folded, span in zip(
                answers, self.networks, self._folded, self._spans, strict=True
            ):
                answer[:, rows] = network.to_label(_forward(block[:, span], folded)[:, :count])
        return answers


def check_grids(networks: Sequence[Network]) -> None:
    """Raise `UserError` when networks were not all trained on the same grid."""
    for network in networks[1:]:
        if not same_grid(network.wave, networks[0].wave):
            raise UserError(
                f"the networks of {networks[0].label} and {network.label} were trained on different "
                "grids; train both with the same networks.windows"
            )


def _span(pixels: NDArray[np.bool_]) -> slice | NDArray[np.intp]:
    chosen = np.flatnonzero(pixels)
    if len(chosen) == chosen[-1] - chosen[0] + 1:
        return slice(int(chosen[0]), int(chosen[-1]) + 1)
    return chosen


def _fold(network: Network) -> _Folded:
    weight = network.weights[0] / network.flux_scale[:, None]
    shift = ((network.flux_mean - np.float32(1)) / network.flux_scale).astype(np.float64)
    members, p, neurons = weight.shape
    bias = network.biases[0] - np.einsum("p,mph->mh", shift, network.weights[0].astype(np.float64))
    return _Folded(
        first_weight=np.ascontiguousarray(weight.transpose(1, 0, 2).reshape(p, members * neurons)),
        first_bias=bias.reshape(-1).astype(np.float32),
        weights=tuple(network.weights[1:]),
        biases=tuple(bias[:, None, :] for bias in network.biases[1:]),
    )


def _forward(seen: Array, folded: _Folded) -> Array:
    """Standardised outputs (members, n) of spectra relative to 1 (n, p)."""
    values = seen @ folded.first_weight
    members = len(folded.weights[0])
    values += folded.first_bias
    np.maximum(values, 0, out=values)
    stacked = values.reshape(len(seen), members, -1)
    out = np.empty((members, len(seen)), np.float32)
    last = len(folded.weights) - 1
    for member in range(members):
        hidden = stacked[:, member]
        for layer, (weight, bias) in enumerate(zip(folded.weights, folded.biases, strict=True)):
            hidden = hidden @ weight[member]
            hidden += bias[member]
            if layer < last:
                np.maximum(hidden, 0, out=hidden)
        out[member] = hidden[:, 0]
    return out


def predict(
    stack: NetworkStack, flux: Array, ivar: Array, snr: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    """Columns of the catalogue for spectra (n, n_pixels), network by network.

    `snr` gives each label the S/N (n,) that its errors are a function of.

    Yields
    ------
    (column, values (n,)) for each label: the label itself (mean of the members), `_err` (error at
    the spectrum's S/N and the members' spread in quadrature), `_random` (its part that differs
    between spectra of a star), `_spread` (standard deviation of the members; 0 with one) and
    `cloud_{label}` (1 where the spectrum lies outside the training cloud)
    """
    for network, members in zip(stack.networks, stack.members(flux), strict=True):
        spread = (
            members.std(axis=0, ddof=1) if len(members) > 1 else np.zeros(len(flux), np.float32)
        )
        label = members.mean(axis=0)
        yield network.label, label
        random, systematic = network.error_parts(label, snr[network.label], spread)
        yield f"{network.label}_err", np.hypot(random, systematic)
        yield f"{network.label}_random", random
        yield f"{network.label}_spread", spread
        outside = np.empty(len(flux), bool)
        for start in range(0, len(flux), BLOCK):
            rows = slice(start, start + BLOCK)
            outside[rows] = network.cloud.outside(*network.standardise(flux[rows], ivar[rows]))
        yield f"cloud_{network.label}", outside.astype(np.uint8)


def range_flags(
    labels: Mapping[str, Array],
    ranges: Mapping[str, tuple[float, float]],
    grids: Mapping[str, Mapping[str, tuple[float, float]]],
) -> dict[str, NDArray[np.uint8]]:
    """Published flag of each label (Wang+ 2022 Table 3): 1 beyond the training grid, 0 within it.

    Parameters
    ----------
    labels : label to values (n,); NaN is beyond
    ranges : label to its own range
    grids : label to ranges of other labels, which these must keep too; only those in `labels` count
    """
    flags = {}
    for label, values in labels.items():
        inside = _within(values, ranges[label])
        for other, bounds in grids.get(label, {}).items():
            if other in labels:
                inside &= _within(labels[other], bounds)
        flags[label] = (~inside).astype(np.uint8)
    return flags


def _within(values: Array, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.asarray((values >= bounds[0]) & (values <= bounds[1]))


def column_names(label: str) -> list[str]:
    """Columns that `predict` may give for a label, in its order."""
    return [label, *(f"{label}_{part}" for part in ("err", "random", "spread")), f"cloud_{label}"]


def predict_chunk(
    networks: Sequence[Network],
    flux: h5py.Dataset,
    ivar: h5py.Dataset,
    snr: Mapping[str, Array],
    progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Columns]:
    """Columns of `predict` by label for spectra (n, n_pixels), n = 0 among them.

    Parameters
    ----------
    flux, ivar : a file's datasets or arrays, read in batches
    snr : label to S/N (n,)
    progress : called with the number of spectra done since it was called last
    """
    stack = NetworkStack(networks)
    parts: dict[str, list[NDArray[Any]]] = {}
    for start in range(0, max(len(flux), 1), _ROWS):
        rows = slice(start, start + _ROWS)
        seen, weight = flux[rows], ivar[rows]
        own = {label: values[rows] for label, values in snr.items()}
        for name, values in predict(stack, seen, weight, own):
            parts.setdefault(name, []).append(values)
        progress(len(seen))
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    return {
        network.label: {
            name: columns[name] for name in column_names(network.label) if name in columns
        }
        for network in networks
    }


def joined(networks: Sequence[Network], parts: Mapping[str, Columns]) -> Columns:
    """All labels' columns in one table, in the order of the networks, from old and new `parts`."""
    return {
        name: parts[network.label][name]
        for network in networks
        for name in column_names(network.label)
        if name in parts[network.label]
    }


def restrict(columns: Columns, label: str, condition: str) -> int:
    """Blank a label where a condition on columns does not hold; return how many spectra keep it."""
    holds = parse(condition, f"network.apply of {label}").holds(columns)
    for suffix in ("", "_err", "_random", "_spread"):
        columns[label + suffix][~holds] = np.nan
    return int(holds.sum())


def set_flags(
    columns: Columns,
    networks: Sequence[Network],
    spectral_type: str,
    grids: Mapping[str, Mapping[str, tuple[float, float]]],
) -> None:
    """Add the published flags (`range_flags`); flag labels of spectral types unknown to the
    network.

    The type is the survey's own classification: an early B star and a late A star look alike in the
    windows that the networks see.
    """
    for network in networks:
        if spectral_type not in str(network.attributes["spectral_types"]).split():
            columns[f"cloud_{network.label}"][:] = 1
    ranges = {network.label: network.label_range for network in networks}
    values = {label: columns.get(label, np.empty(0, np.float32)) for label in ranges}
    for label, flag in range_flags(values, ranges, grids).items():
        columns[f"flag_{label}"] = flag
