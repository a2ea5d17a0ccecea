"""The simulated stars in other catalogues: PASTEL, APOGEE, Gaia, 2MASS, AllWISE, APASS, SDSS,
extinction.

Files have the columns and formats of the archives. Measured values scatter by their quoted errors.
Every catalogue has rows that a published cut must remove: those of the stars with a `fault`
(`samples.FAULTS`), and those that occur anyway (faint stars, distant stars, binaries). Positions
are at each survey's epoch.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits

from lamostvac.core.atomic import atomic
from lamostvac.simulate import photometry
from lamostvac.simulate.gaia import distance_table, gaia_table
from lamostvac.simulate.photometric_surveys import (
    APASS_COLUMNS,
    apass_table,
    extinction_table,
    sdss_table,
    twomass_table,
    wise_table,
)
from lamostvac.simulate.population import Stars
from lamostvac.simulate.spectroscopic_surveys import (
    PASTEL_COLUMNS,
    apogee_table,
    pastel_table,
    references,
)

PASTEL = "pastel/pastel.tsv"
APOGEE = "apogee/allStar-r12-l33.fits"
GAIA = "gaia/gaia_edr3.csv"
DISTANCES = "gaia/bailer_jones_edr3.csv"
TWOMASS = "twomass/twomass.csv"
WISE = "wise/allwise.csv"
APASS = "apass/apass_dr9.tsv"
SDSS = "sdss/sdss_dr12.csv"
EXTINCTION = "extinction/ebv.csv"
NAMES = (PASTEL, APOGEE, GAIA, DISTANCES, TWOMASS, WISE, APASS, SDSS, EXTINCTION)

# Each catalogue has its own random numbers
_SERIES = (
    "pastel",
    "apogee",
    "gaia",
    "distances",
    "twomass",
    "wise",
    "apass",
    "sdss",
    "extinction",
    "neighbours",
)


def write_catalogues(folder: str | Path, stars: Stars, seed: int) -> None:
    """Write the nine files below `folder`; every star is one source, in the order of `stars`."""
    folder = Path(folder)
    # each catalogue has its own random numbers, so that a change in one does not affect the others
    rng = {name: np.random.default_rng([seed, 20 + k]) for k, name in enumerate(_SERIES)}
    magnitudes = photometry.apparent_magnitudes(stars)
    gaia = gaia_table(rng["gaia"], rng["neighbours"], stars, magnitudes)
    twomass = twomass_table(rng["twomass"], stars, magnitudes)
    _write_csv(folder / GAIA, gaia)
    _write_csv(folder / DISTANCES, distance_table(rng["distances"], gaia, stars))
    _write_csv(folder / TWOMASS, twomass)
    _write_csv(folder / WISE, wise_table(rng["wise"], stars, magnitudes))
    _write_csv(folder / SDSS, sdss_table(rng["sdss"], stars, magnitudes))
    _write_csv(folder / EXTINCTION, extinction_table(rng["extinction"], stars))
    _write_tsv(
        folder / APASS,
        "II/336/apass9",
        apass_table(rng["apass"], stars, magnitudes),
        *APASS_COLUMNS,
    )
    table = pastel_table(rng["pastel"], stars, magnitudes, references(seed))
    _write_tsv(folder / PASTEL, "B/pastel/pastel", table, *PASTEL_COLUMNS)
    _write_fits(folder / APOGEE, apogee_table(rng["apogee"], stars, twomass))


_DECIMALS = {
    "ref_epoch": 1, "parallax": 5, "parallax_error": 5, "pmra": 5, "pmdec": 5, "pmra_error": 5, "pmdec_error": 5,
    "ruwe": 4, "ebv": 5, "ebv_err": 5, "j_m": 3, "h_m": 3, "k_m": 3, "j_msigcom": 3, "h_msigcom": 3, "k_msigcom": 3,
    "w1mpro": 3, "w2mpro": 3, "w1sigmpro": 3, "w2sigmpro": 3, "ra": 9, "dec": 9,
}  # fmt: skip


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Comma-separated, empty where unknown."""
    table = table.copy()
    for name in table.columns:
        if table[name].dtype.kind == "f":
            places = _DECIMALS.get(str(name), 5)
            table[name] = [
                f"{value:.{places}f}" if np.isfinite(value) else "" for value in table[name]
            ]
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _write_tsv(
    path: Path, catalogue: str, table: pd.DataFrame, columns: Iterable[str], units: Iterable[str]
) -> None:
    """A table in VizieR's asu-tsv format: comments, names, units, dashes, rows."""
    text = {}
    for name in columns:
        values = table[name]
        if values.dtype.kind == "f":
            places = 6 if name.endswith("J2000") else 3
            text[name] = [f"{value:.{places}f}" if np.isfinite(value) else "" for value in values]
        else:
            text[name] = [str(value) for value in values]
    width = {name: max([len(name), *map(len, column)]) for name, column in text.items()}
    lines = [
        "#",
        "#   VizieR Astronomical Server vizier.cds.unistra.fr",
        "#   Simulated by lamost-vac; no star of it exists",
        "#",
        "#Coosys\tJ2000:\teq_FK5 J2000",
        "",
        f"#RESOURCE=yCat_{catalogue.split('/')[0]}",
        f"#Name: {catalogue.rpartition('/')[0]}",
        f"#Table\t{catalogue.replace('/', '_')}:",
        f"#Name: {catalogue}",
        *(f"#Column\t{name}" for name in text),
        "\t".join(text),
        "\t".join(units),
        "\t".join("-" * width[name] for name in text),
    ]
    lines += ["\t".join(row) for row in zip(*text.values(), strict=True)]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n\n", encoding="utf-8")


def _write_fits(path: Path, table: pd.DataFrame) -> None:
    """One binary table in the first extension."""
    names = {"RA": "deg", "DEC": "deg", "TEFF": "K", "TEFF_ERR": "K", "VHELIO_AVG": "km/s"}
    columns = []
    for name in table.columns:
        values = table[name].to_numpy()
        if values.dtype.kind == "O":
            values = np.array(list(values), dtype="S18" if name == "APOGEE_ID" else "S8")
        code = {"S": f"{values.dtype.itemsize}A", "f8": "D", "f4": "E", "i8": "K", "i4": "J"}
        form = code.get(values.dtype.str[1:]) or code[values.dtype.kind]
        columns.append(fits.Column(name=name, format=form, array=values, unit=names.get(name)))
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(buffer)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
