"""Files of LAMOST spectra, header by header."""

import gzip

import numpy as np

from lamostvac.simulate import release

ROW = {
    "obsid": 123405017, "obsdate": "2012-03-04", "lmjd": 55991, "mjd": 55990, "planid": "GAC_080N28_B1", "spid": 5,
    "fiberid": 17, "ra": 80.1, "dec": 28.2, "ra_obs": 80.2, "dec_obs": 28.3, "designation": "LAMOST J052024+281200",
    "tsource": "O'Brien", "tfrom": "x", "fibermask": 0, "class": "STAR", "subclass": "G5", "z": 1e-4, "z_err": 1e-5,
    "helio_rv": 3.0, **{f"mag_ps_{band}": 14.0 for band in "grizy"},
    **{f"snr{band}": 30.5 + i for i, band in enumerate("ugriz")},
}  # fmt: skip


def spectrum(layout="table", level=1.0, **changes):
    """Bytes of a released file without gzip, of a constant flux."""
    wave, one = np.linspace(3700, 9100, 1200), np.ones(1200)
    return release.spectrum_bytes(ROW | changes, layout, wave, level * one, one, 0 * one, 0 * one)


def without(data, *keywords, **renamed):
    """The file with some cards' keywords blanked, or under other names."""
    for old, new in [(name, "COMMENT") for name in keywords] + list(renamed.items()):
        data = data.replace(f"{old:<8}=".encode(), f"{new:<8}=".encode(), 1)
    return data


def pilot(**changes):
    """A header as the pilot survey's pipeline wrote it."""
    bands = {f"SNR{band}": f"SN_{band}" for band in "UGRIZ"}
    return without(spectrum("image", **changes), "OBSID", "RA_OBS", "DEC_OBS", "DATA_V", **bands)


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path
