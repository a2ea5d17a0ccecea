"""The valid files that `tools/fuzz.py` changes: real ones where there are some, else simulated ones."""

import gzip
import io
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from fuzz_mutations import with_long_texts
from fuzz_readers import SMALL_WINDOWS

from lamostvac.core.paths import shipped
from lamostvac.core.vocabulary import TYPE_LIMITS
from lamostvac.emulator.model import Emulator, write_emulator
from lamostvac.networks.agreement import preparation_text
from lamostvac.networks.domain import TrainingCloud
from lamostvac.networks.ensemble import Network, save_network
from lamostvac.numerics.gaussian_process import GaussianProcess
from lamostvac.simulate import elodie, release
from lamostvac.uncertainty.models import LabelErrors
from lamostvac.uncertainty.scale_process import ScaleProcess, Scaling
from lamostvac.uncertainty.type_errors import write_type_errors

Inputs = dict[str, list[tuple[str, bytes]]]
_LARGEST = 600_000  # bytes of a real table
_RNG = np.random.default_rng(5)
_ROW = {
    "obsid": 123456, "obsdate": "2012-03-04", "lmjd": 55991, "mjd": 55990, "planid": "GAC_080N28_B1", "spid": 5,
    "fiberid": 17, "ra": 80.1, "dec": 28.2, "ra_obs": 80.1, "dec_obs": 28.2, "designation": "LAMOST J052024+281200",
    "tsource": "O'Brien", "tfrom": "x", "fibermask": 0, "class": "STAR", "subclass": "G5", "z": 1e-4, "z_err": 1e-5,
    "helio_rv": 3.0, **{f"mag_ps_{band}": 14.0 for band in "grizy"}, **{f"snr{band}": 30.0 for band in "ugriz"},
}  # fmt: skip


def simulated() -> Inputs:
    """Inputs for every reader, made here."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "spectrum": _spectra(),
            "text_table": _text_tables(),
            "fits_table": _fits_tables(),
            "catalogue": _catalogues(),
            "library": _libraries(folder),
            "hdf5": _hdf5(folder),
            "configuration": configuration_files(),
        }


def real(root: Path) -> Inputs:
    """Inputs from the tree of real files; readers that it has nothing for are not in it."""
    spectra = [
        path
        for folder in sorted(root.glob("lamost/*"))
        for path in sorted(folder.rglob("*.fits*"))[:12]
    ]
    catalogs = sorted(path for path in root.glob("catalogs/**/*") if path.is_file())
    texts = [
        path
        for path in catalogs
        if path.name.removesuffix(".gz").endswith((".csv", ".tsv", ".dat", ".txt"))
    ]
    stelib = sorted(root.glob("libraries/stelib/spectra/*.fits*"))[:8]
    found = {
        "spectrum": [(path.name, path.read_bytes()) for path in spectra],
        "text_table": [(path.name.removesuffix(".gz"), _beginning(path)) for path in texts],
        "fits_table": [
            (path.name.removesuffix(".gz"), _first_rows(path))
            for path in catalogs
            if ".fits" in path.name and path.stat().st_size < _LARGEST
        ],
        "catalogue": [
            (path.parent.name + ".csv", _beginning(path))
            for path in sorted(root.glob("lamost/*/catalogue.csv"))
        ],
        "library": [(f"stelib_{path.name}", path.read_bytes()) for path in stelib],
    }
    stack = root / "libraries/miles/miles_v9.1_stack.fits.gz"
    if stack.exists():
        found["library"].append(("miles_stack.fits", _part_of_stack(stack)))
    return {reader: files for reader, files in found.items() if files}


def _beginning(path: Path) -> bytes:
    """The first lines of a table, unpacked."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as handle:
        return b"\n".join(handle.read(30_000).split(b"\n")[:-1]) + b"\n"


