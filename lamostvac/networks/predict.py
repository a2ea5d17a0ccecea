"""All networks and all members over a block of spectra in one pass.

Networks of one training set see spectra in the same way (`inputs.py`): a block is standardised and
projected, and its distance from the training cloud is found, once for all of them. Networks belong
together when these numbers are equal, wherever their files are from. Then each member multiplies
its small layers with the projected block; blocks are small enough for a core's cache. They have a
fixed number of rows and are filled up with zeros, so that a row's result does not depend on how
many spectra a chunk holds.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
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

BLOCK = 512
_CLOUD_BLOCK = 128  # of all pixels, so fewer rows fit the cache
_ROWS = 16 * BLOCK  # spectra read at once; no result depends on it


@dataclass(frozen=True)
class _Member:
    """A member ready for the pass: relu(v + b) is taken as max(v, -b), whose + b the next layer has.

    So a layer's activation is one pass over its values, which takes as long as a tenth of its
    product.
    """

    weights: tuple[Array, ...]  # (n_in, n_out) by layer
    floors: tuple[Array, ...]  # (n_out,) minus the bias, of the hidden layers
    constant: np.float32  # of the output


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
        # In the order of the networks: the first network of each group, and who belongs to it.
        self._groups: dict[str, list[int]] = {}
        for number, network in enumerate(self.networks):
            self._groups.setdefault(_digest_of_input(network), []).append(number)
        self._members = [_members_of(network) for network in self.networks]

    def members(self, flux: Array) -> list[Array]:
        """Labels (members, n) of each network for spectra (n, n_pixels)."""
        n = len(flux)
        answers = [np.empty((network.n_members, n), np.float32) for network in self.networks]
        blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
        for group in self._groups.values():
            seen = [_seen(flux[rows], self.networks[group[0]]) for rows in blocks]
            # One member after the other, so that its weights stay in the cache.
            for number in group:
                for answer, member in zip(answers[number], self._members[number], strict=True):
                    for rows, values in zip(blocks, seen, strict=True):
                        answer[rows] = _forward(values, member)[: n - rows.start]
        return [
            network.to_label(answer) for network, answer in zip(self.networks, answers, strict=True)
        ]

    def outside(self, flux: Array, ivar: Array) -> list[NDArray[np.bool_]]:
        """For each network whether spectra (n, n_pixels) lie outside its training cloud, (n,)."""
        answers: dict[int, NDArray[np.bool_]] = {}
        for group in self._groups.values():
            first, outside = self.networks[group[0]], np.empty(len(flux), bool)
            for start in range(0, len(flux), _CLOUD_BLOCK):
                rows = slice(start, start + _CLOUD_BLOCK)
                outside[rows] = first.cloud.outside(*first.standardise(flux[rows], ivar[rows]))
            answers |= dict.fromkeys(group, outside)
        return [answers[number] for number in range(len(self.networks))]


def check_grids(networks: Sequence[Network]) -> None:
    """Raise `UserError` when networks were not all trained on the same grid."""
    for network in networks[1:]:
        if not same_grid(network.wave, networks[0].wave):
            raise UserError(
                f"the networks of {networks[0].label} and {network.label} were trained on different "
                "grids; train both with the same networks.windows"
            )


def _seen(flux: Array, network: Network) -> Array:
    """What a network's first layer sees of at most `BLOCK` spectra (n, n_pixels): (BLOCK, c)."""
    scaled = np.zeros((BLOCK, len(network.flux_mean)), np.float32)
    scaled[: len(flux)] = network.scaled(flux)
    return scaled if network.projection is None else scaled @ network.projection


def _digest_of_input(network: Network) -> str:
    """Digest of all that decides how a network sees a spectrum, and where its training set lies."""
    digest = hashlib.sha256()
    cloud = [getattr(network.cloud, part.name) for part in fields(network.cloud)]
    for value in (
        network.pixels, network.flux_mean, network.flux_scale, network.projection, *cloud
    ):  # fmt: skip
        array = np.asarray([] if value is None else value)
        digest.update(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()


def _members_of(network: Network) -> list[_Member]:
    members = []
    for number in range(network.n_members):
        weights = [np.ascontiguousarray(weight[number]) for weight in network.weights]
        shift, biases = np.zeros(len(weights[0])), []
        for weight, bias in zip(weights, network.biases, strict=True):
            shift = bias[number] + shift @ weight.astype(np.float64)
            biases.append(shift)
        members.append(
            _Member(
                weights=tuple(weights),
                floors=tuple(np.asarray(-bias, np.float32) for bias in biases[:-1]),
                constant=np.float32(biases[-1][0]),
            )
        )
    return members


def _forward(seen: Array, member: _Member) -> Array:
    """Standardised outputs (n,) of a member for its input (n, c)."""
    values = seen
    for weight, floor in zip(member.weights[:-1], member.floors, strict=True):
        values = values @ weight
        np.maximum(values, floor, out=values)
    return np.asarray((values @ member.weights[-1])[:, 0] + member.constant)


def predict(
    stack: NetworkStack, flux: Array, ivar: Array, snr: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    """Columns of the catalogue for spectra (n, n_pixels), network by network.

    `snr` gives each label the S/N (n,) that its errors are a function of.

    Yields
    ------
    (column, values (n,)) for each label: the label itself (mean of the members), `_err` (error at
    the spectrum's S/N and the members' spread in quadrature), `_err_random` (its part that differs
    between spectra of a star), `_spread` (standard deviation of the members; 0 with one) and
    `cloud_{label}` (1 where the spectrum lies outside the training cloud)
    """
    answers = zip(stack.networks, stack.members(flux), stack.outside(flux, ivar), strict=True)
    for network, members, outside in answers:
        spread = (
            members.std(axis=0, ddof=1) if len(members) > 1 else np.zeros(len(flux), np.float32)
        )
        label = members.mean(axis=0)
        yield network.label, label
        random, systematic = network.error_parts(label, snr[network.label], spread)
        yield f"{network.label}_err", np.hypot(random, systematic)
        yield f"{network.label}_err_random", random
        yield f"{network.label}_spread", spread
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
    return [
        label,
        *(f"{label}_{part}" for part in ("err", "err_random", "spread")),
        f"cloud_{label}",
    ]


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
    for suffix in ("", "_err", "_err_random", "_spread"):
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
