"""A release of millions of spectra out of a simulated one of thousands, for runs from the files to the catalogue.

python tools/copies.py SIMULATED TARGET COPIES

SIMULATED is the folder `simulated` of a run. TARGET gets its library, its reference catalogues, one copy of each
spectrum, and a catalogue in which every row is there COPIES times: each copy under another plan and obsid, elsewhere
on the sky (right ascension), with stars of its own in the tables of Gaia, 2MASS, WISE, SDSS and of reddening. All
copies of a spectrum are one file on disk, reached through a link to the folder, so that a million spectra take the
space of twenty thousand and are read, unpacked, fitted and labelled a million times. The file cannot say who it is
then: what names the spectrum in the header is blanked, and the reader, which finds nothing to compare, compares
nothing. Broken files stay as they are. TARGET/copies.yaml is a configuration that runs on it.
"""

import argparse
import contextlib
import gzip
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.simulate.mastar import PARAMETERS_NAME, SPECTRA_NAME

CARD = 80
NAMES_THE_SPECTRUM = (
    "OBSID", "LMJD", "PLANID", "SPID", "FIBERID", "RA", "DEC", "RA_OBS", "DEC_OBS", "DESIG", "Z", "FILENAME",
)  # fmt: skip
OBSID_STEP = 10**11
# Not round, so that no copy has the identifiers of other stars of the simulation; identifiers have 63 bits.
SOURCE_STEP = 1_000_003_000_000_007
MOST = 2300
# Tables of stars on the sky; the others are of training sets and comparisons, and stay as they are.
TABLES = (
    "gaia/gaia_edr3.csv", "gaia/bailer_jones_edr3.csv", "extinction/ebv.csv", "twomass/twomass.csv",
    "wise/allwise.csv", "sdss/sdss_dr12.csv",
)  # fmt: skip


def without_identity(packed: bytes) -> bytes:
    """The gzip-compressed FITS file with comments in place of the cards that name the spectrum.

    Raises
    ------
    ValueError, OSError, EOFError, zlib.error
        It cannot be unpacked, or its first header has no end.
    """
    data = gzip.decompress(packed)
    cards = list[bytes]()
    while not cards or cards[-1].strip() != b"END":
        start = len(cards) * CARD
        card = data[start : start + CARD]
        if len(card) < CARD:
            raise ValueError("a header without END")
        named = card[:8].decode("ascii", "replace").strip() in NAMES_THE_SPECTRUM
        cards.append(b"COMMENT".ljust(CARD) if named else card)
    return gzip.compress(b"".join(cards) + data[len(cards) * CARD :], compresslevel=1)


def copy_spectra(source: Path, target: Path) -> int:
    """Copy the tree of spectra, each without its identity where it can be read; returns their number."""
    files = sorted(source.rglob("*.fits.gz"))
    for file in files:
        new = target / file.relative_to(source)
        new.parent.mkdir(parents=True, exist_ok=True)
        packed = file.read_bytes()
        with contextlib.suppress(ValueError, OSError, EOFError, zlib.error):  # broken on purpose
            packed = without_identity(packed)
        new.write_bytes(packed)
    return len(files)


def path_of(row: pd.Series) -> str:
    """Where the release's pattern has the spectrum; empty where its numbers are no numbers."""
    try:
        name = f"spec-{row.lmjd}-{row.planid}_sp{int(row.spid):02d}-{int(row.fiberid):03d}.fits.gz"
    except ValueError:
        return ""
    return f"{row.obsdate.replace('-', '')}/{row.planid}/{name}"


def moved(values: pd.Series, step: float) -> pd.Series:
    """Right ascensions (deg) moved by a step, as texts; what is no number stays."""
    numbers = pd.to_numeric(values, errors="coerce")
    return values.where(numbers.isna(), ((numbers + step) % 360).map("{:.9f}".format))