def _first_rows(path: Path) -> bytes:
    """A FITS table without most of its rows, which tell no more and take long to read."""
    with fits.open(path) as hdus:
        (table, *_) = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
        part = fits.BinTableHDU(table.data[:200], table.header)
        return _written(fits.HDUList([fits.PrimaryHDU(), part]))


def _part_of_stack(path: Path) -> bytes:
    with fits.open(path) as hdus:
        rows = slice(0, 4)
        parts = fits.HDUList(
            [
                fits.PrimaryHDU(hdus[0].data[rows], hdus[0].header),
                fits.BinTableHDU(hdus[1].data[rows], name="STARS"),
            ]
        )
        return _written(parts)


def _written(hdus: fits.HDUList) -> bytes:
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return buffer.getvalue()


def _spectra() -> list[tuple[str, bytes]]:
    wave = 10 ** (3.5682 + 1e-4 * np.arange(3909))
    flux = 1000 * (1 + 0.1 * np.sin(wave / 50)) + _RNG.normal(0, 10, len(wave))
    masks = _RNG.integers(0, 2**16, (2, len(wave)))
    arrays = [values.astype("f4") for values in (wave, flux, np.full(len(wave), 0.01), *masks)]
    found = []
    for layout in ("pilot", "image", "table"):
        data = release.spectrum_bytes(_ROW, layout.replace("pilot", "image"), *arrays)
        if layout == "pilot":
            with fits.open(io.BytesIO(data)) as hdus:
                hdus[0].data[2] = 1
                hdus[0].header["EXTEN0"] = "Flux Inverse Subcontinuum Andmask Ormask"
                data = _written(hdus)
        found += [(f"{layout}.fits", data), (f"{layout}.fits.gz", gzip.compress(data, 1, mtime=0))]
    return found


def _rows(n: int) -> dict[str, list[object]]:
    number = np.arange(n)
    return {
        "id": [3949843210360996224 + 1000 * int(i) for i in number],
        "ra": (10 + number * 0.5).round(3).tolist(),
        "dec": (-5 + number * 0.25).round(3).tolist(),
        "name": [f"HD {i}" if i % 3 else "" for i in number.tolist()],
        "teff": [5000.5 + int(i) if i % 4 else -9999 for i in number],
        "flag": (number % 7).tolist(),
    }


def _text_tables() -> list[tuple[str, bytes]]:
    rows = _rows(30)
    found = []
    for separator, name in ((",", "comma"), ("|", "bar"), ("\t", "tab"), (";", "semicolon")):
        lines = [
            separator.join(rows),
            *(separator.join(map(str, row)) for row in zip(*rows.values(), strict=True)),
        ]
        found.append((f"{name}.csv", "\n".join(lines).encode()))
    vizier = [
        f"#{'comment'}",
        "\t".join(rows),
        "\t".join(["", "deg", "deg", "", "K", ""]),
        "\t".join(["---"] * 6),
    ]
    vizier += ["\t".join(map(str, row)) for row in zip(*rows.values(), strict=True)]
    return [*found, ("vizier.tsv", "\n".join(vizier).encode())]


def _fits_tables() -> list[tuple[str, bytes]]:
    rows = _rows(20)
    plain = Table({name: np.array(values) for name, values in rows.items()})
    plain["short"], plain["byte"] = np.arange(20, dtype="u2"), np.arange(20, dtype="u1")
    found = []
    for name, table in (("plain", plain), ("one_row", plain[:1]), ("empty", plain[:0])):
        hdu = fits.table_to_hdu(table)
        found.append((f"{name}.fits", _written(fits.HDUList([fits.PrimaryHDU(), hdu]))))
    hdu.header["TSCAL1"], hdu.header["TNULL6"] = 2.0, 3
    return [*found, ("packed.fits.gz", gzip.compress(found[0][1], 1, mtime=0))]


