"""Isochrones of PARSEC as the CMD web interface writes them, for clusters (Liang+ 2024, 4.6.4)."""

from pathlib import Path

import numpy as np
import pandas as pd

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import nearest
from lamostvac.external.text_table import kind_of_file, open_bytes

_COLUMNS = {"mh": "MH", "log_age": "logAge", "teff": "logTe", "logg": "logg"}
# Stars after the asymptotic giant branch, a line across the whole diagram, have this `label`.
_POST_AGB = 9
_LONGEST_LINE = 1_000_000  # bytes
MOST_AGES = 6


def read_isochrones(path: str | Path) -> pd.DataFrame:
    """The points of all isochrones in a file of CMD 3 (stev.oapd.inaf.it/cmd), without post-AGB stars.

    Blank-separated columns below a line `# Zini MH logAge ... logTe logg label ...`, which may be
    repeated before each isochrone; gzipped or not.

    Returns
    -------
    `mh` (dex), `log_age` (log10 of years), `teff` (K), `logg` (dex), in the file's order

    Raises
    ------
    UserError
        The file is absent, has no such line, or lacks a column.
    """
    where = f"validation.cluster_isochrones: {path}"
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{where}: there is no such file")
    compressed = kind_of_file(path)
    if not compressed.startswith("text"):
        raise UserError(f"{where} is no text; give the table that CMD shows")
    names = _names(path, compressed.endswith("gz"), where)
    known = {name.lower(): name for name in reversed(names)}
    for wanted in _COLUMNS.values():
        if wanted.lower() not in known:
            raise UserError(f"{where} has no column {wanted}{nearest(wanted, names)}")
    used = [known[wanted.lower()] for wanted in _COLUMNS.values()]
    stage = [known["label"]] if "label" in known else []
    try:
        with open_bytes(path, compressed.endswith("gz")) as stream:
            table = pd.read_csv(
                stream,
                sep=r"\s+",
                comment="#",
                header=None,
                names=names,
                index_col=False,
                usecols=[*used, *stage],
                dtype=np.float64,
                encoding="latin1",
            )
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where} cannot be read as a table of CMD: {reason}") from None
    if stage:
        table = table[table[stage[0]] < _POST_AGB]
    points = table[used].set_axis(list(_COLUMNS), axis=1).dropna().reset_index(drop=True)
    return points.assign(teff=10 ** points["teff"])


def _names(path: Path, compressed: bool, where: str) -> list[str]:
    """The names in the last comment before the first row."""
    names: list[str] = []
    with open_bytes(path, compressed) as stream:
        while line := stream.readline(_LONGEST_LINE):
            text = line.decode("latin1").strip()
            if text and not text.startswith("#"):
                break
            names = text.lstrip("#").split() or names
    if len(set(names)) < len(names) or not names:
        raise UserError(f"{where} has no line `# Zini MH logAge ...` that names its columns once")
    return names


def of_metallicity(isochrones: pd.DataFrame, feh: float) -> dict[float, pd.DataFrame]:
    """Isochrones of the metallicity nearest to `feh`, by log age; of more than six ages six.

    Ages are evenly thinned, with the youngest and the oldest among them.
    """
    if isochrones.empty or not np.isfinite(feh):
        return {}
    known = np.unique(isochrones["mh"])
    near = isochrones[isochrones["mh"] == known[np.argmin(np.abs(known - feh))]]
    ages = np.unique(near["log_age"])
    if len(ages) > MOST_AGES:
        ages = ages[np.linspace(0, len(ages) - 1, MOST_AGES).round().astype(int)]
    return {float(age): near[near["log_age"] == age] for age in ages}
