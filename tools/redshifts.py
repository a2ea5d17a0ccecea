"""Redshifts and types found in spectra beside those in their headers, by spectral type, S/N and quality.

`python tools/redshifts.py FOLDER EMULATOR...`: every spectrum below the folder is prepared as if its header had no
redshift; the templates are of the emulators (files of `results/emulator`). Prints a line per group: number of
spectra, those of quality enough to be used (`RELIABLE` of lamostvac/fit/redshift.py), and of these the median and the
robust sigma of the difference in velocity, the shares within 20 and 50 km/s, the number beyond 300 km/s, the robust
width of the pulls, and the share whose type is that of SUBCLASS; then the time a spectrum.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.emulator.model import read_emulator
from lamostvac.fit.redshift import RELIABLE, Templates, estimate, templates_of
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.spectra.grid import SPEED_OF_LIGHT
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.settings import Preparation
from lamostvac.survey.headers import scan
from lamostvac.survey.selection import spectral_type


def estimates(paths: pd.Series, templates: Templates) -> pd.DataFrame:
    """`z z_err type quality` of each file, and the processor time `seconds`; NaN where it is rejected."""
    rows = []
    for path in paths:
        start = time.process_time()
        try:
            seen = read_spectrum(path)
            found = estimate(seen.wave, seen.flux, seen.ivar, templates, Preparation())
        except SpectrumRejected:
            found = (np.nan, np.nan, "", np.nan)
        rows.append((*found, time.process_time() - start))
    columns = ["z", "z_err", "type", "quality", "seconds"]
    return pd.DataFrame(rows, columns=[f"found_{name}" for name in columns])


def line(name: str, rows: pd.DataFrame) -> str:
    """What is printed of some spectra with `velocity` (difference, km/s) and `pull`."""
    used = rows[rows["found_quality"] >= RELIABLE]
    off = used["velocity"].to_numpy()
    if len(used) < 2:
        return f"{name:<16}{len(rows):>6}{len(used):>6}"
    shares = [(np.abs(off) < limit).mean() for limit in (20, 50)]
    return (
        f"{name:<16}{len(rows):>6}{len(used):>6}{np.median(off):>8.1f}{robust_sigma(off):>7.1f}"
        f"{shares[0]:>8.3f}{shares[1]:>8.3f}{int((np.abs(off) > 300).sum()):>6}"
        f"{robust_sigma(used['pull'].to_numpy()):>7.2f}{(used['found_type'] == used['own']).mean():>7.2f}"
    )


def main(folder: str, *emulators: str) -> None:
    """Prints the table."""
    templates = templates_of([read_emulator(path) for path in emulators])
    table = scan([folder]).table.to_pandas()
    table["own"] = [spectral_type(str(text)) for text in table["subclass"]]
    table = table[table["own"].notna() & table["redshift"].notna()].reset_index(drop=True)
    table = pd.concat([table, estimates(table["path"], templates)], axis=1)
    table["velocity"] = (table["found_z"] - table["redshift"]) * SPEED_OF_LIGHT
    table["pull"] = table["velocity"] / (table["found_z_err"] * SPEED_OF_LIGHT)
    print(
        f"{'':<16}{'n':>6}{'used':>6}{'median':>8}{'sigma':>7}{'<20':>8}{'<50':>8}{'>300':>6}{'pulls':>7}{'type':>7}"
    )
    print(line("all", table))
    for name in TYPE_ORDER:
        print(line(name, table[table["own"] == name]))
    for low, high in ((0, 10), (10, 20), (20, 50), (50, 1e4)):
        print(line(f"S/N {low:g} to {high:g}", table[table["snrg"].between(low, high)]))
    print(f"{1e3 * table['found_seconds'].median():.1f} ms a spectrum, read and prepared")


if __name__ == "__main__":
    main(*sys.argv[1:])