def _catalogues() -> list[tuple[str, bytes]]:
    names = (
        "obsid",
        "designation",
        "obsdate",
        "lmjd",
        "planid",
        "spid",
        "fiberid",
        "ra",
        "dec",
        "snru",
        "snrg",
    )
    names += ("snrr", "snri", "snrz", "class", "subclass", "z", "z_err")
    rows = [
        _ROW | {"obsid": 100 + i, "fiberid": i + 1, "subclass": kind, "ra": 80.0 + i / 10}
        for i, kind in enumerate(["A5", "F2", "G5", "K3", "M1", "B6", "dM2", "gM0", "WD", ""] * 3)
    ]
    texts = [[str(row[name]) for name in names] for row in rows]
    columns = {name: np.array([row[name] for row in rows]) for name in names}
    hdu = fits.table_to_hdu(Table(columns))
    return [
        *(
            (
                f"catalogue_{number}.csv",
                "\n".join(mark.join(row) for row in [names, *texts]).encode(),
            )
            for number, mark in enumerate("|,")
        ),
        ("catalogue.fits", _written(fits.HDUList([fits.PrimaryHDU(), hdu]))),
    ]


def _libraries(folder: Path) -> list[tuple[str, bytes]]:
    n, wave = 3, np.arange(3700.0, 8800.0, 4.0)
    flux = 1 + 0.1 * np.sin(wave / 40) + _RNG.normal(0, 0.01, (n, len(wave)))
    flux = flux.round(3).astype("f4")  # which packs well
    vectors = {
        "WAVE": np.tile(wave, (n, 1)).astype("f4"),
        "FLUX": flux,
        "IVAR": np.full_like(flux, 1e4),
    }
    labels = {"TEFF": [5000.0, 6000, 4000], "LOGG": [4.0, 4.5, 2.0], "FEH": [0.0, -1, 0.2]}
    own = fits.table_to_hdu(Table({"ID": ["a", "b", "c"], **vectors, **labels}))
    own.header["VACUUM"], own.header["FWHM"] = True, 2.5
    visits = {
        "MANGAID": ["1-1", "1-2", "1-3"],
        "PLATE": [1, 2, 3],
        "IFUDESIGN": [1, 2, 3],
        "MJD": [5, 6, 7],
    }
    median = {"TEFF_MED": labels["TEFF"], "LOGG_MED": labels["LOGG"], "FEH_CAL_MED": labels["FEH"]}
    more = {"MJDQUAL": [0, 0, 0], "NGROUPS": [4, 4, 4], "MASK": np.zeros(flux.shape, "i4")}
    mastar = fits.table_to_hdu(Table({**visits, **vectors, **median, **more}))
    stack = fits.PrimaryHDU(flux.astype("f4"))
    stack.header["CRVAL1"], stack.header["CDELT1"] = 3700.0, 4.0
    stars = fits.table_to_hdu(
        Table(
            {
                "miles_id": ["1", "2", "3"],
                **{name.lower(): values for name, values in labels.items()},
            }
        )
    )
    star = fits.PrimaryHDU(flux[0])
    cards = {
        "CRVAL1": 3700.0,
        "CDELT1": 2.0,
        "TEFF": "5000",
        "LOG_G": "4.0",
        "FE_H": "-",
        "OBJECT": "HD 1",
    }
    star.header.update(cards)
    elodie.write_library(folder, 2, seed=3)
    return [
        ("table_own.fits", _written(fits.HDUList([fits.PrimaryHDU(), own]))),
        ("mastar_visits.fits", _written(fits.HDUList([fits.PrimaryHDU(), mastar]))),
        ("miles_stack.fits", _written(fits.HDUList([stack, stars]))),
        ("stelib_star.fits", _written(fits.HDUList([star]))),
        *(
            (f"elodie_{path.name}", path.read_bytes())
            for path in sorted(folder.glob("*.fits*"))[:1]
        ),
    ]


def _numbers(*shape: int) -> np.ndarray:
    return _RNG.standard_normal(shape)


