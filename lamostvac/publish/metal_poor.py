"""The very metal-poor stars of a catalogue: the list and its counts (Wang et al. 2022, section 5)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.catalog.published_samples import MetalPoor
from lamostvac.catalog.registry import Registry
from lamostvac.publish.choice import chosen_rows, selected

COLUMNS = (
    "name",
    "meaning",
    "n",
    "n_unflagged",
    "n_recommended",
    "share",
    "published",
    "published_share",
    "source",
)
_OWN_FLAGS = "flag_feh_vmp == 0 and flag_cloud_feh_vmp == 0"
_KEY = "config/published_samples.yaml: metal_poor"


def metal_poor(
    blocks: Iterable[NDArray[np.void]], definition: MetalPoor, registry: Registry
) -> tuple[NDArray[np.void], Registry, pd.DataFrame]:
    """The list, its columns, and the counts (`COLUMNS`).

    Parameters
    ----------
    blocks : rows of the catalogue; one block is in memory at a time
    registry : the catalogue's columns, with the label feh_vmp

    Returns
    -------
    rows (n,) with the columns of the registry that comes with them; a row for each of the
    definition's counts: stars, those without a flag of feh_vmp's own, those that are recommended
    besides, and the share of all stars that `definition.among` names

    Raises
    ------
    UserError
        A condition of the definition is wrong.
    """
    few = Registry(tuple(registry[name] for name in definition.columns if name in registry.names))
    conditions = {"": definition.among.rows} | {one.name: one.rows for one in definition.counts}
    wanted = {
        (name, kind): chosen_rows(f"({rows}){more}", registry, _KEY)
        for name, rows in conditions.items()
        for kind, more in (
            ("n", ""),
            ("n_unflagged", f" and {_OWN_FLAGS}"),
            ("n_recommended", f" and {_OWN_FLAGS} and recommended == 1"),
        )
    }
    counts = dict.fromkeys(wanted, 0)
    listed, parts = chosen_rows(definition.rows, registry, _KEY), [few.empty(0)]
    for block in blocks:
        for key, condition in wanted.items():
            counts[key] += sum(len(rows) for rows in selected([block], condition))
        for rows in selected([block], listed):
            part = few.empty(len(rows))
            for name in few.names:
                part[name] = rows[name]
            parts.append(part)
    table = [_row(one.name, counts, definition) for one in definition.counts]
    return np.concatenate(parts), few, pd.DataFrame(table, columns=list(COLUMNS))


def _row(name: str, counts: Mapping[tuple[str, str], int], definition: MetalPoor) -> dict[str, Any]:
    (one,) = (count for count in definition.counts if count.name == name)
    among = counts["", "n"]
    return {
        "name": name,
        "meaning": one.meaning,
        **{kind: counts[name, kind] for kind in ("n", "n_unflagged", "n_recommended")},
        "share": counts[name, "n"] / among if among else np.nan,
        "published": one.published,
        "published_share": one.published / definition.among.published,
        "source": definition.source,
    }