def raised(values: pd.Series, step: int) -> pd.Series:
    """Whole numbers above 0 raised by a step, as texts (they pass through no float); what is none stays."""
    return values.map(lambda text: str(int(text) + step) if text.isdigit() and int(text) else text)


def write_copies(
    source: Path, target: Path, separator: str, n: int, change: Callable[[pd.DataFrame, int], None]
) -> int:
    """Write a table's rows n times, the k-th time changed; returns the number of rows written."""
    table = pd.read_csv(source, sep=separator, dtype=str, keep_default_na=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w") as stream:
        for k in range(n):
            copy = table.copy()
            change(copy, k)
            copy.to_csv(stream, sep=separator, index=False, header=k == 0)
    return n * len(table)


def copy_catalogue(source: Path, target: Path, n: int) -> int:
    """Write the general catalogue with n copies of each row, whose files are in folders copy_0, copy_1, ..."""

    original = pd.read_csv(source, sep="|", dtype=str, keep_default_na=False)
    paths = original.apply(path_of, axis=1)

    def change(rows: pd.DataFrame, k: int) -> None:
        rows["path"] = paths.where(paths == "", f"copy_{k}/" + paths)
        rows["planid"] += f"C{k}"
        rows["obsid"] = raised(rows["obsid"], k * OBSID_STEP)
        rows["gaia_source_id"] = raised(rows["gaia_source_id"], k * SOURCE_STEP)
        for name in ("ra", "ra_obs"):
            rows[name] = moved(rows[name], 360 * k / n)

    return write_copies(source, target, "|", n, change)


def copy_tables(source: Path, target: Path, n: int) -> None:
    """Copy the reference catalogues, those of TABLES with n copies of each row."""

    def change(rows: pd.DataFrame, k: int) -> None:
        if "source_id" in rows:
            rows["source_id"] = raised(rows["source_id"], k * SOURCE_STEP)
        if "ra" in rows:
            rows["ra"] = moved(rows["ra"], 360 * k / n)

    shutil.copytree(source, target, dirs_exist_ok=True)
    for name in TABLES:
        write_copies(source / name, target / name, ",", n, change)


def configuration(target: Path) -> dict[str, object]:
    """A configuration that runs on the copies and writes into TARGET/results."""
    library = target / "mastar"
    return {
        "run": {"results": str(target / "results")},
        "simulation": {"enabled": False},
        "survey": {"root": str(target / "lamost"), "catalogues": ["catalogue.csv"]},
        "library": {
            "spectra": str(library / SPECTRA_NAME),
            "labels_file": str(library / PARAMETERS_NAME),
        },
        "networks": {"root": str(target / "catalogs")},
    }


def main() -> None:
    """Read the command's options and write the copies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("simulated", type=Path, help="the folder `simulated` of a run")
    parser.add_argument("target", type=Path, help="a folder that is made")
    parser.add_argument("copies", type=int, help="how many times each spectrum is to be there")
    options = parser.parse_args()
    if not 1 <= options.copies <= MOST:
        parser.error(f"copies has to be from 1 to {MOST}, beyond which Gaia's identifiers overflow")
    target = options.target.resolve()
    target.mkdir(parents=True)
    files = copy_spectra(options.simulated / "lamost", target / "lamost/copy_0")
    for k in range(1, options.copies):
        (target / f"lamost/copy_{k}").symlink_to("copy_0")
    catalogue = options.simulated / "lamost/catalogue.csv"
    rows = copy_catalogue(catalogue, target / "lamost/catalogue.csv", options.copies)
    copy_tables(options.simulated / "catalogs", target / "catalogs", options.copies)
    shutil.copytree(options.simulated / "mastar", target / "mastar")
    (target / "copies.yaml").write_text(yaml.safe_dump(configuration(target), sort_keys=False))
    print(
        f"{rows} rows of the catalogue, {files} files of spectra under {options.copies} names each"
    )
    print(f"lamostvac run --config {target / 'copies.yaml'}")


if __name__ == "__main__":
    main()