def _network() -> Network:
    p, sizes = SMALL_WINDOWS.n_pixels, (5, 4, 3, 1)
    ones, three = np.ones(p, "f4"), np.ones(3, "f4")
    cloud = TrainingCloud(
        _numbers(2, p).astype("f4"),
        np.ones(2, "f4"),
        _numbers(3, 2).astype("f4"),
        three,
        three,
        ones,
        3.0,
        2.0,
    )
    said = {
        "set": "toy",
        "snr_band": "snrg",
        "unit": "K",
        "spectral_types": "F G",
        "n_spectra": 100,
    }
    return Network(
        label="teff_x",
        wave=SMALL_WINDOWS.wave,
        pixels=np.ones(p, bool),
        flux_mean=ones,
        flux_scale=ones,
        projection=_numbers(p, sizes[0]).astype("f4"),
        label_mean=0.0,
        label_scale=1.0,
        label_range=(-2.0, 0.5),
        weights=tuple(_numbers(2, *pair).astype("f4") for pair in pairwise(sizes)),
        biases=tuple(_numbers(2, size).astype("f4") for size in sizes[1:]),
        cloud=cloud,
        error_snr=np.array([10, 100], "f4"),
        error=np.array([0.2, 0.1], "f4"),
        history={"loss": _numbers(2, 5).astype("f4")},
        attributes=said | {"preparation": preparation_text(SMALL_WINDOWS)},
    )


def _emulator() -> Emulator:
    p, k, n, d = 30, 4, 9, 3
    pixels = np.zeros(4901, bool)
    pixels[100 : 100 + p] = True
    process = GaussianProcess(
        _numbers(n, d), _numbers(n, k), _numbers(1, k), 1.0, 1.5, 0.1, "constant"
    )
    by_type = {name: np.eye(k) for name in TYPE_LIMITS}
    return Emulator(
        ("teff", "logg", "feh"), np.zeros(d), np.ones(d), pixels, np.ones(p), np.linalg.qr(_numbers(p, k))[0].T,
        process, _numbers(n, d), by_type, by_type, {name: np.ones(p) for name in TYPE_LIMITS}, 0.99,
    )  # fmt: skip


def _error_models() -> dict[str, LabelErrors]:
    def process(with_snr: bool) -> ScaleProcess:
        d, m = 2 + with_snr, 4
        scaling = Scaling(
            ("teff", "logg"), with_snr, np.zeros(d), np.ones(d), -np.ones(d), np.ones(d)
        )
        return ScaleProcess(
            scaling, _numbers(m, d), np.eye(m), _numbers(m + 1), np.eye(m + 1), 2.0, 0.3, 50
        )

    return {
        "feh": LabelErrors(
            "feh", "calibrated", ("teff", "logg"), "snrg", process(True), process(False)
        )
    }


def _hdf5(folder: Path) -> list[tuple[str, bytes]]:
    save_network(folder / "network.h5", _network())
    write_emulator(_emulator(), folder / "emulator.h5", {"library": "toy"})
    write_type_errors(folder / "errors.h5", _error_models(), 10.0)
    files = [
        (f"{name}_.h5", (folder / f"{name}.h5").read_bytes())
        for name in ("network", "emulator", "errors")
    ]
    return [
        *files,
        *((name.replace(".h5", "old.h5"), with_long_texts(data)) for name, data in files),
    ]


def configuration_files() -> list[tuple[str, bytes]]:
    """The shipped files of config/, each with the name of its loader."""
    loaders = {
        "training_sets": "training",
        "sources": "sources",
        "photometry": "photometry",
        "columns": "columns",
    }
    loaders |= {
        "comparisons": "comparisons",
        "recommended": "recommended",
        "training_sets_real": "training",
    }
    loaders |= dict.fromkeys(("config", "demo", "real", "full_scale", "lamost_dr10"), "config")
    return [
        (f"{loader}_{name}.yaml", Path(shipped(f"config/{name}.yaml")).read_bytes())
        for name, loader in loaders.items()
    ]
